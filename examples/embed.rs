//! The balancer inside another program, with a strategy of its own.
//!
//!     cargo run --example embed --no-default-features

use std::sync::Arc;
use std::thread;
use turnwheel::balance::strategies::{Candidate, ClientKey, Strategy};
use turnwheel::balancer::Balancer;
use turnwheel::balancer::config::Config;
use turnwheel::demo::DemoBackend;
use turnwheel::sys::shutdown;

/// Chooses the backend with the fewest requests in flight.
struct LeastBusy;

impl Strategy for LeastBusy {
    fn pick(&self, usable: &[Candidate<'_>], _client: &ClientKey) -> usize {
        (0..usable.len()).min_by_key(|&index| usable[index].backend.in_flight()).unwrap_or(0)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let any_port = "127.0.0.1:0".parse()?;
    let backend = DemoBackend::bind(any_port, Some("inside"), std::time::Duration::ZERO)?;

    let mut config = Config::new(vec![backend.local_addr().into()]);
    config.listen = vec![any_port];
    config.upstream.strategy = Arc::new(LeastBusy);
    let balancer = Balancer::bind(config)?;
    let address = balancer.local_addr().ok_or("nothing is listened on")?;
    println!("listening on {address}");

    let (handle, stop) = shutdown::pair();
    let backend = backend.start()?;
    let serving = thread::spawn(move || balancer.run(&stop));

    let mut reply = ureq::get(format!("http://{address}/")).call()?;
    print!("{}", reply.body_mut().read_to_string()?);

    handle.stop(); // from anywhere: a signal handler, another thread
    serving.join().map_err(|_| "the balancer panicked")??;
    backend.stop();
    println!("stopped");
    Ok(())
}

//! The balancer runs out of descriptors.

use super::AttackedBalancer;
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, eventually};
use crate::watch::{Figures, processor_time};
use std::process::Command;
use std::thread;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Returns a new connection if it is served, and `None` if it is not accepted for want of descriptors.
fn admitted(balancer: &Balancer) -> Option<Client> {
    let mut client = balancer.client();
    client.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    client.send(GET);
    client.try_read_reply().is_ok_and(|reply| reply.status == 200).then_some(client)
}

#[track_caller]
fn assert_served(clients: &mut [Client]) {
    for client in clients {
        assert_eq!(client.request(GET).status, 200);
    }
}

/// Asserts that the balancer uses hardly any processor time for a second.
#[track_caller]
fn assert_does_not_spin(balancer: &Balancer) {
    let before = processor_time(balancer.pid());
    thread::sleep(Duration::from_secs(1)); // the time that is measured
    let used = processor_time(balancer.pid()) - before;
    assert!(used < Duration::from_millis(200), "{used:?} in a second");
}

/// Opens more connections than there are descriptors for, and asserts that the balancer recovers.
#[track_caller]
fn assert_survives_too_many_connections(balancer: &Balancer) {
    let mut clients = Vec::new();
    eventually("no further connection is accepted", || {
        let client = admitted(balancer);
        let full = client.is_none();
        clients.extend(client);
        full
    });
    assert!(clients.len() > 5, "{} were accepted", clients.len());
    let _waiting: Vec<_> = (0..20).map(|_| balancer.client()).collect();
    assert_does_not_spin(balancer);
    assert_served(&mut clients);
    clients.truncate(5);
    eventually("a connection is accepted again", || {
        clients.extend(admitted(balancer));
        clients.len() > 5
    });
    assert_served(&mut clients);
}

#[test]
fn accepts_as_many_connections_as_the_descriptor_limit_allows() {
    let backend = Recorder::hello("hello");
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 256 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_turnwheel"), "serve"]);
    limited.args(["--listen=127.0.0.1:0", "--edge=parked", "--workers=4"]).env_remove("RUST_LOG");
    limited.arg(format!("--backend=http://{}", backend.addr));
    let balancer = Balancer::spawn(&mut limited, "Load balancer is listening on ");
    for _ in 0..2 {
        assert_survives_too_many_connections(&balancer);
    }
    let said = balancer.stderr();
    assert!(said.contains("the limit of 256 open files leaves room for"), "{said}");
}

/// Sets the process's descriptor limit.
fn limit_descriptors(pid: u32, count: usize) {
    let limit = libc::rlimit { rlim_cur: count as libc::rlim_t, rlim_max: count as libc::rlim_t };
    // SAFETY: the kernel reads the limit from a local, and a null pointer makes it return no old limit.
    let done =
        unsafe { libc::prlimit(pid as i32, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn serves_again_after_it_has_run_out_of_descriptors() {
    let attacked = AttackedBalancer::with(&["--workers=4"]);
    let before = attacked.idle_figures();
    // This is lower than the limit that the balancer read at its start.
    limit_descriptors(attacked.balancer.pid(), before.descriptors + 20);
    for _ in 0..2 {
        let mut waiting = Vec::new();
        let seen = attacked.balancer.stderr().matches("cannot accept").count();
        eventually("it reports that it cannot accept", || {
            waiting.push(attacked.balancer.client());
            attacked.balancer.stderr().matches("cannot accept").count() > seen
        });
        assert_does_not_spin(&attacked.balancer);
        drop(waiting);
        eventually("it serves again", || admitted(&attacked.balancer).is_some());
    }
    eventually("the descriptors are released", || {
        Figures::of(attacked.balancer.pid()).descriptors <= before.descriptors
    });
}

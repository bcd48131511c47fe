//! No descriptors left.

use super::Siege;
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, eventually};
use crate::watch::{Figures, processor_time};
use std::process::Command;
use std::thread;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Is a new connection served? If so, it is kept. Where descriptors have run out, nobody accepts it, and
/// it waits.
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

/// Asserts that it does next to nothing for a second.
#[track_caller]
fn assert_does_not_spin(balancer: &Balancer) {
    let before = processor_time(balancer.pid());
    thread::sleep(Duration::from_secs(1)); // the time that is looked at
    let used = processor_time(balancer.pid()) - before;
    assert!(used < Duration::from_millis(200), "{used:?} in a second");
}

/// More clients come than fit.
#[track_caller]
fn survives_a_full_house(balancer: &Balancer) {
    let mut clients = Vec::new();
    eventually("it is full", || {
        let client = admitted(balancer);
        let full = client.is_none();
        clients.extend(client);
        full
    });
    assert!(clients.len() > 5, "{} were let in", clients.len());
    let _waiting: Vec<_> = (0..20).map(|_| balancer.client()).collect();
    assert_does_not_spin(balancer);
    assert_served(&mut clients);
    clients.truncate(5);
    eventually("there is room", || {
        clients.extend(admitted(balancer));
        clients.len() > 5
    });
    assert_served(&mut clients);
}

#[test]
fn a_low_limit_on_descriptors_lets_in_as_many_as_fit() {
    let backend = Recorder::hello("hello");
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 256 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_turnwheel"), "serve"]);
    limited.args(["--listen=127.0.0.1:0", "--edge=parked", "--workers=4"]).env_remove("RUST_LOG");
    limited.arg(format!("--backend=http://{}", backend.addr));
    let balancer = Balancer::spawn(&mut limited, "Load balancer is listening on ");
    for _ in 0..2 {
        survives_a_full_house(&balancer);
    }
    let said = balancer.stderr();
    assert!(said.contains("the limit of 256 open files leaves room for"), "{said}");
}

/// From now on the process may have so many descriptors.
fn limit_descriptors(pid: u32, count: usize) {
    let limit = libc::rlimit { rlim_cur: count as libc::rlim_t, rlim_max: count as libc::rlim_t };
    // SAFETY: the kernel reads a limit from a local, and writes none where it is told null.
    let done =
        unsafe { libc::prlimit(pid as i32, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn it_waits_for_descriptors_when_there_are_none_left_and_then_serves_again() {
    let siege = Siege::with(&["--workers=4"]);
    let before = siege.at_rest();
    // Less than it knew of when it started.
    limit_descriptors(siege.balancer.pid(), before.descriptors + 20);
    for _ in 0..2 {
        let mut crowd = Vec::new();
        let seen = siege.balancer.stderr().matches("cannot accept").count();
        eventually("it cannot accept any more", || {
            crowd.push(siege.balancer.client());
            siege.balancer.stderr().matches("cannot accept").count() > seen
        });
        assert_does_not_spin(&siege.balancer);
        drop(crowd);
        eventually("it serves again", || admitted(&siege.balancer).is_some());
    }
    eventually("the descriptors are back", || {
        Figures::of(siege.balancer.pid()).descriptors <= before.descriptors
    });
}

use crate::bed::{Backend, Balancer, HELLO, Peer, get};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc;

#[test]
fn a_signal_lets_the_current_request_finish() {
    for signal in ["TERM", "INT"] {
        let (asked, wait_asked) = mpsc::channel();
        let (go, wait_go) = mpsc::channel::<()>();
        let wait_go = Mutex::new(wait_go);
        let backend = Backend::run(move |mut peer, _| {
            peer.head();
            asked.send(()).unwrap();
            wait_go.lock().unwrap().recv().unwrap();
            peer.send(HELLO);
        });
        let mut balancer = Balancer::serve(&[backend.addr], &[]);
        let mut idle = Peer::connect(balancer.addr);
        let mut client = Peer::connect(balancer.addr);
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        wait_asked.recv().unwrap();
        balancer.signal(signal);
        assert_eq!(idle.rest(), ""); // idle connections are closed at once
        go.send(()).unwrap();
        let reply = client.rest(); // complete, and then closed
        assert!(reply.ends_with("hello"), "{reply}");
        assert_eq!(balancer.exit().code(), Some(0));
        assert!(TcpStream::connect(balancer.addr).is_err());
    }
}

#[test]
fn replies_to_a_client_that_has_closed_its_sending_side() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::run(move |mut peer, _| {
        peer.head();
        wait.lock().unwrap().recv().unwrap();
        peer.send(HELLO);
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = Peer::connect(balancer.addr);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.finish();
    go.send(()).unwrap();
    assert!(client.rest().ends_with("hello"));
}

#[test]
fn refuses_an_invalid_command_line() {
    let program = || std::process::Command::new(env!("CARGO_BIN_EXE_turnwheel-async"));
    let output = program().args(["serve", "--backend=https://h:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let backend = Backend::answers(HELLO);
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let taken = [format!("--listen={}", balancer.addr), format!("--backend=http://{}", backend.addr)];
    let output = program().arg("serve").args(taken).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on"));
    assert!(get(balancer.addr, "/").ends_with("hello"));
}

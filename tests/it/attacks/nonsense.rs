//! Malformed requests and requests that never end.

use super::AttackedBalancer;
use super::hostile_clients::{HostileClients, assert_all_replied};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const NO_PAUSE: Duration = Duration::ZERO;

#[test]
fn withstands_endless_header_lines_and_targets() {
    AttackedBalancer::with(&[]).withstands(|balancer| {
        let endless = [b'x'; 16 << 10];
        for (status, begin) in [
            (431, "GET / HTTP/1.1\r\nHost: test\r\nX-Long: "),
            (431, "GET / HTTP/1.1\r\nHost: test\r\nX-"),
            (414, "GET /"),
            (414, ""),
        ] {
            let clients = HostileClients::connect(20, balancer.addr, begin);
            assert_all_replied(&clients.send_until_closed(&endless, NO_PAUSE), 20, status);
        }
    });
}

#[test]
fn withstands_a_hundred_thousand_headers() {
    AttackedBalancer::with(&["--max-head=1MiB"]).withstands(|balancer| {
        let lines = b"X-A: b\r\n".repeat(1000);
        let clients = HostileClients::connect(20, balancer.addr, "GET / HTTP/1.1\r\nHost: test\r\n");
        assert_all_replied(&clients.send_until_closed(&lines, NO_PAUSE), 20, 431);
    });
}

#[test]
fn withstands_excessive_content_lengths() {
    let attacked = AttackedBalancer::with(&["--max-body=1MiB"]);
    attacked.withstands(|balancer| {
        for (status, length) in [
            (413, "1048577"),
            (413, "9223372036854775807"),
            (413, "9223372036854775808"),
            (413, "18446744073709551615"),
            (413, "18446744073709551616"),
            (413, "99999999999999999999999999999999"),
            (400, "-1"),
            (400, "+1"),
            (400, "0x10"),
            (400, "1e3"),
        ] {
            let begin = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
            let clients = HostileClients::connect(10, balancer.addr, begin);
            assert_all_replied(&clients.send_until_closed(&[b'x'; 4096], NO_PAUSE), 10, status);
        }
    });
    assert!(attacked.backend.requests().iter().all(|request| request.request_line().starts_with("GET ")));
}

#[test]
fn withstands_excessive_chunk_sizes() {
    let attacked = AttackedBalancer::with(&["--max-body=1MiB"]);
    attacked.withstands(|balancer| {
        for (status, size) in [
            (413, "7fffffffffffffff"),
            (413, "ffffffffffffffff"),
            (400, "10000000000000000"),
            (400, "fffffffffffffffffffffffffffffffff"),
            (400, "-1"),
        ] {
            let begin =
                format!("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n");
            let clients = HostileClients::connect(10, balancer.addr, begin);
            assert_all_replied(&clients.send_until_closed(&[b'x'; 64 << 10], NO_PAUSE), 10, status);
        }
    });
    attacked.assert_no_upload_complete();
}

#[test]
fn withstands_bodies_of_framing_only() {
    let attacked = AttackedBalancer::with(&["--max-body=1MiB", "--workers=4"]);
    attacked.withstands(|balancer| {
        let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (begin, endless) in
            [("", "0"), ("5;", "x"), ("0\r\n", "X-A: b\r\n"), ("0\r\nX-", "x"), ("0\r\nX:", "x")]
        {
            let clients = HostileClients::connect(10, balancer.addr, format!("{head}{begin}"));
            assert_all_replied(
                &clients.send_until_closed(endless.repeat(4096).as_bytes(), NO_PAUSE),
                10,
                400,
            );
        }
    });
    attacked.assert_no_upload_complete();
}

#[test]
fn withstands_other_protocols() {
    AttackedBalancer::with(&["--client-head-timeout=500ms"]).withstands(|balancer| {
        for (status, begin) in [
            (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0".as_slice()),
            (400, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
            (408, b"SSH-2.0-OpenSSH_9.6\r\n"), // it might still become a request line
            (400, b"\0\0\0\0"),
        ] {
            let clients = HostileClients::connect(20, balancer.addr, begin);
            assert_all_replied(&clients.send_until_closed(b"", Duration::from_millis(5)), 20, status);
        }
    });
}

/// A request with some bytes changed, or random bytes.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let request =
        b"POST /a?b HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let bytes = prop::collection::vec(any::<u8>(), 1..2000);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    let edited = edits.prop_map(|edits| {
        let mut bytes = request.to_vec();
        edits.iter().for_each(|(at, byte)| bytes[at.index(request.len())] = *byte);
        bytes
    });
    prop_oneof![bytes, edited]
}

#[test]
fn withstands_random_bytes() {
    AttackedBalancer::with(&[]).withstands(|balancer| {
        let mut runner = TestRunner::deterministic();
        for number in 0..2000 {
            let bytes = garbage().new_tree(&mut runner).unwrap().current();
            let mut stream = TcpStream::connect(balancer.addr).unwrap();
            let _ = stream.write_all(&bytes); // the connection may be closed before the end
            if number % 2 == 0 {
                let _ = stream.shutdown(Shutdown::Write); // as above
            }
        }
    });
}

/// Sends requests for a second, as fast as the connection takes them, and reads no reply.
fn send_requests_endlessly(addr: SocketAddr) {
    let requests = "GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(2000);
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        let _ = stream.write_all(requests.as_bytes()); // fails once the buffers are full
    }
}

#[test]
fn withstands_endless_requests_whose_replies_are_not_read() {
    AttackedBalancer::with(&["--workers=8"]).withstands(|balancer| {
        thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| send_requests_endlessly(balancer.addr))));
        });
    });
}

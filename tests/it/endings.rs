//! The access log's record of how each request ended.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, Client, DEADLINE, Ending, dead_port, edge, eventually, is_tiny, program};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use turnwheel::Config;
use turnwheel::shutdown;
use turnwheel::strategy::{Candidate, ClientKey, Strategy};

const LOG: &str = "--access-log=json";

/// Starts a balancer with a JSON access log.
pub fn serve(backends: &[SocketAddr], flags: &[&str]) -> Balancer {
    Balancer::serve(backends, &[&[LOG], flags].concat())
}

/// Waits for this many lines of the log, each a JSON object, and returns them. More lines are a failure.
#[track_caller]
pub fn lines(balancer: &Balancer, count: usize) -> Vec<Value> {
    let lines = || -> Vec<Value> {
        let text = balancer.stdout();
        let objects = text.lines().filter(|line| line.starts_with('{'));
        objects.map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    eventually("the lines are written", || lines().len() >= count);
    let lines = lines();
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

/// Returns how the only request in the log ended: the word, the reason and the status.
#[track_caller]
fn ended(balancer: &Balancer) -> (String, Option<String>, u64) {
    let line = lines(balancer, 1).remove(0);
    let text = |name: &str| line[name].as_str().map(str::to_owned);
    (text("ended").unwrap(), text("reason"), line["status"].as_u64().unwrap())
}

fn end(word: &str, reason: Option<&str>, status: u64) -> (String, Option<String>, u64) {
    (word.to_owned(), reason.map(str::to_owned), status)
}

#[test]
fn logs_the_bytes_of_both_bodies() {
    let backend = Recorder::hello("hello");
    let balancer = serve(&[backend.addr], &[]);
    let body = "x".repeat(100_000);
    let sized = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{body}");
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n{body}\r\n0\r\n\r\n"
    );
    for request in [sized, chunked] {
        assert_eq!(balancer.client().request(request).status, 200);
    }
    for line in lines(&balancer, 2) {
        assert_eq!((&line["received"], &line["bytes"]), (&100_000.into(), &5.into()), "{line}");
    }
}

#[test]
fn a_whole_reply_is_ok_whatever_its_status() {
    let backend = Recorder::replying("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    let balancer = serve(&[backend.addr], &[]);
    assert_eq!(balancer.get("/").status, 500);
    assert_eq!(ended(&balancer), end("ok", None, 500));
}

#[test]
fn a_disconnect_during_the_reply_is_client_gone() {
    let backend = Recorder::pouring();
    let balancer = serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().unwrap().status, 200);
    drop(client);
    assert_eq!(ended(&balancer), end("client_gone", None, 200));
}

#[test]
fn a_half_close_during_an_upload_is_client_gone() {
    let backend = Recorder::hello("hello");
    let balancer = serve(&[backend.addr], &[]);
    let mut stream = TcpStream::connect(balancer.addr).unwrap();
    let half = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n{}", "x".repeat(100_000));
    stream.write_all(half.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let (word, reason, status) = ended(&balancer);
    assert_eq!((&*word, reason.as_deref(), status), ("client_gone", Some("client_gone"), 400));
}

/// The parked edge buffers a small upload before a worker gets the request.
#[test]
fn a_reset_during_a_small_upload_is_client_gone() {
    let backend = Recorder::hello("hello");
    for framing in ["Content-Length: 3000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"] {
        let balancer = serve(&[backend.addr], &[]);
        let mut client = balancer.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}"));
        assert_eq!(client.read_head().unwrap().status, 100, "its head has come");
        socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(ended(&balancer), end("client_gone", Some("client_gone"), 400));
    }
}

/// Such a request is refused before a worker gets it, and its head is valid.
#[test]
fn a_partial_upload_is_logged_with_its_id_and_bytes() {
    let backend = Recorder::hello("hello");
    let balancer = serve(&[backend.addr], &["--client-body-timeout=100ms"]);
    let half = "POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: half\r\nContent-Length: 3000\r\n\r\n";
    let reply = balancer.client().request(format!("{half}{}", "x".repeat(2000)));
    assert_eq!((reply.status, reply.header("X-Request-Id")), (408, Some("half")));
    let line = lines(&balancer, 1).remove(0);
    assert_eq!((&line["id"], &line["received"]), (&"half".into(), &2000.into()), "{line}");
}

#[test]
fn a_partial_upload_at_the_end_of_the_grace_is_logged() {
    let backend = Recorder::hello("hello");
    let mut balancer = serve(&[backend.addr], &["--grace=100ms"]);
    let mut client = balancer.client();
    let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\nExpect: 100-continue\r\n\r\n";
    client.send(half);
    assert_eq!(client.read_head().unwrap().status, 100);
    balancer.signal(libc::SIGTERM);
    assert_eq!(balancer.wait_exit(DEADLINE), 0);
    let line = lines(&balancer, 1).remove(0);
    // The parked edge answers the client; with tiny_http the connection has been closed before.
    let expected = if is_tiny() { "client_gone" } else { "client_too_slow" };
    assert_eq!((&line["method"], &line["reason"]), (&"POST".into(), &expected.into()), "{line}");
}

#[test]
fn a_refused_head_request_is_logged_with_no_body_bytes() {
    let dead = dead_port();
    let balancer = serve(&[dead.addr], &[]);
    let mut client = balancer.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.read_head().unwrap().status, 502);
    assert_eq!(client.read_to_end_of_connection().0, b"");
    assert_eq!(lines(&balancer, 1)[0]["bytes"], 0);
}

#[test]
fn a_stalled_upload_is_client_slow() {
    let backend = Recorder::hello("hello");
    let balancer = serve(&[backend.addr], &["--client-body-timeout=100ms"]);
    let mut client = balancer.client();
    client
        .send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n{}", "x".repeat(100_000)));
    assert_eq!(client.read_reply().status, 408);
    assert_eq!(ended(&balancer), end("client_slow", Some("client_too_slow"), 408));
}

#[test]
fn a_client_that_does_not_read_is_client_slow() {
    let backend = Recorder::pouring();
    let balancer = serve(&[backend.addr], &["--client-write-timeout=100ms"]);
    let mut client = balancer.client();
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(ended(&balancer), end("client_slow", None, 200));
    drop(client);
}

#[test]
fn a_broken_reply_is_backend_broke_off() {
    let backend = Recorder::new(|conversation| {
        if conversation.read_request().is_some() {
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        }
    });
    let balancer = serve(&[backend.addr], &["--idle-timeout=200ms"]);
    let mut client = balancer.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().unwrap().status, 200);
    assert_eq!(ended(&balancer), end("backend_broke_off", None, 200));
}

#[test]
fn an_unreachable_backend_is_backend_failed() {
    let dead = dead_port();
    let balancer = serve(&[dead.addr], &[]);
    assert_eq!(balancer.get("/").status, 502);
    assert_eq!(ended(&balancer), end("backend_failed", Some("bad_gateway"), 502));
}

#[test]
fn a_late_head_or_body_is_a_timeout() {
    let mute = Recorder::silent();
    let balancer = serve(&[mute.addr], &["--reply-head-timeout=100ms"]);
    assert_eq!(balancer.get("/").status, 504);
    assert_eq!(ended(&balancer), end("timeout", Some("backend_too_slow"), 504));

    let stuck = Recorder::new(|conversation| {
        if conversation.read_request().is_some() {
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            conversation.read_to_end();
        }
    });
    let balancer = serve(&[stuck.addr], &["--upstream-timeout=100ms", "--idle-timeout=200ms"]);
    let mut client = balancer.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().unwrap().status, 200);
    assert_eq!(ended(&balancer), end("timeout", None, 200));
}

#[test]
fn a_refusal_is_rejected_with_a_reason() {
    let backend = Recorder::hello("hello");
    for (request, reason, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "bad_request", 400),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_allowed", 405),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n", "body_too_large", 413),
    ] {
        let balancer = serve(&[backend.addr], &[]);
        assert_eq!(u64::from(balancer.client().request(request).status), status);
        assert_eq!(ended(&balancer), end("rejected", Some(reason), status));
    }
    assert_eq!(backend.requests().len(), 0);
}

/// The log's reader has stopped: the lines that fit into the pipe and the queue are kept, and no request waits for the others.
#[test]
fn a_log_that_is_not_read_loses_lines_and_delays_no_request() {
    const REQUESTS: usize = 12_000;
    let backend = Recorder::hello("hello");
    let (mut child, unread, [balancer, admin]) = logging_into_a_pipe(&backend);
    let mut client = Client::connect(balancer);
    for _ in 0..REQUESTS {
        assert_eq!(client.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    }
    let operator = AdminClient { addr: admin };
    let dropped = || operator.done("GET /api/state", "")["access_log_dropped"].as_u64().unwrap();
    eventually("lines are dropped and counted", || dropped() > 0);
    let page = operator.ask("GET /metrics", "");
    assert!(page.text().contains("\nturnwheel_access_log_dropped_total "), "{}", page.text());
    assert!((dropped() as usize) < REQUESTS, "the lines that fitted were kept");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(unread);
}

/// The log's reader has closed the pipe. The number of dropped lines must not suggest a complete log.
#[test]
fn a_log_that_cannot_be_written_warns_and_counts_lost_lines() {
    let backend = Recorder::hello("hello");
    let (mut child, reader, [balancer, admin]) = logging_into_a_pipe(&backend);
    drop(reader);
    let (mut client, operator) = (Client::connect(balancer), AdminClient { addr: admin });
    eventually("lines are dropped and counted", || {
        (0..100).for_each(|_| assert_eq!(client.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200));
        operator.done("GET /api/state", "")["access_log_dropped"].as_u64().unwrap() > 0
    });
    child.kill().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    child.wait().unwrap();
    let warnings = |words: &str| stderr.lines().filter(|line| line.contains(words)).count();
    assert_eq!(warnings("the access log cannot be written, trying again: Broken pipe"), 1, "{stderr}");
    assert!(warnings("the access log cannot be written: lines are dropped") > 0, "{stderr}");
}

/// Starts a balancer that logs into a pipe. Returns it, the unread end of the pipe, and the addresses of its two listeners.
fn logging_into_a_pipe(backend: &Recorder) -> (Child, ChildStdout, [SocketAddr; 2]) {
    let mut command = program();
    command.args(["serve", "--listen=127.0.0.1:0", ADMIN, LOG]);
    command.args([format!("--edge={}", edge()), format!("--backend=http://{}", backend.addr)]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = child.stdout.take().unwrap();
    let mut address = || -> SocketAddr {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap().trim_end().rsplit(' ').next().unwrap().parse().unwrap()
    };
    let addresses = [address(), address()];
    (child, reader, addresses)
}

/// A sink whose content a test can read.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Panics;

impl Strategy for Panics {
    fn pick(&self, _usable: &[Candidate<'_>], _client: &ClientKey) -> usize {
        panic!("on purpose")
    }
}

#[test]
fn a_request_whose_worker_panics_is_answered_and_logged() {
    let (backend, sink) = (Recorder::hello("hello"), Sink::default());
    let mut config = Config::new(vec![format!("http://{}", backend.addr).parse().unwrap()]);
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.upstream.strategy = Arc::new(Panics);
    config.access_log = Some((turnwheel::config::AccessLogFormat::Json, Box::new(sink.clone())));
    let balancer = turnwheel::Balancer::bind(config.validate().unwrap()).unwrap();
    let address = balancer.local_addr().unwrap();
    let (handle, stop) = shutdown::pair();
    std::thread::scope(|scope| {
        scope.spawn(|| balancer.run(&stop).unwrap());
        for _ in 0..3 {
            let mut client = Client::connect(address);
            assert_eq!(client.request("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status, 502);
            assert_eq!(client.read_to_end_of_connection().1, Ending::Finished);
        }
        handle.stop();
    });
    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in lines {
        assert_eq!((&line["ended"], &line["status"]), (&"panicked".into(), &502.into()), "{line}");
    }
}

//! One probe of one backend, over a connection of its own, with its result in a sentence.

use super::handle::ProbeHandle;
use super::http_call::{self, ONE_DAY};
use super::reason;
use crate::cluster::health::statuses::Statuses;
use http::Method;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The result of an ended probe. It says nothing about the backend.
const ENDED: &str = "the probe was ended";

/// The kind of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Opens a connection and closes it without a byte.
    Connect,
    /// Sends a GET, which must get one of these statuses. Redirects are not followed.
    Get {
        /// The path, from its slash, with its query if any.
        path: String,
        /// The statuses that count as a success.
        statuses: Statuses,
    },
    /// Sends a HEAD, which must get any reply. For a backend that was ejected because it did not reply.
    AnyReply {
        /// The path, from its slash, with its query if any.
        path: String,
    },
}

/// Makes one probe within `timeout`, all addresses and the reply included.
///
/// `addresses` belong to one backend and are tried in order. `host` is the value of the Host header. Returns what was
/// observed: `connected`, or `status 200`.
///
/// # Errors
/// One short sentence for the log, without control characters, whatever the backend sent.
pub fn probe(
    addresses: &[SocketAddr],
    host: &str,
    kind: &ProbeKind,
    timeout: Duration,
    handle: &ProbeHandle,
) -> Result<String, String> {
    if handle.has_ended() {
        return Err(ENDED.to_owned());
    }
    let status = |method, path| {
        let outcome = http_call::request(method, host, path)
            .and_then(|request| http_call::send(addresses, request, timeout, handle));
        outcome.map_err(|why| if handle.has_ended() { ENDED.to_owned() } else { why })
    };
    match kind {
        ProbeKind::Connect => connect(addresses, timeout).map(|_| "connected".to_owned()),
        ProbeKind::AnyReply { path } => status(Method::HEAD, path).map(|status| format!("status {status}")),
        ProbeKind::Get { path, statuses } => match status(Method::GET, path)? {
            status if statuses.contains(status) => Ok(format!("status {status}")),
            status => Err(format!("status {status}, expected {statuses}")),
        },
    }
}

/// Connects to the first address that accepts. Each gets an equal share of the time left, or a silent one would leave
/// none for the others.
fn connect(addresses: &[SocketAddr], timeout: Duration) -> Result<TcpStream, String> {
    let deadline = Instant::now() + timeout.min(ONE_DAY);
    let mut failure = "it has no address".to_owned();
    for (shares, address) in (1..=u32::try_from(addresses.len()).unwrap_or(u32::MAX)).rev().zip(addresses) {
        let share = deadline.saturating_duration_since(Instant::now()) / shares;
        // `connect_timeout` refuses zero.
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) if reason::is_timeout(&error) => failure = reason::timed_out("connection", timeout),
            Err(error) => failure = reason::of_io(&error),
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::super::reason::LONGEST_REASON;
    use super::*;
    use crate::cluster::health::probe::http_call::{self, MAX_HEAD};
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{self, Receiver};
    use std::thread::{self, JoinHandle};

    /// The timeout for probes whose outcome is immediate.
    const AMPLE: Duration = Duration::from_secs(20);
    /// The timeout for probes that get no reply.
    const BRIEF: Duration = Duration::from_millis(250);

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A reserved port without a listener.
    fn unused_port() -> (socket2::Socket, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    /// Reads a request's head.
    fn read_head(mut stream: &TcpStream) -> String {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Answers one request, waits for the client to close, and returns the request's head.
    fn backend(reply: impl AsRef<[u8]> + Send + 'static) -> (SocketAddr, JoinHandle<String>) {
        let (listener, address) = listener();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head = read_head(&stream);
            let _ = stream.write_all(reply.as_ref()); // the client may have closed already
            stream.shutdown(std::net::Shutdown::Write).unwrap_or_default();
            let _ = stream.read_to_end(&mut Vec::new());
            head
        });
        (address, thread)
    }

    fn get(statuses: &str) -> ProbeKind {
        ProbeKind::Get { path: "/health?deep=1".to_owned(), statuses: statuses.parse().unwrap() }
    }

    fn any_reply() -> ProbeKind {
        ProbeKind::AnyReply { path: "/".to_owned() }
    }

    fn run_probe(addresses: &[SocketAddr], kind: &ProbeKind, timeout: Duration) -> Result<String, String> {
        probe(addresses, "backend.example:8080", kind, timeout, &ProbeHandle::default())
    }

    /// Returns the result of a GET that gets this reply.
    fn result(reply: impl AsRef<[u8]> + Send + 'static) -> Result<String, String> {
        let (address, thread) = backend(reply);
        let result = run_probe(&[address], &get("200-399"), AMPLE);
        thread.join().unwrap();
        result
    }

    fn success(what: &str) -> Result<String, String> {
        Ok(what.to_owned())
    }

    fn failure(why: &str) -> Result<String, String> {
        Err(why.to_owned())
    }

    #[test]
    fn a_connect_probe_opens_and_closes_a_connection() {
        let (listener, address) = listener();
        assert_eq!(run_probe(&[address], &ProbeKind::Connect, AMPLE), success("connected"));
        let mut bytes = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"");
    }

    #[test]
    fn a_refused_connection_is_a_failure() {
        let (_taken, address) = unused_port();
        for kind in [ProbeKind::Connect, get("200"), any_reply()] {
            assert_eq!(run_probe(&[address], &kind, AMPLE), failure("connection refused"), "{kind:?}");
            assert_eq!(
                run_probe(&[address, address], &kind, AMPLE),
                failure("connection refused"),
                "{kind:?}"
            );
        }
        assert_eq!(run_probe(&[], &ProbeKind::Connect, AMPLE), failure("it has no address"));
        assert!(run_probe(&[], &get("200"), AMPLE).is_err());
    }

    #[test]
    fn each_address_is_tried() {
        let (_taken, closed) = unused_port();
        let (_listener, address) = listener();
        assert_eq!(run_probe(&[closed, address], &ProbeKind::Connect, AMPLE), success("connected"));
        let (address, thread) = backend("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(run_probe(&[closed, address], &get("204"), AMPLE), success("status 204"));
        thread.join().unwrap();
    }

    #[test]
    fn a_get_has_the_expected_head() {
        let (address, thread) = backend("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(run_probe(&[address], &get("200"), AMPLE), success("status 200"));
        let head = thread.join().unwrap().to_ascii_lowercase();
        let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
        assert_eq!(lines.remove(0), "get /health?deep=1 http/1.1");
        lines.sort_unstable();
        let expected = ["connection: close", "host: backend.example:8080", "user-agent: turnwheel-health"];
        assert_eq!(lines, expected);
    }

    #[test]
    fn silence_fails_at_the_timeout() {
        let (_listener, address) = listener(); // the system accepts, and no thread reads
        for kind in [get("200"), any_reply()] {
            assert_eq!(run_probe(&[address], &kind, BRIEF), failure("no reply within 250ms"), "{kind:?}");
        }
        assert_eq!(run_probe(&[address], &get("200"), Duration::ZERO), failure("no connection within 0ns"));
    }

    #[test]
    fn a_reply_that_trickles_in_fails_at_the_timeout() {
        let (listener, address) = listener();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").unwrap();
            let pace = Duration::from_millis(5);
            while stopped.recv_timeout(pace) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = stream.write_all(b"x");
            }
        });
        assert_eq!(run_probe(&[address], &get("200"), BRIEF), failure("no reply within 250ms"));
        drop(stop);
        thread.join().unwrap();
    }

    /// A listener with a full queue: the system does not answer further connection attempts.
    #[cfg(target_os = "linux")]
    fn full() -> (socket2::Socket, SocketAddr, Vec<TcpStream>) {
        let (socket, address) = unused_port();
        socket.listen(0).unwrap();
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queue = (0..16).map_while(connect).collect();
        (socket, address, queue)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_silent_address_takes_only_its_share_of_the_timeout() {
        let (_socket, silent, _queue) = full();
        for kind in [ProbeKind::Connect, get("200"), any_reply()] {
            assert_eq!(run_probe(&[silent], &kind, BRIEF), failure("no connection within 250ms"), "{kind:?}");
        }
        let (_listener, address) = listener();
        let timeout = Duration::from_secs(1);
        let begin = Instant::now();
        assert_eq!(run_probe(&[silent, address], &ProbeKind::Connect, timeout), success("connected"));
        assert!(begin.elapsed() < timeout, "the first has taken all of it");
        let (address, thread) = backend("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(run_probe(&[silent, address], &any_reply(), timeout), success("status 200"));
        thread.join().unwrap();
    }

    #[test]
    fn the_status_decides() {
        let expected = failure("status 503, expected 200-399");
        assert_eq!(result("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"), expected);
        assert_eq!(result("HTTP/1.0 200\r\n\r\nuntil the end"), success("status 200"));
        assert_eq!(result("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), success("status 200"));
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let (elsewhere, other) = listener();
        elsewhere.set_nonblocking(true).unwrap();
        let head = format!("HTTP/1.1 302 Found\r\nlocation: http://{other}/\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(result(head), success("status 302"));
        assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn any_reply_is_a_success_without_its_body() {
        let (address, thread) = backend("HTTP/1.1 500 Oops\r\ncontent-length: 5\r\n\r\n");
        assert_eq!(run_probe(&[address], &any_reply(), AMPLE), success("status 500"));
        assert!(thread.join().unwrap().starts_with("HEAD / HTTP/1.1\r\n"));
    }

    #[test]
    fn the_result_does_not_wait_for_the_body() {
        let (listener, address) = listener();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nbegun").unwrap();
            let _ = stream.read_to_end(&mut Vec::new()); // until the client closes
        });
        let begin = Instant::now();
        assert_eq!(run_probe(&[address], &get("200"), AMPLE), success("status 200"));
        assert!(begin.elapsed() < AMPLE / 2);
        thread.join().unwrap();
    }

    #[test]
    fn a_backend_that_sends_its_body_a_little_later_is_not_reset() {
        let (listener, address) = listener();
        let (results, result) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_head(&stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").unwrap();
            let early = result.recv_timeout(Duration::from_millis(5));
            stream.write_all(b"ok").unwrap();
            (early, stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind()))
        });
        results.send(run_probe(&[address], &get("200"), AMPLE)).unwrap_or_default();
        assert_eq!(thread.join().unwrap(), (Err(mpsc::RecvTimeoutError::Timeout), Ok(0)));
    }

    #[test]
    fn an_invalid_reply_is_reported_in_one_plain_line() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(2 * MAX_HEAD)).into_bytes();
        for (reply, words) in [
            (b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), "no valid reply"),
            (b"HTTP/1.1 200 O\x1b[2J\x07K\r\n\r\n".to_vec(), "no valid reply"),
            (b"HTTP/1.1 200 OK\r\nx: a\x07b\r\n\r\n".to_vec(), "no valid reply"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: \xc2\x9b31m\r\n\r\n".to_vec(), ""),
            (b"HTTP/1.1 200 OK\r\nx: 1".to_vec(), "connection closed before a reply"),
            (b"".to_vec(), "connection closed before a reply"),
            (long, "longer than 65536 bytes"),
        ] {
            let shown = reply.escape_ascii().to_string();
            let why = result(reply).unwrap_err();
            assert!(why.contains(words), "{why} for {shown:.200}");
            assert!(why.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{why:?} for {shown:.200}");
        }
    }

    #[test]
    fn a_reason_is_plain_and_short() {
        assert_eq!(reason::plain("as it is: \"a\\b\""), "as it is: \"a\\b\"");
        assert_eq!(reason::plain("a\r\nb\u{1b}[2J\u{202e}\u{9b}é"), "a\\r\\nb\\u{1b}[2J\\u{202e}\\u{9b}é");
        assert_eq!(reason::plain(&"x".repeat(9999)).len(), LONGEST_REASON);
    }

    #[test]
    fn an_invalid_path_is_reported() {
        for path in ["", "health", "/a b", "/#top", "/\n", "@evil/"] {
            let kind = ProbeKind::AnyReply { path: path.to_owned() };
            let why = run_probe(&[], &kind, AMPLE).unwrap_err();
            assert!(why.ends_with("make no URL"), "{path:?}: {why}");
        }
    }

    /// Starts a probe whose request is read by a silent backend.
    fn start_probe(handle: &ProbeHandle) -> (Receiver<Result<String, String>>, TcpStream) {
        let (listener, address) = listener();
        let (results, received) = mpsc::channel();
        let handle = handle.clone();
        thread::spawn(move || results.send(probe(&[address], "a:1", &get("200"), AMPLE, &handle)));
        let (stream, _) = listener.accept().unwrap();
        assert!(read_head(&stream).starts_with("GET /health"));
        (received, stream)
    }

    #[test]
    fn a_probe_can_be_ended_from_another_thread() {
        let handle = ProbeHandle::default();
        let (result, _stream) = start_probe(&handle);
        assert!(!handle.has_ended());
        handle.end();
        assert_eq!(result.recv_timeout(AMPLE / 2), Ok(failure(ENDED)));
        assert!(handle.has_ended());
    }

    #[test]
    fn an_ended_handle_sends_no_further_probe() {
        let handle = ProbeHandle::default();
        handle.end();
        let (listener, address) = listener();
        listener.set_nonblocking(true).unwrap();
        for kind in [ProbeKind::Connect, get("200"), any_reply()] {
            assert_eq!(probe(&[address], "a:1", &kind, AMPLE, &handle), failure(ENDED));
        }
        // A probe that is ended between the first check and the call makes no call either.
        let request = http_call::request(Method::GET, "a:1", "/").unwrap();
        assert!(http_call::send(&[address], request, AMPLE, &handle).is_err());
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

//! One probe of one backend: a connection of its own, a question if there is one, and an answer in a sentence.

use super::statuses::Statuses;
use http::header::CONNECTION;
use http::{Method, Request, Response, Uri};
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport};
use ureq::{Agent, Body};

/// What a backend sees in its log.
const USER_AGENT: &str = "turnwheel-health";

/// No probe takes longer, whatever is configured: a clock cannot count on for ever.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How much of a reply's body is read, in bytes, and for how long. The verdict is in the head, but a connection
/// that is closed with bytes unread is reset, and many a server logs that as an error.
const BODY: u64 = 16 << 10;
const BODY_PATIENCE: Duration = Duration::from_millis(100);

/// Bytes of a reply's head, and of the request. No sensible probe has more.
const HEAD: usize = 64 << 10;

/// Characters of a reason: it goes into one line of a log.
const LONGEST_REASON: usize = 200;

/// What is told when [`Handle::end`] was there first. It says nothing about the backend.
const ENDED: &str = "the probe was ended";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Can a connection be opened? It is closed again without a byte.
    Connect,
    /// Does a GET get one of these statuses? A redirect is not followed: it has a status of its own.
    Get {
        /// With its query, if any. Begins with a slash.
        path: String,
        /// What is right.
        statuses: Statuses,
    },
    /// Does a HEAD get any reply at all? This is for a backend that gave none.
    AnyReply {
        /// With its query, if any. Begins with a slash.
        path: String,
    },
}

/// Ends probes from another thread. For one prober, who makes one call at a time.
#[derive(Clone, Debug, Default)]
pub struct Handle(Arc<Mutex<Call>>);

#[derive(Debug, Default)]
struct Call {
    ended: bool,
    agent: Option<Agent>,
}

impl Handle {
    /// Ends the call that is under way, if any, and all that would follow. A connection that is being opened is the
    /// exception, as nothing can interrupt that: it is given up when it is open, or when its time is over.
    pub fn end(&self) {
        let mut call = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        call.ended = true;
        let agent = call.agent.take();
        drop(call);
        if let Some(agent) = agent {
            agent.shutdown();
        }
    }

    /// Has it been ended? What a probe said then is not about the backend.
    pub fn has_ended(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// The next call goes through this agent.
    fn begin(&self, agent: &Agent) {
        let mut call = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if call.ended {
            agent.clone().shutdown(); // has no connection yet, so this only closes its door
        }
        call.agent = Some(agent.clone());
    }
}

/// Asks once, and is back when `timeout` is over: all the addresses together, and the reply, have no more than that.
///
/// `addresses` are those of one backend: a connection is tried on each in turn. `host` is what the backend is told
/// that it is called, `host:port`. Returns what was seen: `connected`, or `status 200`.
///
/// # Errors
/// One short sentence for a log, without any control character, whatever the backend sent.
pub fn probe(
    addresses: &[SocketAddr],
    host: &str,
    kind: &Kind,
    timeout: Duration,
    handle: &Handle,
) -> Result<String, String> {
    if handle.has_ended() {
        return Err(ENDED.to_owned());
    }
    let status = |method, path| {
        let outcome =
            request(method, host, path).and_then(|request| ask(addresses, request, timeout, handle));
        outcome.map_err(|why| if handle.has_ended() { ENDED.to_owned() } else { why })
    };
    match kind {
        Kind::Connect => connect(addresses, timeout).map(|_| "connected".to_owned()),
        Kind::AnyReply { path } => status(Method::HEAD, path).map(|status| format!("status {status}")),
        Kind::Get { path, statuses } => match status(Method::GET, path)? {
            status if statuses.contains(status) => Ok(format!("status {status}")),
            status => Err(format!("status {status}, expected {statuses}")),
        },
    }
}

/// Opens a connection to the first address that takes one. Each gets its equal share of what is left of the time,
/// or one that says nothing would leave none for the others.
fn connect(addresses: &[SocketAddr], timeout: Duration) -> Result<TcpStream, String> {
    let deadline = Instant::now() + timeout.min(A_DAY);
    let mut failure = "it has no address".to_owned();
    for (shares, address) in (1..=u32::try_from(addresses.len()).unwrap_or(u32::MAX)).rev().zip(addresses) {
        let share = deadline.saturating_duration_since(Instant::now()) / shares;
        // Zero would be taken for a mistake.
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) if is_timeout(&error) => failure = too_long("connection", timeout),
            Err(error) => failure = io_failure(&error),
        }
    }
    Err(failure)
}

fn request(method: Method, host: &str, path: &str) -> Result<Request<()>, String> {
    let uri = Uri::builder().scheme("http").authority(host).path_and_query(path).build();
    let uri = uri.ok().filter(|_| path.starts_with('/') && !path.contains('#'));
    let uri = uri.ok_or_else(|| plain(&format!("{host:?} and {path:?} make no URL")))?;
    // It is not asked again over this connection, so the backend need not keep it.
    let request = Request::builder().method(method).uri(uri).header(CONNECTION, "close").body(());
    request.map_err(|error| plain(&error.to_string()))
}

/// Sends the request, and returns the status of the reply.
fn ask(
    addresses: &[SocketAddr],
    request: Request<()>,
    timeout: Duration,
    handle: &Handle,
) -> Result<u16, String> {
    let connected = Arc::new(AtomicBool::new(false));
    let connector = TcpConnector::default().chain(Noted(Arc::clone(&connected)));
    let agent = Agent::with_parts(config(timeout.min(A_DAY)), connector, Known(addresses.to_vec()));
    handle.begin(&agent);
    match agent.run(request) {
        Ok(reply) => Ok(take_leave(reply)),
        Err(error) => Err(failure(&error, connected.load(Relaxed), timeout)),
    }
}

/// Everything that a client for people does of its own accord is turned off, and each call has a connection of its
/// own: whether the next one could be opened is half of the question.
fn config(timeout: Duration) -> Config {
    Config::builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(USER_AGENT)
        .accept("")
        .accept_encoding("")
        // ureq's own resolver starts a thread when it has a time limit. This agent has another one.
        .timeout_global(Some(timeout))
        .timeout_recv_body(Some(BODY_PATIENCE))
        .max_response_header_size(HEAD)
        // With room for a byte too much: ureq takes a buffer that is full for the end of the connection.
        .input_buffer_size(HEAD + 1)
        .output_buffer_size(HEAD)
        .max_idle_connections(0)
        .build()
}

fn take_leave(reply: Response<Body>) -> u16 {
    let status = reply.status().as_u16();
    // However that ends, the status has arrived.
    let _ = io::copy(&mut reply.into_body().into_reader().take(BODY), &mut io::sink());
    status
}

/// Gives ureq the addresses that are known already.
#[derive(Debug)]
struct Known(Vec<SocketAddr>);

impl Resolver for Known {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty(); // has room for 16
        for address in self.0.iter().take(16) {
            addresses.push(*address);
        }
        Ok(addresses)
    }
}

/// Notes that there is a connection: ureq's errors do not tell whether it is the connection or the reply that took
/// too long.
#[derive(Debug)]
struct Noted(Arc<AtomicBool>);

impl<In: Transport> Connector<In> for Noted {
    type Out = In;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<In>, ureq::Error> {
        self.0.store(chained.is_some(), Relaxed);
        Ok(chained)
    }
}

fn failure(error: &ureq::Error, connected: bool, timeout: Duration) -> String {
    let awaited = if connected { "reply" } else { "connection" };
    match error {
        ureq::Error::Timeout(_) => too_long(awaited, timeout),
        ureq::Error::Io(error) if is_timeout(error) => too_long(awaited, timeout),
        ureq::Error::Io(error) => io_failure(error),
        ureq::Error::Protocol(error) => plain(&format!("no valid reply: {error}")),
        ureq::Error::LargeResponseHeader(_, most) => format!("the reply's head is longer than {most} bytes"),
        error => plain(&error.to_string()),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

fn too_long(awaited: &str, timeout: Duration) -> String {
    format!("no {awaited} within {timeout:?}")
}

fn io_failure(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "connection closed before a reply".to_owned(),
        // Without the system's number, in the same words everywhere.
        kind @ (ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::BrokenPipe) => kind.to_string(),
        _ => plain(&error.to_string()),
    }
}

/// One line that is fit for a log and a terminal, whoever wrote it.
fn plain(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars().take(LONGEST_REASON) {
        match character {
            ' '..='~' => line.push(character),
            _ => line.extend(character.escape_debug()),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::mpsc::{self, Receiver};
    use std::thread::{self, JoinHandle};

    /// For what is there at once, or never.
    const AMPLE: Duration = Duration::from_secs(20);
    /// For what never comes.
    const BRIEF: Duration = Duration::from_millis(250);

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A port that is taken, so that no other test gets it, but where nobody listens.
    fn nobody() -> (socket2::Socket, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    /// Reads to the end of a request's head.
    fn read_head(mut stream: &TcpStream) -> String {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Answers one request, and then waits until it is left. Gives back the request's head.
    fn backend(reply: impl AsRef<[u8]> + Send + 'static) -> (SocketAddr, JoinHandle<String>) {
        let (listener, address) = listener();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head = read_head(&stream);
            let _ = stream.write_all(reply.as_ref()); // whoever asked may have heard enough
            stream.shutdown(std::net::Shutdown::Write).unwrap_or_default();
            let _ = stream.read_to_end(&mut Vec::new());
            head
        });
        (address, thread)
    }

    fn get(statuses: &str) -> Kind {
        Kind::Get { path: "/health?deep=1".to_owned(), statuses: statuses.parse().unwrap() }
    }

    fn any_reply() -> Kind {
        Kind::AnyReply { path: "/".to_owned() }
    }

    fn ask(addresses: &[SocketAddr], kind: &Kind, timeout: Duration) -> Result<String, String> {
        probe(addresses, "backend.example:8080", kind, timeout, &Handle::default())
    }

    /// What one GET makes of this reply.
    fn verdict(reply: impl AsRef<[u8]> + Send + 'static) -> Result<String, String> {
        let (address, thread) = backend(reply);
        let verdict = ask(&[address], &get("200-399"), AMPLE);
        thread.join().unwrap();
        verdict
    }

    fn seen(what: &str) -> Result<String, String> {
        Ok(what.to_owned())
    }

    fn failed(why: &str) -> Result<String, String> {
        Err(why.to_owned())
    }

    #[test]
    fn a_connection_is_enough_and_is_closed_again() {
        let (listener, address) = listener();
        assert_eq!(ask(&[address], &Kind::Connect, AMPLE), seen("connected"));
        let mut bytes = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"");
    }

    #[test]
    fn where_nobody_listens_connections_are_refused() {
        let (_taken, address) = nobody();
        for kind in [Kind::Connect, get("200"), any_reply()] {
            assert_eq!(ask(&[address], &kind, AMPLE), failed("connection refused"), "{kind:?}");
            assert_eq!(ask(&[address, address], &kind, AMPLE), failed("connection refused"), "{kind:?}");
        }
        assert_eq!(ask(&[], &Kind::Connect, AMPLE), failed("it has no address"));
        assert!(ask(&[], &get("200"), AMPLE).is_err());
    }

    #[test]
    fn each_address_is_tried() {
        let (_taken, closed) = nobody();
        let (_listener, address) = listener();
        assert_eq!(ask(&[closed, address], &Kind::Connect, AMPLE), seen("connected"));
        let (address, thread) = backend("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(ask(&[closed, address], &get("204"), AMPLE), seen("status 204"));
        thread.join().unwrap();
    }

    #[test]
    fn a_get_is_what_a_get_should_be() {
        let (address, thread) = backend("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(ask(&[address], &get("200"), AMPLE), seen("status 200"));
        let head = thread.join().unwrap().to_ascii_lowercase();
        let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
        assert_eq!(lines.remove(0), "get /health?deep=1 http/1.1");
        lines.sort_unstable();
        let expected = ["connection: close", "host: backend.example:8080", "user-agent: turnwheel-health"];
        assert_eq!(lines, expected);
    }

    #[test]
    fn silence_is_no_reply_and_bounded_by_the_whole_time() {
        let (_listener, address) = listener(); // the system accepts, and nobody reads
        for kind in [get("200"), any_reply()] {
            assert_eq!(ask(&[address], &kind, BRIEF), failed("no reply within 250ms"), "{kind:?}");
        }
        assert_eq!(ask(&[address], &get("200"), Duration::ZERO), failed("no connection within 0ns"));
    }

    #[test]
    fn a_reply_that_comes_in_drops_has_no_more_time_than_any_other() {
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
        assert_eq!(ask(&[address], &get("200"), BRIEF), failed("no reply within 250ms"));
        drop(stop);
        thread.join().unwrap();
    }

    /// A listener whose queue is full: the system answers nobody who would like to connect.
    #[cfg(target_os = "linux")]
    fn full() -> (socket2::Socket, SocketAddr, Vec<TcpStream>) {
        let (socket, address) = nobody();
        socket.listen(0).unwrap();
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queue = (0..16).map_while(connect).collect();
        (socket, address, queue)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_address_that_says_nothing_takes_its_share_of_the_time_only() {
        let (_socket, silent, _queue) = full();
        for kind in [Kind::Connect, get("200"), any_reply()] {
            assert_eq!(ask(&[silent], &kind, BRIEF), failed("no connection within 250ms"), "{kind:?}");
        }
        let (_listener, address) = listener();
        let timeout = Duration::from_secs(1);
        let begin = Instant::now();
        assert_eq!(ask(&[silent, address], &Kind::Connect, timeout), seen("connected"));
        assert!(begin.elapsed() < timeout, "the first has taken all of it");
        let (address, thread) = backend("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(ask(&[silent, address], &any_reply(), timeout), seen("status 200"));
        thread.join().unwrap();
    }

    #[test]
    fn statuses_are_right_or_wrong() {
        let expected = failed("status 503, expected 200-399");
        assert_eq!(verdict("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"), expected);
        assert_eq!(verdict("HTTP/1.0 200\r\n\r\nuntil the end"), seen("status 200"));
        assert_eq!(verdict("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), seen("status 200"));
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let (elsewhere, other) = listener();
        elsewhere.set_nonblocking(true).unwrap();
        let head = format!("HTTP/1.1 302 Found\r\nlocation: http://{other}/\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(verdict(head), seen("status 302"));
        assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn any_reply_is_one_and_no_body_is_waited_for() {
        let (address, thread) = backend("HTTP/1.1 500 Oops\r\ncontent-length: 5\r\n\r\n");
        assert_eq!(ask(&[address], &any_reply(), AMPLE), seen("status 500"));
        assert!(thread.join().unwrap().starts_with("HEAD / HTTP/1.1\r\n"));
    }

    #[test]
    fn the_verdict_does_not_wait_for_a_body() {
        let (listener, address) = listener();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nbegun").unwrap();
            let _ = stream.read_to_end(&mut Vec::new()); // until it is left
        });
        let begin = Instant::now();
        assert_eq!(ask(&[address], &get("200"), AMPLE), seen("status 200"));
        assert!(begin.elapsed() < AMPLE / 2);
        thread.join().unwrap();
    }

    #[test]
    fn a_backend_that_sends_its_body_a_little_later_is_not_reset() {
        let (listener, address) = listener();
        let (verdicts, verdict) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_head(&stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").unwrap();
            let early = verdict.recv_timeout(Duration::from_millis(5));
            stream.write_all(b"ok").unwrap();
            (early, stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind()))
        });
        verdicts.send(ask(&[address], &get("200"), AMPLE)).unwrap_or_default();
        assert_eq!(thread.join().unwrap(), (Err(mpsc::RecvTimeoutError::Timeout), Ok(0)));
    }

    #[test]
    fn what_is_no_reply_is_told_in_one_plain_line() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(2 * HEAD)).into_bytes();
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
            let why = verdict(reply).unwrap_err();
            assert!(why.contains(words), "{why} for {shown:.200}");
            assert!(why.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{why:?} for {shown:.200}");
        }
    }

    #[test]
    fn a_line_is_plain_and_not_too_long() {
        assert_eq!(plain("as it is: \"a\\b\""), "as it is: \"a\\b\"");
        assert_eq!(plain("a\r\nb\u{1b}[2J\u{202e}\u{9b}é"), "a\\r\\nb\\u{1b}[2J\\u{202e}\\u{9b}é");
        assert_eq!(plain(&"x".repeat(9999)).len(), LONGEST_REASON);
    }

    #[test]
    fn what_cannot_be_asked_says_so() {
        for path in ["", "health", "/a b", "/#top", "/\n", "@evil/"] {
            let kind = Kind::AnyReply { path: path.to_owned() };
            let why = ask(&[], &kind, AMPLE).unwrap_err();
            assert!(why.ends_with("make no URL"), "{path:?}: {why}");
        }
    }

    /// A probe under way, its request read by a backend that says nothing.
    fn under_way(handle: &Handle) -> (Receiver<Result<String, String>>, TcpStream) {
        let (listener, address) = listener();
        let (verdicts, received) = mpsc::channel();
        let handle = handle.clone();
        thread::spawn(move || verdicts.send(probe(&[address], "a:1", &get("200"), AMPLE, &handle)));
        let (stream, _) = listener.accept().unwrap();
        assert!(read_head(&stream).starts_with("GET /health"));
        (received, stream)
    }

    #[test]
    fn a_probe_can_be_ended_from_another_thread() {
        let handle = Handle::default();
        let (verdict, _stream) = under_way(&handle);
        assert!(!handle.has_ended());
        handle.end();
        assert_eq!(verdict.recv_timeout(AMPLE / 2), Ok(failed(ENDED)));
        assert!(handle.has_ended());
    }

    #[test]
    fn who_has_been_ended_asks_nobody_any_more() {
        let handle = Handle::default();
        handle.end();
        let (listener, address) = listener();
        listener.set_nonblocking(true).unwrap();
        for kind in [Kind::Connect, get("200"), any_reply()] {
            assert_eq!(probe(&[address], "a:1", &kind, AMPLE, &handle), failed(ENDED));
        }
        // Neither does one that comes between the first look and the call.
        let request = request(Method::GET, "a:1", "/").unwrap();
        assert!(super::ask(&[address], request, AMPLE, &handle).is_err());
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

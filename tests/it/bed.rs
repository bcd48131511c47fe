//! The test bed: the balancer as a child process, and a client that sends and reads raw bytes. The
//! backend that records them is in `backend.rs`. An HTTP library on either side would hide the bytes
//! that these tests are about.

use std::fmt::Debug;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The longest time that an expected event may take. Generous, because the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Returns the name of the edge under test: `parked`, or the value of `TURNWHEEL_TEST_EDGE`. The tests hold
/// for both edges; a test of behaviour that differs between them calls this.
pub fn edge() -> String {
    std::env::var("TURNWHEEL_TEST_EDGE").unwrap_or_else(|_| "parked".into())
}

/// Returns whether the edge under test is `tiny-http`, which has tiny_http's limits.
pub fn is_tiny() -> bool {
    edge() == "tiny-http"
}

/// Waits until `is_so` returns true. Fails after [`DEADLINE`], naming `what`.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "this has not happened in {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// An address that refuses connections until this is dropped: its socket is bound and does not listen. The
/// kernel does not assign the port to another socket; a program that binds it by its number may listen there.
pub struct DeadPort {
    _socket: socket2::Socket,
    pub addr: SocketAddr,
}

/// Reserves an address that refuses connections, on a port chosen by the kernel.
pub fn dead_port() -> DeadPort {
    dead_port_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

/// Reserves this address, on which no socket may listen, and refuses connections to it.
pub fn dead_port_at(addr: SocketAddr) -> DeadPort {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&addr.into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    DeadPort { _socket: socket, addr }
}

/// A running process of the program under test. It is killed and waited for on drop.
pub struct Balancer {
    child: Child,
    /// The address on which it listens.
    pub addr: SocketAddr,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Balancer {
    /// Starts `turnwheel serve` on a port chosen by the kernel, with these backends and the edge under test.
    pub fn serve(backends: &[SocketAddr], flags: &[&str]) -> Self {
        let mut args = vec!["serve".to_string(), "--listen=127.0.0.1:0".into()];
        if !flags.iter().any(|flag| flag.starts_with("--edge=")) {
            args.push(format!("--edge={}", edge()));
        }
        args.extend(backends.iter().map(|addr| format!("--backend=http://{addr}")));
        args.extend(flags.iter().map(ToString::to_string));
        Self::start(&args)
    }

    /// Starts `turnwheel` with exactly these arguments, and returns once it has printed that the balancer listens.
    pub fn start<S: AsRef<std::ffi::OsStr> + Debug>(args: &[S]) -> Self {
        Self::spawn(program().args(args), "Load balancer is listening on ")
    }

    /// Starts `turnwheel backend` on a port chosen by the kernel.
    pub fn demo_backend(flags: &[&str]) -> Self {
        Self::spawn(
            program().args(["backend", "--listen=127.0.0.1:0"]).args(flags),
            "Backend is listening on ",
        )
    }

    /// Starts the command, and returns once it has printed `mark` followed by an address.
    pub fn spawn(command: &mut Command, mark: &str) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut balancer = Balancer { child, addr, stdout, stderr };
        eventually(&format!("{command:?} listens"), || {
            let ended = balancer.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}\n{}", balancer.stderr());
            listening(&balancer.stdout(), mark).map(|addr| balancer.addr = addr).is_some()
        });
        balancer
    }

    /// Returns what it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// Returns what it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Returns the number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the process a signal, such as `libc::SIGTERM`.
    pub fn signal(&self, signal: i32) {
        // SAFETY: `kill` accepts any numbers. The number still belongs to the child, because it is waited for
        // only on drop or once `wait_exit` has seen it end.
        let sent = unsafe { libc::kill(self.pid() as i32, signal) };
        assert_eq!(sent, 0, "signal {signal} was not sent: {}", io::Error::last_os_error());
    }

    /// Waits until the process has ended, and returns its exit code.
    #[track_caller]
    pub fn wait_exit(&mut self, within: Duration) -> i32 {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("a signal ended it instead of an exit");
            }
            assert!(Instant::now() < deadline, "the process still runs after {within:?}\n{}", self.stderr());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Opens a connection to it.
    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Sends a `GET` over a new connection, and returns the reply.
    pub fn get(&self, path: &str) -> Reply {
        get(self.addr, path)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails only if the process has ended already
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the balancer's standard error:\n{}", self.stderr());
        }
    }
}

/// Collects a child's output, line by line, on a thread.
fn collect(output: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let collected = Arc::clone(&text);
    thread::spawn(move || {
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            collected.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    text
}

/// Returns a command that runs the program under test, without arguments yet.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnwheel"));
    command.env_remove("RUST_LOG");
    command
}

/// Returns the address that follows `mark` on a line of `stdout`, or `None` as long as there is no such line. The
/// demo prints `:PORT`, which stands for a port of 127.0.0.1.
pub fn listening(stdout: &str, mark: &str) -> Option<SocketAddr> {
    let (_, rest) = stdout.split_once(mark)?;
    let (addr, _) = rest.split_once('\n')?;
    let addr = if addr.starts_with(':') { format!("127.0.0.1{addr}") } else { addr.to_string() };
    Some(addr.parse().unwrap())
}

/// Sends a `GET` over a new connection, and returns the reply.
pub fn get(addr: SocketAddr, path: &str) -> Reply {
    Client::connect(addr).request(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
}

/// A reply as received. Header names are compared without regard to case.
#[derive(Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// The status line and the header lines, with the blank line after them.
    pub raw_head: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// Returns the value of a header, or `None` if it is absent. Fails if it occurs more than once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} occurs more than once:\n{}", self.raw_head);
        all.first().copied()
    }

    /// Returns all values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        all(&self.headers, name)
    }

    /// Returns the body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Returns the names and values of the header lines of a head.
pub fn header_lines(head: &str) -> Vec<(String, String)> {
    let lines = head.trim_end_matches("\r\n").split("\r\n").skip(1);
    let split =
        lines.map(|line| line.split_once(':').unwrap_or_else(|| panic!("not a header line: {line:?}")));
    split.map(|(name, value)| (name.to_string(), value.trim().to_string())).collect()
}

/// Returns all values of a header, in order.
pub fn all<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
}

/// The way in which the other side ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a FIN.
    Finished,
    /// With a reset.
    Reset,
}

/// A client's connection.
pub struct Client {
    pub stream: TcpStream,
    /// Bytes that have been received and not yet consumed.
    ahead: Vec<u8>,
}

impl Client {
    /// Opens a connection to this address.
    pub fn connect(addr: SocketAddr) -> Self {
        Client::over(TcpStream::connect_timeout(&addr, DEADLINE).unwrap())
    }

    /// Uses a connection that is already open.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, ahead: Vec::new() }
    }

    /// Sends these bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request and reads its whole reply. Not for HEAD, whose reply has no body.
    #[track_caller]
    pub fn request(&mut self, bytes: impl AsRef<[u8]>) -> Reply {
        self.send(bytes);
        self.read_reply()
    }

    /// Reads a whole reply. Not for HEAD, whose reply has no body.
    #[track_caller]
    pub fn read_reply(&mut self) -> Reply {
        self.try_read_reply().unwrap()
    }

    /// Reads a whole reply, or returns the connection's error: `UnexpectedEof` if a FIN cut the reply short.
    pub fn try_read_reply(&mut self) -> io::Result<Reply> {
        let mut reply = self.read_head()?;
        if reply.status < 200 || [204, 304].contains(&reply.status) {
            return Ok(reply);
        }
        reply.body = if reply.header("Transfer-Encoding") == Some("chunked") {
            let mut body = Vec::new();
            while let Some(chunk) = self.read_chunk()? {
                body.extend(chunk);
            }
            body
        } else if let Some(length) = reply.header("Content-Length") {
            self.take(length.parse().unwrap())?
        } else {
            let (body, ending) = self.read_to_end_of_connection();
            if ending == Ending::Reset {
                return Err(ErrorKind::ConnectionReset.into());
            }
            body
        };
        Ok(reply)
    }

    /// Reads the head of a reply, to its blank line. A reply to HEAD and a 1xx reply have no more than that.
    pub fn read_head(&mut self) -> io::Result<Reply> {
        let raw_head = String::from_utf8(self.take_through(b"\r\n\r\n")?).unwrap();
        let status = raw_head.split_once(' ').and_then(|(_, rest)| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a reply: {raw_head:?}"));
        let headers = header_lines(&raw_head);
        Ok(Reply { status, raw_head, headers, body: Vec::new() })
    }

    /// Reads one chunk, or returns `None` for the last one, which is empty.
    pub fn read_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = String::from_utf8(self.take_through(b"\r\n")?).unwrap();
        let size = usize::from_str_radix(line.trim_end(), 16)
            .unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
        let mut chunk = self.take(size + 2)?;
        assert_eq!(chunk.split_off(size), b"\r\n", "a chunk ends with CRLF");
        Ok((size > 0).then_some(chunk))
    }

    /// Reads to the end of the connection, and returns the bytes and how it ended. Fails if it does not end.
    #[track_caller]
    pub fn read_to_end_of_connection(&mut self) -> (Vec<u8>, Ending) {
        let (bytes, ending) = self.try_read_to_end_of_connection();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1000)]);
        let ending = ending.unwrap_or_else(|error| panic!("the connection has not ended: {error}\n{text}"));
        (bytes, ending)
    }

    /// Reads to the end of the connection, and returns the bytes read, with an error if it has not ended.
    pub fn try_read_to_end_of_connection(&mut self) -> (Vec<u8>, io::Result<Ending>) {
        let mut bytes = std::mem::take(&mut self.ahead);
        let ending = match self.stream.read_to_end(&mut bytes) {
            Ok(_) => Ok(Ending::Finished),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Ending::Reset),
            Err(error) => Err(error),
        };
        (bytes, ending)
    }

    /// Returns whether the connection ends within this time, by a FIN or a reset. Bytes received before are dropped.
    pub fn is_closed_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut [0; 4096]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if is_for_now(&error) => {}
                Err(_) => return true,
            }
        }
    }

    /// Returns whether bytes have been received that belong to no reply read so far.
    pub fn has_unread(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Reads exactly `length` bytes.
    pub fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            self.fill()?;
        }
        Ok(self.ahead.drain(..length).collect())
    }

    fn take_through(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.windows(mark.len()).position(|bytes| bytes == mark) {
                return self.take(at + mark.len());
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; 64 << 10];
        // In a process that was suspended, with the whole machine for example, a read with a timeout is interrupted.
        let read = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        match read {
            0 => Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                format!("after {} unread bytes", self.ahead.len()),
            )),
            n => {
                self.ahead.extend_from_slice(&piece[..n]);
                Ok(())
            }
        }
    }
}

/// Returns whether the error says only that no byte has been received yet.
fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

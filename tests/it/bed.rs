//! The test bed: the balancer as a child process, and a client that sends and reads raw bytes. Its
//! counterpart, a backend that records them, is in `backend.rs`. A library on either side would hide
//! what these tests are about.

use std::fmt::Debug;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that has to happen at all. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The edge under test. All tests hold for each of them: `TURNWHEEL_TEST_EDGE=tiny-http cargo test`.
/// Where one edge differs, the test asks for it by this.
pub fn edge() -> String {
    std::env::var("TURNWHEEL_TEST_EDGE").unwrap_or_else(|_| "parked".into())
}

/// Is it the one that has tiny_http's limits?
pub fn is_tiny() -> bool {
    edge() == "tiny-http"
}

/// Waits until it is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "this has not happened in {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// An address that refuses connections for as long as this lives: bound, but nobody listens. The
/// kernel gives it to nobody else; a program that asks for it by its number may listen there.
pub struct DeadPort {
    _socket: socket2::Socket,
    pub addr: SocketAddr,
}

/// Reserves an address that refuses connections.
pub fn dead_port() -> DeadPort {
    dead_port_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

/// The same for an address that nobody listens on any more.
pub fn dead_port_at(addr: SocketAddr) -> DeadPort {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&addr.into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    DeadPort { _socket: socket, addr }
}

/// The program under test, running. It is killed and waited for on drop.
pub struct Balancer {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Balancer {
    /// `turnwheel serve` on a port of the kernel's choice, in front of these backends.
    pub fn serve(backends: &[SocketAddr], flags: &[&str]) -> Self {
        let mut args = vec!["serve".to_string(), "--listen=127.0.0.1:0".into()];
        if !flags.iter().any(|flag| flag.starts_with("--edge=")) {
            args.push(format!("--edge={}", edge()));
        }
        args.extend(backends.iter().map(|addr| format!("--backend=http://{addr}")));
        args.extend(flags.iter().map(ToString::to_string));
        Self::start(&args)
    }

    /// `turnwheel` with exactly these arguments, once it says that the balancer listens.
    pub fn start<S: AsRef<std::ffi::OsStr> + Debug>(args: &[S]) -> Self {
        Self::spawn(program().args(args), "Load balancer is listening on ")
    }

    /// `turnwheel backend` on a port of the kernel's choice.
    pub fn demo_backend(flags: &[&str]) -> Self {
        Self::spawn(
            program().args(["backend", "--listen=127.0.0.1:0"]).args(flags),
            "Backend is listening on ",
        )
    }

    /// Runs the command until it says this, and then an address.
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

    /// What it has written to standard output.
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// What it has written to standard error.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, `libc::SIGTERM` say.
    pub fn signal(&self, signal: i32) {
        // SAFETY: `kill` takes any numbers, and the child is not waited for before `self` is gone or
        // `wait_exit` has seen it end, so the number is still its own.
        let sent = unsafe { libc::kill(self.pid() as i32, signal) };
        assert_eq!(sent, 0, "no signal {signal}: {}", io::Error::last_os_error());
    }

    /// Its exit code, once it has ended.
    #[track_caller]
    pub fn wait_exit(&mut self, within: Duration) -> i32 {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("no signal ends it");
            }
            assert!(Instant::now() < deadline, "it still runs after {within:?}\n{}", self.stderr());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// A new connection to it.
    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// One `GET` over a connection of its own.
    pub fn get(&self, path: &str) -> Reply {
        get(self.addr, path)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails only if it has ended already
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the balancer's standard error:\n{}", self.stderr());
        }
    }
}

/// Collects a child's output as it comes.
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

/// The program under test, to be given arguments.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnwheel"));
    command.env_remove("RUST_LOG");
    command
}

/// The address in `Load balancer is listening on 127.0.0.1:PORT`, or `:PORT` as the demo has it.
pub fn listening(stdout: &str, mark: &str) -> Option<SocketAddr> {
    let (_, rest) = stdout.split_once(mark)?;
    let (addr, _) = rest.split_once('\n')?;
    let addr = if addr.starts_with(':') { format!("127.0.0.1{addr}") } else { addr.to_string() };
    Some(addr.parse().unwrap())
}

/// One `GET` over a connection of its own.
pub fn get(addr: SocketAddr, path: &str) -> Reply {
    Client::connect(addr).request(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
}

/// A reply as it came. Names of headers are compared without regard to case.
#[derive(Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// Status line and header lines, with the blank line.
    pub raw_head: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header that stands there at most once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} stands there more than once:\n{}", self.raw_head);
        all.first().copied()
    }

    /// All values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        all(&self.headers, name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The header lines of a head.
pub fn header_lines(head: &str) -> Vec<(String, String)> {
    let lines = head.trim_end_matches("\r\n").split("\r\n").skip(1);
    let split = lines.map(|line| line.split_once(':').unwrap_or_else(|| panic!("no header line: {line:?}")));
    split.map(|(name, value)| (name.to_string(), value.trim().to_string())).collect()
}

/// All values of a header, in order.
pub fn all<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
}

/// How a connection ended, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The other side said that it is done.
    Finished,
    /// It broke off.
    Reset,
}

/// A client's connection.
pub struct Client {
    pub stream: TcpStream,
    /// Bytes that have come and have not been looked at.
    ahead: Vec<u8>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        Client::over(TcpStream::connect_timeout(&addr, DEADLINE).unwrap())
    }

    /// One whose connection has been made already.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, ahead: Vec::new() }
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request and reads its reply; not for HEAD.
    #[track_caller]
    pub fn request(&mut self, bytes: impl AsRef<[u8]>) -> Reply {
        self.send(bytes);
        self.read_reply()
    }

    /// Reads a whole reply; not for HEAD.
    #[track_caller]
    pub fn read_reply(&mut self) -> Reply {
        self.try_read_reply().unwrap()
    }

    /// The same where it may fail: a reply cut short is an `UnexpectedEof`, or whatever the connection says.
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

    /// Reads a reply as far as its blank line: all there is of a reply to HEAD, or of a 1xx one.
    pub fn read_head(&mut self) -> io::Result<Reply> {
        let raw_head = String::from_utf8(self.take_through(b"\r\n\r\n")?).unwrap();
        let status = raw_head.split_once(' ').and_then(|(_, rest)| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no reply: {raw_head:?}"));
        let headers = header_lines(&raw_head);
        Ok(Reply { status, raw_head, headers, body: Vec::new() })
    }

    /// Reads one chunk, or `None` when it is the last one.
    pub fn read_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = String::from_utf8(self.take_through(b"\r\n")?).unwrap();
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("no size: {line:?}"));
        let mut chunk = self.take(size + 2)?;
        assert_eq!(chunk.split_off(size), b"\r\n", "a chunk ends with its line");
        Ok((size > 0).then_some(chunk))
    }

    /// Everything up to the end of the connection, which has to come.
    #[track_caller]
    pub fn read_to_end_of_connection(&mut self) -> (Vec<u8>, Ending) {
        let (bytes, ending) = self.try_read_to_end_of_connection();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1000)]);
        let ending = ending.unwrap_or_else(|error| panic!("the connection has not ended: {error}\n{text}"));
        (bytes, ending)
    }

    /// The same, where it may not end.
    pub fn try_read_to_end_of_connection(&mut self) -> (Vec<u8>, io::Result<Ending>) {
        let mut bytes = std::mem::take(&mut self.ahead);
        let ending = match self.stream.read_to_end(&mut bytes) {
            Ok(_) => Ok(Ending::Finished),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Ending::Reset),
            Err(error) => Err(error),
        };
        (bytes, ending)
    }

    /// Does the connection end within this time, in whatever way? What comes before is dropped.
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

    /// Have bytes come that are part of nothing that has been read?
    pub fn has_unread(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// The next so many bytes.
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
        // Whoever is stopped for a moment, with all of this machine say, finds a read with a timeout interrupted.
        let read = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        match read {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, format!("after {:?}", self.ahead.len()))),
            n => {
                self.ahead.extend_from_slice(&piece[..n]);
                Ok(())
            }
        }
    }
}

/// Is it only that nothing has come yet?
fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

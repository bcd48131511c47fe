//! turnwheel itself as child processes, and one request at a time to it.

use crate::DEADLINE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Where the balancer listens if nobody minds where.
const ANYWHERE: &str = "127.0.0.1:0";

/// One of turnwheel's commands, running. It is killed and waited for on drop.
pub struct Program {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

/// A balancer with an admin listener.
pub struct Balancer {
    program: Program,
    /// Where it takes requests.
    pub listen: SocketAddr,
    /// Where its page is.
    pub admin: SocketAddr,
    /// What its backends are called.
    pub backends: Vec<String>,
}

impl Balancer {
    /// `turnwheel demo` with two backends, all of it on ports of the kernel's choice.
    pub fn demo() -> Self {
        let program = Program::start(
            Command::new(turnwheel()).args(["demo", "--listen", ANYWHERE, "--admin", ANYWHERE]).args([
                "--backend-port",
                "0",
                "--backend-port",
                "0",
            ]),
            "Admin is listening on ",
        );
        let backends =
            program.addresses("Backend is listening on ").into_iter().map(|address| address.to_string());
        Balancer { backends: backends.collect(), ..Self::at_work(program) }
    }

    /// `turnwheel serve` in front of these backends. It learns quickly who is there.
    pub fn serve(backends: &[SocketAddr], flags: &[&str]) -> Self {
        Self::serve_at([ANYWHERE, ANYWHERE], backends, flags)
    }

    /// The same with a listener and an admin listener where they are wanted.
    pub fn serve_at([listen, admin]: [&str; 2], backends: &[SocketAddr], flags: &[&str]) -> Self {
        let mut command = Command::new(turnwheel());
        command.args(["serve", "--listen", listen, "--admin", admin]);
        command.args(["--health-interval", "200ms", "--fail-timeout", "500ms"]).args(flags);
        command.args(backends.iter().map(|address| format!("--backend=http://{address}")));
        let program = Program::start(&mut command, "Admin is listening on ");
        let backends = backends.iter().map(SocketAddr::to_string).collect();
        Balancer { backends, ..Self::at_work(program) }
    }

    fn at_work(program: Program) -> Self {
        let [listen] = program.addresses("Load balancer is listening on ")[..] else {
            panic!("not one listener")
        };
        let [admin] = program.addresses("Admin is listening on ")[..] else {
            panic!("not one admin listener")
        };
        Balancer { program, listen, admin, backends: Vec::new() }
    }

    /// Sends it these many requests, one after another. Each must get this status.
    #[track_caller]
    pub fn gets(&self, count: usize, status: u16) {
        for number in 1..=count {
            let head = get(self.listen, "/").0;
            let expected = format!("HTTP/1.1 {status} ");
            assert!(head.starts_with(&expected), "request {number} of {count} got no {status}:\n{head}");
        }
    }

    /// Asks it to end, and waits until it has ended.
    pub fn stop(mut self) {
        let pid = Pid::from_raw(self.program.child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.program.wait();
    }
}

impl Program {
    /// `turnwheel backend` at this address.
    pub fn backend(address: SocketAddr) -> Self {
        let mut command = Command::new(turnwheel());
        Self::start(command.args(["backend", "--listen", &address.to_string()]), "Backend is listening on ")
    }

    /// Runs the command until it says this, and then an address.
    fn start(command: &mut Command, mark: &str) -> Self {
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let mut program = Program { child, stdout, stderr };
        let until = Instant::now() + DEADLINE;
        while program.addresses(mark).is_empty() {
            let ended = program.child.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} has ended: {ended:?}");
            assert!(Instant::now() < until, "{command:?} has not said \"{mark}\" in {DEADLINE:?}");
            thread::sleep(Duration::from_millis(2));
        }
        program
    }

    /// The addresses that it has said after this. The demo says `:8081`, for 127.0.0.1.
    fn addresses(&self, mark: &str) -> Vec<SocketAddr> {
        let stdout = self.stdout.lock().unwrap();
        let lines = stdout.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let said = lines.filter_map(|line| line.strip_prefix(mark));
        let whole =
            said.map(|said| if said.starts_with(':') { format!("127.0.0.1{said}") } else { said.into() });
        whole.map(|address| address.parse().unwrap()).collect()
    }

    /// Ends it without a warning (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    fn wait(&mut self) {
        let until = Instant::now() + DEADLINE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "it has been asked to end, and still runs after {DEADLINE:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails only if it has ended already
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("turnwheel's standard error:\n{}", self.stderr.lock().unwrap());
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

/// The program under test: what `TURNWHEEL` names, or what the workspace above was built to.
fn turnwheel() -> PathBuf {
    if let Some(program) = std::env::var_os("TURNWHEEL") {
        return program.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let program = target.join("release/turnwheel");
    assert!(program.is_file(), "{} is not there; `make test-browser` builds it", program.display());
    program
}

/// One `GET` over a connection of its own: the head of the reply, and its body.
pub fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let reply = String::from_utf8_lossy(&reply);
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {reply}"));
    (head.to_owned(), body.to_owned())
}

/// An address that refuses connections for as long as this lives: bound, but nobody listens. The kernel gives
/// it to nobody else; a program that asks for it by its number may listen there, and again after its end.
pub struct Reserved {
    _socket: socket2::Socket,
    pub address: SocketAddr,
}

impl Reserved {
    pub fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Reserved { _socket: socket, address }
    }
}

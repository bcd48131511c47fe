//! turnwheel as child processes, and requests to it.

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

/// An address with a port of the kernel's choice.
const ANY_PORT: &str = "127.0.0.1:0";

/// A running turnwheel command. It is killed and waited for on drop.
pub struct Process {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

/// A balancer with an admin listener.
pub struct Balancer {
    process: Process,
    /// The address for requests.
    pub listen: SocketAddr,
    /// The address of the live page.
    pub admin: SocketAddr,
    /// The names of the backends.
    pub backends: Vec<String>,
}

impl Balancer {
    /// Starts `turnwheel demo` with two backends, on ports of the kernel's choice.
    pub fn demo() -> Self {
        let process = Process::start(
            Command::new(turnwheel()).args(["demo", "--listen", ANY_PORT, "--admin", ANY_PORT]).args([
                "--backend-port",
                "0",
                "--backend-port",
                "0",
            ]),
            "Admin is listening on ",
        );
        let backends =
            process.addresses("Backend is listening on ").into_iter().map(|address| address.to_string());
        Balancer { backends: backends.collect(), ..Self::started(process) }
    }

    /// Starts `turnwheel serve` in front of these backends, with short intervals for health checks.
    pub fn serve(backends: &[SocketAddr], flags: &[&str]) -> Self {
        Self::serve_at([ANY_PORT, ANY_PORT], backends, flags)
    }

    /// Starts `turnwheel serve` with these addresses for the listener and the admin listener.
    pub fn serve_at([listen, admin]: [&str; 2], backends: &[SocketAddr], flags: &[&str]) -> Self {
        let mut command = Command::new(turnwheel());
        command.args(["serve", "--listen", listen, "--admin", admin]);
        command.args(["--health-interval", "200ms", "--fail-timeout", "500ms"]).args(flags);
        command.args(backends.iter().map(|address| format!("--backend=http://{address}")));
        let process = Process::start(&mut command, "Admin is listening on ");
        let backends = backends.iter().map(SocketAddr::to_string).collect();
        Balancer { backends, ..Self::started(process) }
    }

    fn started(process: Process) -> Self {
        let [listen] = process.addresses("Load balancer is listening on ")[..] else {
            panic!("not one listener")
        };
        let [admin] = process.addresses("Admin is listening on ")[..] else {
            panic!("not one admin listener")
        };
        Balancer { process, listen, admin, backends: Vec::new() }
    }

    /// Sends `count` requests, one after another. Each must get this status.
    #[track_caller]
    pub fn gets(&self, count: usize, status: u16) {
        for number in 1..=count {
            let head = get(self.listen, "/").0;
            let expected = format!("HTTP/1.1 {status} ");
            assert!(head.starts_with(&expected), "request {number} of {count} got no {status}:\n{head}");
        }
    }

    /// Stops the balancer (SIGTERM) and waits until it has exited.
    pub fn stop(mut self) {
        let pid = Pid::from_raw(self.process.child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.process.wait();
    }
}

impl Process {
    /// Starts `turnwheel backend` at this address.
    pub fn backend(address: SocketAddr) -> Self {
        let mut command = Command::new(turnwheel());
        Self::start(command.args(["backend", "--listen", &address.to_string()]), "Backend is listening on ")
    }

    /// Starts a command, and waits until it prints `prefix` followed by an address.
    fn start(command: &mut Command, prefix: &str) -> Self {
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let mut process = Process { child, stdout, stderr };
        let until = Instant::now() + DEADLINE;
        while process.addresses(prefix).is_empty() {
            let ended = process.child.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} has exited: {ended:?}");
            assert!(Instant::now() < until, "{command:?} has not printed \"{prefix}\" within {DEADLINE:?}");
            thread::sleep(Duration::from_millis(2));
        }
        process
    }

    /// Returns the addresses printed after `prefix`. The demo prints `:8081` for 127.0.0.1:8081.
    fn addresses(&self, prefix: &str) -> Vec<SocketAddr> {
        let stdout = self.stdout.lock().unwrap();
        let lines = stdout.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let said = lines.filter_map(|line| line.strip_prefix(prefix));
        let whole =
            said.map(|said| if said.starts_with(':') { format!("127.0.0.1{said}") } else { said.into() });
        whole.map(|address| address.parse().unwrap()).collect()
    }

    /// Kills the process (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    fn wait(&mut self) {
        let until = Instant::now() + DEADLINE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "still running {DEADLINE:?} after the signal");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails only if it has exited already
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("turnwheel's standard error:\n{}", self.stderr.lock().unwrap());
        }
    }
}

/// Collects a child's output as it is written.
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

/// Returns the program under test: the one that `TURNWHEEL` names, or the release build of the workspace above.
fn turnwheel() -> PathBuf {
    if let Some(program) = std::env::var_os("TURNWHEEL") {
        return program.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let program = target.join("release/turnwheel");
    assert!(program.is_file(), "{} does not exist; `make test-browser` builds it", program.display());
    program
}

/// Sends a `GET` on a new connection, and returns the head and the body of the reply.
pub fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let reply = String::from_utf8_lossy(&reply);
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("incomplete head: {reply}"));
    (head.to_owned(), body.to_owned())
}

/// A reserved address: bound without listening, so it refuses connections and the kernel assigns its port to no
/// other socket. A program that asks for the port by its number can listen there, repeatedly.
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

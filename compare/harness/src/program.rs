//! Starts and ends the measured programs and the backends, each on its own port.

use crate::cell::{Cell, Delay};
use crate::variant::Variant;
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Timeout for a program to start listening.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a program to exit after SIGTERM before it is killed.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(2);

/// A running program, ended when this is dropped.
pub struct Program {
    /// Listening address.
    pub address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

/// A program's log file, which exists as long as the program.
pub struct Log(PathBuf);

impl Log {
    /// Returns the last line as part of an error message.
    pub fn last_line(&self) -> String {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().last().map_or("its log is empty".into(), |line| format!("its last log line: {line}"))
    }
}

/// Finds and starts the programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The repository's root.
    pub root: PathBuf,
    /// Directory for configuration files and logs.
    pub scratch: PathBuf,
    /// Whether the run has been interrupted.
    pub stop: Arc<AtomicBool>,
}

impl Programs {
    /// Checks that the run has not been interrupted.
    ///
    /// # Errors
    /// Returns an error if it has.
    pub fn check_running(&self) -> Result<()> {
        ensure!(!self.stop.load(Relaxed), "stopped");
        Ok(())
    }

    /// Returns a hash of this project's own programs, including the harness.
    ///
    /// # Errors
    /// Returns an error if one of them cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hasher = DefaultHasher::new();
        let own = Variant::ALL.into_iter().filter(|variant| variant.is_own());
        for program in own.filter_map(|variant| self.find(variant)).chain([std::env::current_exe()?]) {
            hasher.write(&fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?);
        }
        Ok(format!("{:016x}", hasher.finish()))
    }

    /// Returns the path of a variant's program, or `None` if it is not installed.
    pub fn find(&self, variant: Variant) -> Option<PathBuf> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let built = |workspace: &str, name: &str| {
            let folder = target.clone().unwrap_or_else(|| self.root.join(workspace).join("target"));
            Some(folder.join("release").join(name)).filter(|program| program.is_file())
        };
        match variant {
            Variant::Direct => None,
            Variant::Parked | Variant::TinyHttp => built("", "turnwheel"),
            Variant::Threads => built("compare", "turnwheel-threads"),
            Variant::Async | Variant::AsyncOne => built("compare", "turnwheel-async"),
            Variant::Nginx => installed("nginx"),
            Variant::Haproxy => installed("haproxy"),
            Variant::Caddy => installed("caddy"),
        }
    }

    /// Returns a variant's version line, or `None` if it is not installed.
    pub fn version(&self, variant: Variant) -> Option<String> {
        if variant == Variant::Direct {
            return Some("no balancer".into());
        }
        let program = self.find(variant)?;
        let flag = match variant {
            Variant::Nginx | Variant::Haproxy => "-v",
            Variant::Caddy => "version",
            Variant::Threads => return Some("std".into()),
            _ => "--version",
        };
        let output = Command::new(program).arg(flag).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&text).lines().next()?.trim().to_owned())
    }

    /// Starts a balancer in front of two backends, configured for a cell.
    ///
    /// # Errors
    /// Returns an error if it is not installed or does not start listening.
    pub fn balancer(&self, variant: Variant, cell: &Cell, backends: [SocketAddr; 2]) -> Result<Program> {
        let program = self.find(variant).with_context(|| format!("{variant} is not there"))?;
        let listen = free_address()?;
        let mut command = Command::new(program);
        let folder = self.scratch.join(format!("{variant}-{}", listen.port()));
        fs::create_dir_all(&folder)?;
        match variant {
            Variant::Nginx => {
                let file = settings(
                    include_str!("../peers/nginx.conf"),
                    "nginx.conf",
                    &folder,
                    cell,
                    listen,
                    backends,
                )?;
                command.arg("-p").arg(&folder).arg("-e").arg(folder.join("error.log")).arg("-c").arg(file);
            }
            Variant::Haproxy => {
                let file = settings(
                    include_str!("../peers/haproxy.cfg"),
                    "haproxy.cfg",
                    &folder,
                    cell,
                    listen,
                    backends,
                )?;
                command.arg("-db").arg("-q").arg("-f").arg(file);
            }
            Variant::Caddy => {
                let file = settings(
                    include_str!("../peers/Caddyfile"),
                    "Caddyfile",
                    &folder,
                    cell,
                    listen,
                    backends,
                )?;
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file).env("HOME", &folder);
            }
            _ => own_arguments(&mut command, variant, cell, listen, backends),
        }
        Program::start(&mut command, listen, folder).with_context(|| format!("{variant} does not start"))
    }

    /// Starts a backend.
    ///
    /// # Errors
    /// Returns an error if it does not start listening.
    pub fn backend(&self, name: &str, body: usize, delay: Delay) -> Result<Program> {
        let listen = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["backend", "--name", name, "--listen", &listen.to_string()]);
        command.args(["--body", &body.to_string(), "--delay", &delay.to_string()]);
        command.stdin(Stdio::piped()); // the backend exits when this pipe closes
        let folder = self.scratch.join(format!("backend-{}", listen.port()));
        fs::create_dir_all(&folder)?;
        Program::start(&mut command, listen, folder).with_context(|| format!("backend {name} does not start"))
    }
}

fn own_arguments(
    command: &mut Command,
    variant: Variant,
    cell: &Cell,
    listen: SocketAddr,
    backends: [SocketAddr; 2],
) {
    command.args(["serve", "--listen", &listen.to_string()]);
    for backend in backends {
        command.args(["--backend", &format!("http://{backend}")]);
    }
    command.args(["--reply-head-timeout", &format!("{}ms", cell.reply_timeout.as_millis())]);
    match variant {
        Variant::Parked => command.args(["--edge", "parked", "--max-connections", "12000"]),
        Variant::TinyHttp => command.args(["--edge", "tiny-http"]),
        Variant::AsyncOne => command.args(["--runtime", "current-thread"]),
        _ => command,
    };
    if !cell.health && variant.has_workers() {
        command.args(["--health=off", "--max-fails=0"]);
    }
    for (flag, value) in [("--workers", cell.workers), ("--queue", cell.queue)] {
        if let Some(value) = value.filter(|_| variant.has_workers()) {
            command.args([flag, &value.to_string()]);
        }
    }
}

/// Writes a peer's configuration file and returns its path.
fn settings(
    template: &str,
    name: &str,
    folder: &Path,
    cell: &Cell,
    listen: SocketAddr,
    [a, b]: [SocketAddr; 2],
) -> Result<PathBuf> {
    // If started by root, nginx runs its workers as a user that cannot enter the directory.
    let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
    let text = template
        .replace("@user@", user)
        .replace("@descriptors@", &rlimit::Resource::NOFILE.get_hard()?.to_string())
        .replace("@folder@", &folder.to_string_lossy())
        .replace("@host@", &listen.ip().to_string())
        .replace("@port@", &listen.port().to_string())
        .replace("@listen@", &listen.to_string())
        .replace("@backend-a@", &a.to_string())
        .replace("@backend-b@", &b.to_string())
        .replace("@reply-timeout@", &cell.reply_timeout.as_millis().to_string());
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Returns the path of an installed program, searching also the directories of root's PATH.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Returns an address with a port that is free at the moment.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl Program {
    fn start(command: &mut Command, address: SocketAddr, folder: PathBuf) -> Result<Program> {
        let log = File::create(folder.join("log"))?;
        command.stdout(log.try_clone()?).stderr(log).env_remove("RUST_LOG");
        command.process_group(0); // its children can then be killed with it
        let name = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("cannot run {}", name.display()))?;
        let mut program = Program { address, child, folder };
        let until = Instant::now() + START_TIMEOUT;
        while TcpStream::connect_timeout(&address, START_TIMEOUT).is_err() {
            if program.child.try_wait()?.is_some() {
                bail!("the program has exited; {}", program.log().last_line());
            }
            if Instant::now() > until {
                bail!("the program does not listen; {}", program.log().last_line());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(program)
    }

    /// Returns the program's log.
    pub fn log(&self) -> Log {
        Log(self.folder.join("log"))
    }

    /// Returns the process ID.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends a signal; has no effect if the program has exited.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }

    /// Ends the program and waits for its exit.
    pub fn end(&mut self) {
        self.signal(Signal::SIGCONT); // a stopped process does not handle SIGTERM
        self.signal(Signal::SIGTERM);
        let until = Instant::now() + TERMINATION_TIMEOUT;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL); // fails only if the group has exited
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

//! `turnwheel top`: what it prints, what it refuses, and how it behaves in a terminal.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, DEADLINE, dead_port, eventually, program};
use crate::config_file::{file_flag, file_with};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Output, Stdio};
use std::ptr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SECRET: &str = "a-secret-that-is-not-guessed";

/// Escape sequences that switch to the alternate screen and back.
const ENTERS: &str = "\u{1b}[?1049h";
const LEAVES: &str = "\u{1b}[?1049l";

/// The terminal's size.
const ROWS: usize = 24;
const COLUMNS: usize = 80;

fn flag(operator: &AdminClient) -> String {
    format!("--admin={}", operator.addr)
}

fn once(args: &[&str]) -> Output {
    program().args(["top", "--once"]).args(args).output().unwrap()
}

/// Asserts that the output is one sentence with these words, and the exit code 1.
#[track_caller]
fn refuses(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("turnwheel: ") && said.contains(words), "{words:?} is not in {said}");
    assert_eq!(
        (said.lines().count(), output.status.code(), &*output.stdout),
        (1, Some(1), &b""[..]),
        "{said}"
    );
}

#[test]
fn prints_the_state_once() {
    let backend = Recorder::hello("here");
    let balancer = Balancer::serve(&[backend.addr], &[ADMIN, "--workers=7", "--health-interval=100ms"]);
    let operator = AdminClient::of(&balancer);
    for _ in 0..3 {
        assert_eq!(balancer.get("/").status, 200);
    }
    let name = backend.addr.to_string();
    eventually("it shows the requests, and the backend as up", || {
        let output = once(&[&flag(&operator)]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{text}");
        assert!(text.starts_with(concat!("turnwheel ", env!("CARGO_PKG_VERSION"), "  ")), "{text}");
        assert!(text.contains("/7\n") && !text.contains('\u{1b}'), "{text}");
        let line = text.lines().find(|line| line.contains(&name)).unwrap_or_else(|| panic!("{text}"));
        text.contains("requests so far 3") && line.contains(" up ")
    });
}

#[test]
fn names_the_address_where_nothing_listens() {
    let dead = dead_port();
    let admin = format!("--admin={}", dead.addr);
    let sentence =
        format!("nothing listens on {0}; is the admin listener on? start it with --admin {0}\n", dead.addr);
    refuses(&once(&[&admin]), &sentence);
    let mut terminal = Terminal::start(&[&admin], &[]);
    assert_eq!(terminal.exit_code(), 1);
    terminal.shows("nothing listens on");
    assert!(!terminal.text().contains(ENTERS), "the screen was not touched");
    refuses(&once(&[&admin, "--admin-token-file=/no/such"]), "cannot read the admin token in /no/such");
}

#[test]
fn sends_the_token_or_says_which_one_is_missing_or_wrong() {
    let backend = Recorder::hello("here");
    let (_folder, right) = file_with(SECRET);
    let (_other, wrong) = file_with("another-secret-than-that-one");
    let [right, wrong] = [right, wrong].map(|path| file_flag("admin-token-file", &path));
    let balancer = Balancer::serve(&[backend.addr], &[ADMIN, &right]);
    let admin = flag(&AdminClient::of(&balancer));
    refuses(&once(&[&admin]), "requires a token; name its file with --admin-token-file\n");
    refuses(
        &once(&[&admin, &wrong]),
        "does not accept this token; check the file that --admin-token-file names\n",
    );
    assert_eq!(once(&[&admin, &right]).status.code(), Some(0));
}

#[test]
fn says_what_to_do_without_a_terminal() {
    let output = program().args(["top", "--admin=127.0.0.1:1"]).output().unwrap();
    refuses(&output, "standard output is not a terminal; --once prints the present state\n");
}

#[test]
fn shows_backends_obeys_keys_and_restores_the_terminal() {
    let backend = Recorder::hello("here");
    let balancer = Balancer::serve(&[backend.addr], &[ADMIN]);
    let operator = AdminClient::of(&balancer);
    let mut terminal = Terminal::start(&[&flag(&operator), "--interval=50ms"], &[]);
    let before = terminal.modes();
    terminal.is_sent(ENTERS);
    terminal.shows(&backend.addr.to_string());
    eventually("keys come one by one, and are not repeated on the screen", || terminal.modes() != before);
    terminal.press("d");
    terminal.shows("to drain ");
    eventually("it drains", || operator.backend(backend.addr)["state"] == "draining");
    terminal.press("r");
    eventually("it is resumed", || operator.backend(backend.addr)["state"] != "draining");
    assert!(!terminal.text().contains(LEAVES));
    terminal.press("q");
    assert_eq!(terminal.exit_code(), 0);
    terminal.is_sent(LEAVES);
    assert_eq!(terminal.modes(), before);
}

#[test]
fn waits_for_a_balancer_that_went_away() {
    let backend = Recorder::hello("here");
    let place = dead_port();
    let admin = format!("--admin={}", place.addr);
    let balancer = Balancer::serve(&[backend.addr], &[&admin]);
    let mut terminal = Terminal::start(&[&admin, "--interval=50ms"], &[("NO_COLOR", "1")]);
    terminal.shows(&backend.addr.to_string());
    drop(balancer);
    terminal.shows(&format!(" old: nothing listens on {}", place.addr));
    assert!(!terminal.text().contains("\u{1b}[38"), "there are no colours: {:?}", terminal.text());
    let _balancer = Balancer::serve(&[backend.addr], &[&admin]);
    terminal.shows("q quit"); // in place of the age of the snapshot
    // SAFETY: `kill` takes any numbers, and the child has not been waited for, so the number is its own.
    assert_eq!(unsafe { libc::kill(terminal.child.id() as i32, libc::SIGTERM) }, 0);
    assert_eq!(terminal.exit_code(), 0);
    terminal.is_sent(LEAVES);
}

#[test]
fn obeys_keys_while_the_balancer_hangs() {
    let backend = Recorder::hello("here");
    let balancer = Balancer::serve(&[backend.addr], &[ADMIN]);
    let mut terminal = Terminal::start(&[&flag(&AdminClient::of(&balancer))], &[]);
    terminal.shows("q quit");
    balancer.signal(libc::SIGSTOP);
    let began = Instant::now();
    terminal.press("d");
    terminal.shows(&format!("asking to drain {}", backend.addr));
    terminal.press("?");
    terminal.shows("quit (also Esc and Ctrl-C)");
    terminal.press("\u{3}");
    assert_eq!(terminal.exit_code(), 0);
    assert!(began.elapsed() < Duration::from_secs(4), "an answer is waited for 5 s: {:?}", began.elapsed());
    terminal.is_sent(LEAVES);
}

#[test]
fn ends_when_its_terminal_is_gone() {
    let backend = Recorder::hello("here");
    let balancer = Balancer::serve(&[backend.addr], &[ADMIN]);
    let (mut master, slave) = pair();
    let mut child = start_in(slave, &[&flag(&AdminClient::of(&balancer))], &[]);
    let mut written = Vec::new();
    while !String::from_utf8_lossy(&written).contains("quit") {
        let mut piece = [0; 4096];
        let read = master.read(&mut piece).unwrap();
        written.extend_from_slice(&piece[..read]);
    }
    drop(master);
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() && began.elapsed() < DEADLINE {
        thread::sleep(Duration::from_millis(5));
    }
    let has_ended = child.try_wait().unwrap().is_some();
    let _ = child.kill(); // fails if all is well
    let _ = child.wait();
    assert!(has_ended, "it went on without a terminal");
}

/// Starts `turnwheel top` with this terminal as the controlling one of a new session.
fn start_in(slave: OwnedFd, args: &[&str], environment: &[(&str, &str)]) -> Child {
    let mut command = program();
    command.arg("top").args(args).env_remove("NO_COLOR").env("TERM", "xterm-256color");
    command.envs(environment.iter().copied());
    let end = || Stdio::from(slave.try_clone().unwrap());
    command.stdin(end()).stdout(end()).stderr(end());
    // SAFETY: both are system calls that may be made between fork and exec; they touch no memory.
    unsafe {
        command.pre_exec(|| {
            let is_done = libc::setsid() >= 0 && libc::ioctl(0, libc::TIOCSCTTY as _, 0) == 0;
            if is_done { Ok(()) } else { Err(io::Error::last_os_error()) }
        });
    }
    command.spawn().unwrap()
}

/// `turnwheel top` in a terminal of 80 by 24, killed and reaped on drop.
struct Terminal {
    child: Child,
    /// The user's side of the terminal.
    master: File,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let (master, slave) = pair();
        let child = start_in(slave, args, environment);
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let (collected, mut output) = (Arc::clone(&written), master.try_clone().unwrap());
        thread::spawn(move || {
            let mut piece = [0; 4096];
            // After the child has exited, a read fails instead of returning the end.
            while let Ok(read @ 1..) = output.read(&mut piece) {
                collected.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        Terminal { child, master, written }
    }

    /// Returns everything that was written to the terminal.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Waits until these words are on the screen.
    #[track_caller]
    fn shows(&self, words: &str) {
        let mut seen = String::new();
        let began = Instant::now();
        while !seen.contains(words) {
            assert!(began.elapsed() < DEADLINE, "{words:?} is not on the screen:\n{seen}");
            thread::sleep(Duration::from_millis(2));
            seen = screen(&self.text());
        }
    }

    /// Waits until this is written to the terminal.
    #[track_caller]
    fn is_sent(&self, sequence: &str) {
        eventually(&format!("{sequence:?} is written"), || self.text().contains(sequence));
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Returns the terminal's modes, which say how it treats input.
    fn modes(&self) -> [libc::tcflag_t; 4] {
        // SAFETY: all zeros is a value of this plain struct.
        let mut modes: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open, and the struct lives as long as the call.
        let asked = unsafe { libc::tcgetattr(self.master.as_raw_fd(), &raw mut modes) };
        assert_eq!(asked, 0, "{}", io::Error::last_os_error());
        [modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag]
    }

    #[track_caller]
    fn exit_code(&mut self) -> i32 {
        let mut status = None;
        eventually("it has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code().expect("no signal ends it")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails only if it has ended already
        let _ = self.child.wait();
    }
}

/// Returns the screen after all this was written. Sequences that move the cursor are interpreted, others skipped.
fn screen(written: &str) -> String {
    let mut cells = [[' '; COLUMNS]; ROWS];
    let (mut row, mut column) = (0, 0);
    let mut parts = written.split('\u{1b}');
    let plain = parts.next().map(|text| ("", text));
    for (sequence, text) in plain.into_iter().chain(parts.map(split_sequence)) {
        if let Some((down, right)) = sequence.strip_suffix('H').and_then(|place| place[1..].split_once(';')) {
            (row, column) = (down.parse::<usize>().unwrap() - 1, right.parse::<usize>().unwrap() - 1);
        }
        for c in text.chars() {
            match c {
                '\r' => column = 0,
                '\n' => row += 1,
                _ => {
                    let cell = cells.get_mut(row).and_then(|line| line.get_mut(column));
                    if let Some(cell) = cell {
                        *cell = c;
                    }
                    column += 1;
                }
            }
        }
    }
    cells.map(|line| String::from_iter(line) + "\n").concat()
}

/// Splits a sequence like `[2;7H` from the text after it. An incomplete sequence has no text.
fn split_sequence(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).map_or(text.len(), |at| at + 1);
    text.split_at(end)
}

/// Opens a new pseudoterminal and returns both sides.
fn pair() -> (File, OwnedFd) {
    let (mut master, mut slave) = (0, 0);
    let mut size = libc::winsize { ws_row: ROWS as u16, ws_col: COLUMNS as u16, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: it writes two numbers and reads one struct, which live as long as the call; the rest may be null.
    let opened = unsafe {
        libc::openpty(&raw mut master, &raw mut slave, ptr::null_mut(), ptr::null_mut(), &raw mut size)
    };
    assert_eq!(opened, 0, "{}", io::Error::last_os_error());
    // SAFETY: the call has opened both, and nothing else owns them.
    let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    for end in [master.as_raw_fd(), slave.as_raw_fd()] {
        // SAFETY: the descriptor is open. Programs that other tests start do not get it.
        assert_eq!(unsafe { libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC) }, 0);
    }
    (master, slave)
}

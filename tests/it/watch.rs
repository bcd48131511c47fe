//! Measures a running balancer from outside: its process as the kernel reports it, and the waiting time of an ordinary
//! client.

use crate::bed::{Client, eventually};
use std::fs;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Resources that a process uses.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub threads: usize,
    pub descriptors: usize,
    /// Resident memory, in KiB.
    pub resident: u64,
}

impl Figures {
    pub fn of(pid: u32) -> Self {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let number = |name| status(pid, name).trim_end_matches(" kB").parse().unwrap();
        Figures { threads: number("Threads:") as usize, descriptors, resident: number("VmRSS:") }
    }
}

/// Returns the value of a line of `/proc/PID/status`.
fn status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
}

/// Returns the processor time that a process has used.
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name may contain anything; after it, user and system time are the twelfth and thirteenth field.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    // SAFETY: sysconf takes any number and touches no memory of ours.
    let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_millis(ticks * 1000 / u64::try_from(a_second).unwrap())
}

const PAUSE: Duration = Duration::from_millis(5);

/// Asserts that this process, and so its children, may open this many descriptors.
#[track_caller]
pub fn need_descriptors(count: u64) {
    let now = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(
        now >= count,
        "this test needs {count} descriptors, and the hard limit is {now}: raise ulimit -Hn"
    );
}

/// Waits until the process is stopped by a signal.
pub fn is_stopped(pid: u32) {
    eventually("it has been stopped", || status(pid, "State:").starts_with('T'));
}

/// Returns the bytes that a client has sent and the other end's kernel has not acknowledged.
pub fn unsent(client: &Client) -> usize {
    let mut left: libc::c_int = 0;
    // SAFETY: the descriptor is open, because `client` is borrowed, and the kernel writes an int.
    let asked = unsafe { libc::ioctl(client.stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut left) };
    assert_eq!(asked, 0, "{}", std::io::Error::last_os_error());
    usize::try_from(left).unwrap()
}

/// An ordinary client: sends requests one after the other, each over a new connection, and measures its waiting time.
pub struct Guest {
    leaving: Arc<AtomicBool>,
    asking: Option<JoinHandle<(usize, Duration)>>,
    clock: Option<JoinHandle<Duration>>,
}

impl Guest {
    pub fn of(addr: SocketAddr) -> Self {
        let leaving = Arc::new(AtomicBool::new(false));
        let [one, other] = [0; 2].map(|_| Arc::clone(&leaving));
        let asking = thread::spawn(move || ask(addr, &one));
        let clock = thread::spawn(move || mind_the_clock(&other));
        Guest { leaving, asking: Some(asking), clock: Some(clock) }
    }

    /// Asserts that every request was served within a second. Time for which this process was not scheduled does not
    /// count.
    #[track_caller]
    pub fn was_served(mut self) {
        self.leaving.store(true, SeqCst);
        let asked = self.asking.take().map(JoinHandle::join).unwrap();
        let (times, worst) = asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let late = self.clock.take().map(JoinHandle::join).unwrap().unwrap();
        let fared = format!("an ordinary client was served {times} times, and waited {worst:?} at most");
        println!("{fared}");
        assert!(
            worst < Duration::from_secs(1) + late,
            "{fared}; this process was not scheduled for {late:?} once"
        );
    }
}

impl Drop for Guest {
    /// Ends the threads before the balancer, even if the test has failed.
    fn drop(&mut self) {
        self.leaving.store(true, SeqCst);
        let _ = self.asking.take().map(JoinHandle::join); // the result no longer matters
        let _ = self.clock.take().map(JoinHandle::join); // likewise
    }
}

/// Returns how many requests were sent, and the longest waiting time.
fn ask(addr: SocketAddr, leaving: &AtomicBool) -> (usize, Duration) {
    let (mut times, mut worst) = (0, Duration::ZERO);
    while times < 2 || !leaving.load(SeqCst) {
        let began = Instant::now();
        let reply = crate::bed::get(addr, "/");
        worst = worst.max(began.elapsed());
        assert_eq!(reply.status, 200, "an ordinary client was refused: {reply:?}");
        times += 1;
        thread::sleep(PAUSE); // one client is no load
    }
    (times, worst)
}

/// Returns the largest excess of a pause over its length, which is the time this process was not scheduled.
pub fn mind_the_clock(leaving: &AtomicBool) -> Duration {
    let mut late = Duration::ZERO;
    while !leaving.load(SeqCst) {
        let began = Instant::now();
        thread::sleep(PAUSE);
        late = late.max(began.elapsed() - PAUSE);
    }
    late
}

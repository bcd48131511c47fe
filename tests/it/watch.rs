//! What can be seen of a running balancer from outside: what the kernel says about its process, and how
//! long an ordinary client waits.

use crate::bed::{Client, eventually};
use std::fs;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a process takes of the machine.
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

/// A line of `/proc/PID/status`.
fn status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
}

/// Processor time that a process has used.
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything: user and system time are the twelfth and thirteenth.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    // SAFETY: sysconf takes any number and touches no memory of ours.
    let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_millis(ticks * 1000 / u64::try_from(a_second).unwrap())
}

const PAUSE: Duration = Duration::from_millis(5);

/// Makes sure that this process, and so its children, may have so many descriptors.
#[track_caller]
pub fn need_descriptors(count: u64) {
    let now = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(
        now >= count,
        "this test needs {count} descriptors, and the hard limit is {now}: raise ulimit -Hn"
    );
}

/// Waits until a signal has stopped the process.
pub fn is_stopped(pid: u32) {
    eventually("it has been stopped", || status(pid, "State:").starts_with('T'));
}

/// Bytes that a client has sent and the other end's kernel has not taken yet.
pub fn unsent(client: &Client) -> usize {
    let mut left: libc::c_int = 0;
    // SAFETY: the descriptor is open, because `client` is borrowed, and the kernel writes an int.
    let asked = unsafe { libc::ioctl(client.stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut left) };
    assert_eq!(asked, 0, "{}", std::io::Error::last_os_error());
    usize::try_from(left).unwrap()
}

/// An ordinary client: asks again and again, over a new connection each time, and minds its time.
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

    /// Asserts that it has been served all the time, and never waited for a second. The time for which
    /// the machine stood still, seen from here, does not count.
    #[track_caller]
    pub fn was_served(mut self) {
        self.leaving.store(true, SeqCst);
        let asked = self.asking.take().map(JoinHandle::join).unwrap();
        let (times, worst) = asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let late = self.clock.take().map(JoinHandle::join).unwrap().unwrap();
        let fared = format!("an ordinary client was served {times} times, and waited {worst:?} at most");
        println!("{fared}");
        assert!(worst < Duration::from_secs(1) + late, "{fared}; the machine stood still for {late:?} once");
    }
}

impl Drop for Guest {
    /// If the test has failed, it goes before the balancer does.
    fn drop(&mut self) {
        self.leaving.store(true, SeqCst);
        let _ = self.asking.take().map(JoinHandle::join); // how it fared does not matter any more
        let _ = self.clock.take().map(JoinHandle::join); // likewise
    }
}

/// How often it asked, and how long it waited at most.
fn ask(addr: SocketAddr, leaving: &AtomicBool) -> (usize, Duration) {
    let (mut times, mut worst) = (0, Duration::ZERO);
    while times < 2 || !leaving.load(SeqCst) {
        let began = Instant::now();
        let reply = crate::bed::get(addr, "/");
        worst = worst.max(began.elapsed());
        assert_eq!(reply.status, 200, "an ordinary client was refused: {reply:?}");
        times += 1;
        thread::sleep(PAUSE); // it is a guest, not a load
    }
    (times, worst)
}

/// How much longer a pause took than it should have, at most.
pub fn mind_the_clock(leaving: &AtomicBool) -> Duration {
    let mut late = Duration::ZERO;
    while !leaving.load(SeqCst) {
        let began = Instant::now();
        thread::sleep(PAUSE);
        late = late.max(began.elapsed() - PAUSE);
    }
    late
}

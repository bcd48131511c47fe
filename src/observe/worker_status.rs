//! What one worker is at, written by it and read by those who watch.
//!
//! Nobody waits for anybody: there is no lock. A worker says what it begins in a few plain stores, between two that make the
//! version odd and even again. Who reads and finds that the version was odd, or has changed meanwhile, reads once more.

use crate::backend::Backend;
use http::request;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::*, fence};

/// Bytes of a method that are kept.
const METHOD: usize = 15;

/// Bytes of a path that are kept.
pub(super) const PATH: usize = 48;

const WORDS: usize = (METHOD + 1 + PATH) / 8;

/// How often a reader tries. A worker that begins a request every 10 µs writes for a thousandth of the time.
const TRIES: usize = 16;

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No backend has it yet.
    Choosing,
    /// A backend has it, and has not begun its reply.
    Waiting,
    /// The client is getting its reply.
    Relaying,
}

impl Phase {
    const ALL: [Phase; 3] = [Phase::Choosing, Phase::Waiting, Phase::Relaying];

    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Choosing => "choosing",
            Phase::Waiting => "waiting",
            Phase::Relaying => "relaying",
        }
    }
}

/// What a worker is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The method, cut if it is a long one.
    pub method: String,
    /// The path, cut if it is a long one. Without the query: that is where clients write what nobody should see.
    pub path: String,
    /// The [id](Backend::id) of the backend that has the request.
    pub backend: Option<u64>,
    /// How far it is.
    pub phase: Phase,
    /// When it began, in microseconds of the recorder's time.
    pub since: u64,
}

/// One worker's. It has cache lines to itself, so that no worker writes where another one does.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerStatus {
    version: AtomicU64,
    /// When it began, and nothing while it is idle.
    since: AtomicU64,
    /// Its id and one, or nothing.
    backend: AtomicU64,
    phase: AtomicU8,
    words: [AtomicU64; WORDS],
}

impl WorkerStatus {
    /// The worker begins with a request, so many microseconds after the recorder did.
    pub fn begin(&self, since: u64, head: &request::Parts) {
        let mut text = [0; METHOD + 1 + PATH];
        fill(&mut text[..METHOD], head.method.as_str());
        fill(&mut text[METHOD + 1..], head.uri.path());
        let version = self.version.load(Relaxed);
        self.version.store(version + 1, Relaxed);
        fence(Release);
        for (word, bytes) in self.words.iter().zip(text.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Relaxed);
        }
        self.backend.store(0, Relaxed);
        self.phase.store(Phase::Choosing as u8, Relaxed);
        self.since.store(since.max(1), Relaxed);
        self.version.store(version + 2, Release);
    }

    /// It goes to this backend.
    pub fn tries(&self, backend: &Backend) {
        self.backend.store(backend.id() + 1, Relaxed);
        self.phase.store(Phase::Waiting as u8, Relaxed);
    }

    /// Its reply has begun.
    pub fn relays(&self) {
        self.phase.store(Phase::Relaying as u8, Relaxed);
    }

    /// The worker is done with it.
    pub fn end(&self) {
        self.since.store(0, Relaxed);
    }

    /// Is the worker at work?
    pub fn is_busy(&self) -> bool {
        self.since.load(Relaxed) > 0
    }

    /// What it is at; nothing if it is idle, or begins something else all the time.
    pub fn look(&self) -> Option<Activity> {
        for _ in 0..TRIES {
            let before = self.version.load(Acquire);
            let activity = self.read();
            fence(Acquire);
            if before.is_multiple_of(2) && self.version.load(Relaxed) == before {
                return activity;
            }
        }
        None
    }

    /// As it stands, be it half written.
    fn read(&self) -> Option<Activity> {
        let mut text = [0; METHOD + 1 + PATH];
        for (bytes, word) in text.as_chunks_mut().0.iter_mut().zip(&self.words) {
            *bytes = word.load(Relaxed).to_ne_bytes();
        }
        let phase = Phase::ALL[usize::from(self.phase.load(Relaxed)).min(Phase::ALL.len() - 1)];
        let (backend, since) = (self.backend.load(Relaxed).checked_sub(1), self.since.load(Relaxed));
        let (method, path) = (text_of(&text[..METHOD]), text_of(&text[METHOD + 1..]));
        (since > 0).then_some(Activity { method, path, backend, phase, since })
    }
}

fn fill(room: &mut [u8], text: &str) {
    let length = text.len().min(room.len());
    room[..length].copy_from_slice(&text.as_bytes()[..length]);
}

fn text_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use std::sync::atomic::AtomicBool;

    fn head(method: &str, target: &str) -> request::Parts {
        Request::builder().method(method).uri(target).body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_worker_is_idle_until_it_begins_and_when_it_is_done() {
        let (status, backend) =
            (WorkerStatus::default(), crate::balance::strategies::tests::backends(1).remove(0));
        assert_eq!((status.is_busy(), status.look()), (false, None));
        status.begin(7, &head("GET", "/a/b?token=secret"));
        let activity = status.look().unwrap();
        assert!(status.is_busy());
        assert_eq!((&*activity.method, &*activity.path, activity.since), ("GET", "/a/b", 7));
        assert_eq!((activity.backend, activity.phase), (None, Phase::Choosing));
        status.tries(&backend);
        let activity = status.look().unwrap();
        assert_eq!((activity.backend, activity.phase), (Some(backend.id()), Phase::Waiting));
        status.relays();
        assert_eq!(status.look().unwrap().phase, Phase::Relaying);
        status.end();
        assert_eq!((status.is_busy(), status.look()), (false, None));
        status.begin(0, &head("POST", "/"));
        let activity = status.look().unwrap();
        assert_eq!((&*activity.path, activity.backend, activity.phase), ("/", None, Phase::Choosing));
    }

    #[test]
    fn what_is_long_is_cut() {
        let status = WorkerStatus::default();
        status.begin(1, &head("VERSION-CONTROL-AND-MORE", &format!("/{}", "x".repeat(200))));
        let activity = status.look().unwrap();
        assert_eq!((&*activity.method, activity.path.len()), ("VERSION-CONTROL", PATH));
    }

    #[test]
    fn nobody_reads_half_of_one_request_and_half_of_another() {
        let (status, done) = (WorkerStatus::default(), AtomicBool::new(false));
        let requests: Vec<_> = ["a", "b", "c"]
            .map(|letter| head(&letter.repeat(METHOD), &format!("/{}", letter.repeat(PATH - 1))))
            .into();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 0..200_000 {
                    status.begin(turn % 3 + 1, &requests[turn as usize % 3]);
                }
                done.store(true, SeqCst);
            });
            let mut seen = 0;
            while !done.load(SeqCst) || seen == 0 {
                let Some(activity) = status.look() else { continue };
                seen += 1;
                let letter = ["a", "b", "c"][activity.since as usize - 1];
                assert_eq!(activity.method, letter.repeat(METHOD));
                assert_eq!(activity.path, format!("/{}", letter.repeat(PATH - 1)));
            }
        });
    }
}

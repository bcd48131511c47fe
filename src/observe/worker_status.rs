//! The request that a worker is serving, written by the worker and read by the admin listener.
//!
//! It is a sequence lock: neither side blocks. The worker makes the version odd, stores its request in a few plain stores, and makes
//! the version even again. A reader that finds an odd version, or another version after it has read, reads again.

use crate::backend::instance::Backend;
use http::request;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::*, fence};

/// The most bytes of a method that are kept.
const MAX_METHOD: usize = 15;

/// The most bytes of a path that are kept.
pub(super) const MAX_PATH: usize = 48;

/// The length of the text: the method, a zero byte, and the path.
const TEXT: usize = MAX_METHOD + 1 + MAX_PATH;

/// The most attempts of a reader. A worker that begins a request every 10 µs writes for a thousandth of the time.
const READ_ATTEMPTS: usize = 16;

/// The phase of a request at its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerPhase {
    /// No backend has been chosen yet.
    Choosing,
    /// A backend has the request, and has not begun its reply.
    Waiting,
    /// The reply is being relayed to the client.
    Relaying,
}

impl WorkerPhase {
    const ALL: [WorkerPhase; 3] = [WorkerPhase::Choosing, WorkerPhase::Waiting, WorkerPhase::Relaying];

    /// Returns its word in the admin API.
    pub fn word(self) -> &'static str {
        match self {
            WorkerPhase::Choosing => "choosing",
            WorkerPhase::Waiting => "waiting",
            WorkerPhase::Relaying => "relaying",
        }
    }
}

/// The request that a worker is serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerActivity {
    /// The method, truncated to 15 bytes.
    pub method: String,
    /// The path, truncated to 48 bytes, without the query, which may hold secrets.
    pub path: String,
    /// The [id](Backend::id) of the backend that has the request, or `None` if none has been chosen yet.
    pub backend: Option<u64>,
    /// Its phase.
    pub phase: WorkerPhase,
    /// When the worker began with it, in microseconds since the recorder was made.
    pub since: u64,
}

/// The status of one worker. It is aligned to its own cache lines, so that workers do not write to the same one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerStatus {
    version: AtomicU64,
    /// When the request began, in microseconds; 0 while the worker is idle.
    since: AtomicU64,
    /// The backend's id plus one, or 0.
    backend: AtomicU64,
    phase: AtomicU8,
    text: [AtomicU64; TEXT / 8],
}

impl WorkerStatus {
    /// Records that the worker has begun with a request, `since` microseconds after the recorder was made.
    pub fn begin(&self, since: u64, head: &request::Parts) {
        let mut text = [0; TEXT];
        fill(&mut text[..MAX_METHOD], head.method.as_str());
        fill(&mut text[MAX_METHOD + 1..], head.uri.path());
        let version = self.version.load(Relaxed);
        self.version.store(version + 1, Relaxed);
        fence(Release);
        for (word, bytes) in self.text.iter().zip(text.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Relaxed);
        }
        self.backend.store(0, Relaxed);
        self.phase.store(WorkerPhase::Choosing as u8, Relaxed);
        self.since.store(since.max(1), Relaxed);
        self.version.store(version + 2, Release);
    }

    /// Records that the request goes to this backend.
    pub fn set_backend(&self, backend: &Backend) {
        self.backend.store(backend.id() + 1, Relaxed);
        self.phase.store(WorkerPhase::Waiting as u8, Relaxed);
    }

    /// Records that the reply has begun.
    pub fn set_relaying(&self) {
        self.phase.store(WorkerPhase::Relaying as u8, Relaxed);
    }

    /// Records that the worker is idle.
    pub fn end(&self) {
        self.since.store(0, Relaxed);
    }

    /// Returns whether the worker is serving a request.
    pub fn is_busy(&self) -> bool {
        self.since.load(Relaxed) > 0
    }

    /// Returns the request that the worker is serving, or `None` if it is idle or every attempt met a write.
    pub fn read(&self) -> Option<WorkerActivity> {
        for _ in 0..READ_ATTEMPTS {
            let before = self.version.load(Acquire);
            let activity = self.read_unchecked();
            fence(Acquire);
            if before.is_multiple_of(2) && self.version.load(Relaxed) == before {
                return activity;
            }
        }
        None
    }

    /// Reads the fields without a check, so that they may belong to two requests.
    fn read_unchecked(&self) -> Option<WorkerActivity> {
        let mut text = [0; TEXT];
        for (bytes, word) in text.as_chunks_mut().0.iter_mut().zip(&self.text) {
            *bytes = word.load(Relaxed).to_ne_bytes();
        }
        let phase = WorkerPhase::ALL[usize::from(self.phase.load(Relaxed)).min(WorkerPhase::ALL.len() - 1)];
        let (backend, since) = (self.backend.load(Relaxed).checked_sub(1), self.since.load(Relaxed));
        let (method, path) = (text_of(&text[..MAX_METHOD]), text_of(&text[MAX_METHOD + 1..]));
        (since > 0).then_some(WorkerActivity { method, path, backend, phase, since })
    }
}

/// Copies the text, truncated to the length of the buffer.
fn fill(buffer: &mut [u8], text: &str) {
    let length = text.len().min(buffer.len());
    buffer[..length].copy_from_slice(&text.as_bytes()[..length]);
}

/// Returns the text up to the first zero byte.
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
    fn follows_a_request_from_its_beginning_to_its_end() {
        let (status, backend) =
            (WorkerStatus::default(), crate::balance::strategies::tests::backends(1).remove(0));
        assert_eq!((status.is_busy(), status.read()), (false, None));
        status.begin(7, &head("GET", "/a/b?token=secret"));
        let activity = status.read().unwrap();
        assert!(status.is_busy());
        assert_eq!((&*activity.method, &*activity.path, activity.since), ("GET", "/a/b", 7));
        assert_eq!((activity.backend, activity.phase), (None, WorkerPhase::Choosing));
        status.set_backend(&backend);
        let activity = status.read().unwrap();
        assert_eq!((activity.backend, activity.phase), (Some(backend.id()), WorkerPhase::Waiting));
        status.set_relaying();
        assert_eq!(status.read().unwrap().phase, WorkerPhase::Relaying);
        status.end();
        assert_eq!((status.is_busy(), status.read()), (false, None));
        status.begin(0, &head("POST", "/"));
        let activity = status.read().unwrap();
        assert_eq!((&*activity.path, activity.backend, activity.phase), ("/", None, WorkerPhase::Choosing));
    }

    #[test]
    fn truncates_a_long_method_and_a_long_path() {
        let status = WorkerStatus::default();
        status.begin(1, &head("VERSION-CONTROL-AND-MORE", &format!("/{}", "x".repeat(200))));
        let activity = status.read().unwrap();
        assert_eq!((&*activity.method, activity.path.len()), ("VERSION-CONTROL", MAX_PATH));
    }

    #[test]
    fn a_reader_never_sees_a_mix_of_two_requests() {
        let (status, done) = (WorkerStatus::default(), AtomicBool::new(false));
        let requests: Vec<_> = ["a", "b", "c"]
            .map(|letter| head(&letter.repeat(MAX_METHOD), &format!("/{}", letter.repeat(MAX_PATH - 1))))
            .into();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..200_000 {
                    status.begin(number % 3 + 1, &requests[number as usize % 3]);
                }
                done.store(true, SeqCst);
            });
            let mut seen = 0;
            while !done.load(SeqCst) || seen == 0 {
                let Some(activity) = status.read() else { continue };
                seen += 1;
                let letter = ["a", "b", "c"][activity.since as usize - 1];
                assert_eq!(activity.method, letter.repeat(MAX_METHOD));
                assert_eq!(activity.path, format!("/{}", letter.repeat(MAX_PATH - 1)));
            }
        });
    }
}

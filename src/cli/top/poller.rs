//! The thread that polls the balancer, so that keys never wait for a reply.

use super::snapshot::{SampleHistory, Snapshot};
use crate::admin::answers::state::BackendState;
use crate::admin::token::AdminToken;
use crate::cli::client::{AdminClient, AdminClientError};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::net::SocketAddr;
use std::time::Duration;

/// The timeout of a request to the balancer, which an operator is willing to wait for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Shortest time between two polls; most of what the balancer reports changes once a second.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// Polls one balancer.
#[derive(Debug)]
pub struct StatePoller {
    client: AdminClient,
    history: SampleHistory,
}

/// A message from the poller to the screen.
#[derive(Clone, Debug)]
pub enum Update {
    /// A new snapshot.
    Snapshot(Box<Snapshot>),
    /// The balancer does not answer, and why.
    Unreachable(String),
    /// Outcome of a command, in one sentence.
    Outcome(String),
}

/// A command for the balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendCommand {
    /// The action.
    pub verb: Verb,
    /// Name of the backend.
    pub backend: String,
}

/// The action of a key on a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Stop sending requests to it.
    Drain,
    /// Send requests to it again.
    Resume,
}

impl Verb {
    /// Returns the verb as the API and people write it.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Drain => "drain",
            Verb::Resume => "resume",
        }
    }
}

impl StatePoller {
    /// Creates a poller for the balancer with this admin address.
    pub fn new(admin: SocketAddr, token: Option<AdminToken>) -> Self {
        StatePoller { client: AdminClient::new(admin, token, TIMEOUT), history: SampleHistory::default() }
    }

    /// Returns a snapshot of the balancer. Its history is empty if only that cannot be read.
    ///
    /// # Errors
    /// When the balancer does not answer.
    pub fn poll(&mut self) -> Result<Snapshot, AdminClientError> {
        let state = self.client.get("/api/state")?;
        match self.client.get(&self.history.path()) {
            Ok(samples) => self.history.append(samples),
            Err(_) => self.history = SampleHistory::default(),
        }
        Ok(Snapshot::new(state, self.history.clone()))
    }

    /// Polls once in an interval and after each command, until a channel is closed.
    pub(super) fn run(
        mut self,
        interval: Duration,
        commands: &Receiver<BackendCommand>,
        updates: &Sender<Update>,
    ) {
        loop {
            let new = match commands.recv_timeout(interval.max(SHORTEST_INTERVAL)) {
                Ok(command) => vec![Update::Outcome(self.execute(&command)), self.update()],
                Err(RecvTimeoutError::Timeout) => vec![self.update()],
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if new.into_iter().any(|update| updates.send(update).is_err()) {
                return;
            }
        }
    }

    fn update(&mut self) -> Update {
        match self.poll() {
            Ok(snapshot) => Update::Snapshot(Box::new(snapshot)),
            Err(error) => Update::Unreachable(error.to_string()),
        }
    }

    /// Executes a command and returns its outcome in one sentence.
    fn execute(&self, command: &BackendCommand) -> String {
        let BackendCommand { verb, backend } = command;
        let path = format!("/api/backends/{}/{}", encoded(backend), verb.word());
        match self.client.post::<BackendState>(&path) {
            Ok(answer) => format!("asked to {} {backend}; its state is {}", verb.word(), answer.state),
            Err(AdminClientError::Refused { reason, .. }) => format!("refused: {reason}"),
            Err(error) => error.to_string(),
        }
    }
}

/// Encodes the name of a backend as one segment of a path (RFC 3986 §2.1).
fn encoded(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~:[]".contains(&byte);
    let code = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;
    use crate::admin::listener::Admin;
    use crate::admin::options::AdminOptions;
    use crossbeam_channel::unbounded;
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    #[test]
    fn encodes_a_name_as_one_segment_of_a_path() {
        assert_eq!(encoded("127.0.0.1:8081"), "127.0.0.1:8081");
        assert_eq!(encoded("[::1]:8081"), "[::1]:8081");
        assert_eq!(encoded("a/../b?c#d é%"), "a%2F..%2Fb%3Fc%23d%20%C3%A9%25");
    }

    #[test]
    fn answers_each_command_and_polls_after_it() {
        let listen = "127.0.0.1:0".parse().unwrap();
        let admin = Admin::bind(AdminOptions { listen, token: None }).unwrap();
        let address = admin.local_addr();
        let control = Arc::new(Fake::default());
        let running = admin.start(Arc::clone(&control) as _, Arc::clone(&control) as _, None).unwrap();
        let mut poller = StatePoller::new(address, None);
        let Snapshot { state, history } = poller.poll().unwrap();
        assert_eq!((state.workers, history), (64, SampleHistory::default()), "there is no history yet");

        let (commands, received) = unbounded();
        let (sender, updates) = unbounded();
        let thread = thread::spawn(move || poller.run(Duration::from_secs(3600), &received, &sender));
        for (verb, backend) in [(Verb::Drain, "[::1]:8081"), (Verb::Resume, "other/../x")] {
            commands.send(BackendCommand { verb, backend: backend.into() }).unwrap();
            let update = updates.recv_timeout(TIMEOUT).unwrap();
            let Update::Outcome(sentence) = update else { panic!("{update:?}") };
            assert!(!sentence.is_empty(), "{sentence}");
            let is_refused = sentence.starts_with("refused: there is no backend");
            assert_eq!(is_refused, verb == Verb::Resume, "{sentence}");
            assert!(matches!(updates.recv_timeout(TIMEOUT), Ok(Update::Snapshot(_))));
        }
        assert_eq!(control.asked(), ["drain [::1]:8081", "resume other/../x"]);
        assert_eq!(running.finish(Instant::now() + TIMEOUT), 0);
        commands.send(BackendCommand { verb: Verb::Drain, backend: "[::1]:8081".into() }).unwrap();
        let Update::Outcome(sentence) = updates.recv_timeout(TIMEOUT).unwrap() else { panic!("an outcome") };
        assert!(sentence.contains(&address.to_string()), "{sentence}");
        assert!(matches!(updates.recv_timeout(TIMEOUT), Ok(Update::Unreachable(_))));
        drop(commands);
        thread.join().unwrap();
    }
}

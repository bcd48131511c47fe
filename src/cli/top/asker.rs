//! The thread that asks the balancer, so that keys are never kept waiting for it.

use super::model::{History, State};
use super::words::UNKNOWN;
use crate::admin::Token;
use crate::cli::client::{AdminClient, Problem, clean};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::net::SocketAddr;
use std::time::Duration;

/// Whoever looks at a view has less patience than that.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the balancer is asked at most: what it shows is of whole seconds.
const SHORTEST: Duration = Duration::from_millis(50);

/// Asks one balancer.
#[derive(Debug)]
pub struct Asker {
    client: AdminClient,
    history: History,
}

/// What the balancer said.
#[derive(Clone, Debug)]
pub enum News {
    /// How it is.
    HealthFacts(Box<(State, History)>),
    /// Nothing, and why.
    Silence(String),
    /// What came of an order.
    Answer(String),
}

/// What the balancer is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What is done to the backend.
    pub turn: Turn,
    /// Which one.
    pub backend: String,
}

/// What a key can do to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It gets no further requests.
    Drain,
    /// It gets requests again.
    Resume,
}

impl Turn {
    /// As the admin listener calls it, and people do.
    pub fn verb(self) -> &'static str {
        match self {
            Turn::Drain => "drain",
            Turn::Resume => "resume",
        }
    }
}

impl Asker {
    /// One who asks at this address.
    pub fn new(admin: SocketAddr, token: Option<Token>) -> Self {
        Asker { client: AdminClient::new(admin, token, PATIENCE), history: History::default() }
    }

    /// How is it? Where it keeps no history, or cannot say it now, there is none.
    ///
    /// # Errors
    /// When nobody says.
    pub fn ask(&mut self) -> Result<(State, History), Problem> {
        let state = State::read(&self.client.get("/api/state")?);
        match self.client.get(&self.history.path()) {
            Ok(answer) => self.history.take(&answer),
            Err(_) => self.history = History::default(),
        }
        Ok((state, self.history.clone()))
    }

    /// Asks again and again, and passes orders on, until there is nobody any more who gives them.
    pub(super) fn run(mut self, interval: Duration, orders: &Receiver<Order>, news: &Sender<News>) {
        loop {
            let heard = match orders.recv_timeout(interval.max(SHORTEST)) {
                Ok(order) => vec![News::Answer(self.pass_on(&order)), self.look()],
                Err(RecvTimeoutError::Timeout) => vec![self.look()],
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if heard.into_iter().any(|one| news.send(one).is_err()) {
                return;
            }
        }
    }

    fn look(&mut self) -> News {
        match self.ask() {
            Ok(facts) => News::HealthFacts(Box::new(facts)),
            Err(problem) => News::Silence(problem.to_string()),
        }
    }

    /// What came of it, in words.
    fn pass_on(&self, order: &Order) -> String {
        let Order { turn, backend } = order;
        let path = format!("/api/backends/{}/{}", encoded(backend), turn.verb());
        match self.client.post(&path) {
            Ok(answer) => {
                let state = answer["state"].as_str().map_or_else(|| UNKNOWN.to_owned(), clean);
                format!("asked to {} {backend}; it is: {state}", turn.verb())
            }
            Err(Problem::Refused { reason, .. }) => format!("refused: {reason}"),
            Err(problem) => problem.to_string(),
        }
    }
}

/// A backend's name as a part of a path (RFC 3986 §2.1).
fn encoded(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~:[]".contains(&byte);
    let code = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;
    use crate::admin::{Admin, AdminOptions};
    use crossbeam_channel::unbounded;
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(encoded("127.0.0.1:8081"), "127.0.0.1:8081");
        assert_eq!(encoded("[::1]:8081"), "[::1]:8081");
        assert_eq!(encoded("a/../b?c#d é%"), "a%2F..%2Fb%3Fc%23d%20%C3%A9%25");
    }

    #[test]
    fn orders_are_answered_and_the_facts_come_again() {
        let listen = "127.0.0.1:0".parse().unwrap();
        let admin = Admin::bind(AdminOptions { listen, token: None }).unwrap();
        let address = admin.local_addr();
        let control = Arc::new(Fake::default());
        let running = admin.start(Arc::clone(&control) as _, Arc::clone(&control) as _, None).unwrap();
        let mut asker = Asker::new(address, None);
        let (state, history) = asker.ask().unwrap();
        assert_eq!((state.workers.most, history), (Some(64), History::default()), "there is no history");

        let (orders, wanted) = unbounded();
        let (news, heard) = unbounded();
        let thread = thread::spawn(move || asker.run(Duration::from_secs(3600), &wanted, &news));
        for (turn, backend) in [(Turn::Drain, "[::1]:8081"), (Turn::Resume, "other/../x")] {
            orders.send(Order { turn, backend: backend.into() }).unwrap();
            let answer = heard.recv_timeout(PATIENCE).unwrap();
            let News::Answer(sentence) = answer else { panic!("{answer:?}") };
            assert!(!sentence.is_empty(), "{sentence}");
            assert_eq!(
                sentence.starts_with("refused: there is no backend"),
                turn == Turn::Resume,
                "{sentence}"
            );
            assert!(matches!(heard.recv_timeout(PATIENCE), Ok(News::HealthFacts(_))));
        }
        assert_eq!(control.asked(), ["drain [::1]:8081", "resume other/../x"]);
        assert_eq!(running.finish(Instant::now() + PATIENCE), 0);
        orders.send(Order { turn: Turn::Drain, backend: "[::1]:8081".into() }).unwrap();
        let News::Answer(sentence) = heard.recv_timeout(PATIENCE).unwrap() else { panic!("an answer") };
        assert!(sentence.contains(&address.to_string()), "{sentence}");
        assert!(matches!(heard.recv_timeout(PATIENCE), Ok(News::Silence(_))));
        drop(orders);
        thread.join().unwrap();
    }
}

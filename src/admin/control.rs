//! What the admin listener may ask of the balancer, and nothing else of the balancer does it know.

use crate::cluster::change::ChangeError;
use serde_json::Value;
use std::time::Duration;

/// The balancer as its operator sees it. Backends are called by their authority, `127.0.0.1:8081`, and
/// shown as JSON objects that say it under `"name"`.
pub trait Control: Send + Sync {
    /// All backends, an object each.
    fn backends(&self) -> Vec<Value>;

    /// Adds what a URL stands for, and returns what was added.
    ///
    /// # Errors
    /// When the URL cannot be used, or is there already.
    fn add(&self, url: &str, weight: u32, backup: bool) -> Result<Vec<Value>, ChangeError>;

    /// Takes a backend out for good, and returns it as it was.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be spared.
    fn remove(&self, name: &str) -> Result<Value, ChangeError>;

    /// Sends a backend no further requests; those that it has are finished.
    ///
    /// # Errors
    /// When there is none of that name.
    fn drain(&self, name: &str) -> Result<Value, ChangeError>;

    /// Sends a backend requests again.
    ///
    /// # Errors
    /// When there is none of that name.
    fn resume(&self, name: &str) -> Result<Value, ChangeError>;

    /// Changes how large a share of the requests a backend gets.
    ///
    /// # Errors
    /// When there is none of that name, or the weight is none.
    fn set_weight(&self, name: &str, weight: u32) -> Result<Value, ChangeError>;

    /// Reads the configuration again and does what it says now.
    ///
    /// # Errors
    /// With every reason why not, a sentence each; then nothing has changed.
    fn reload(&self) -> Result<Reloaded, Vec<String>>;

    /// Would a request be served?
    ///
    /// # Errors
    /// With the reason why not, in a few words.
    fn ready(&self) -> Result<(), &'static str>;
}

/// What is to be seen of the balancer at work.
pub trait Insight: Send + Sync {
    /// What has been counted, and what can be read now, in Prometheus' text format.
    ///
    /// # Errors
    /// When there is something in it that the format does not allow.
    fn metrics(&self) -> Result<String, prometheus::Error>;

    /// How it is at this moment, and the backends, as one object.
    fn state(&self) -> Value;

    /// The last two minutes by the second: those seconds that come after the one with this number.
    fn history(&self, after: u64) -> Value;
}

/// The demo_controls of a lesson: what the demo's backends and its traffic can be told. Only the demo has any.
pub trait DemoControls: Send + Sync {
    /// How things are, as one object. Each change answers with the same.
    fn show(&self) -> Value;

    /// Changes how much traffic there is.
    ///
    /// # Errors
    /// When it cannot be done now.
    fn change_traffic(&self, change: TrafficChange) -> Result<Value, ChangeError>;

    /// Changes how a backend behaves, or stops or starts it.
    ///
    /// # Errors
    /// When there is none of that name, or its port is taken by now. Then nothing has changed.
    fn change_backend(&self, name: &str, change: BackendChange) -> Result<Value, ChangeError>;

    /// The balancer is stopping: the traffic ends and nobody thinks any longer, so that there is an end to what is
    /// under way. Nothing is changed after this.
    fn clear(&self);
}

/// A change of the traffic. What is left out stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficChange {
    /// Requests a second in all; 0 is none.
    pub rate: Option<u32>,
    /// How many clients make them.
    pub clients: Option<u32>,
}

/// A change of a demo backend. What is left out stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendChange {
    /// How long it thinks about each request, those that it has already among them.
    pub delay: Option<Duration>,
    /// So many of a hundred replies are a 500.
    pub error_percent: Option<u32>,
    /// Does it run at all?
    pub running: Option<bool>,
}

/// What a reload has changed: names of backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
    /// Those that were there before.
    pub kept: Vec<String>,
}

/// A balancer that is none, for the tests of whoever talks to one.
#[cfg(test)]
pub(crate) mod fake {
    use super::*;
    use serde_json::json;
    use std::sync::Mutex;

    /// Knows `127.0.0.1:8081` and `[::1]:8081`, and remembers what it was asked to do.
    #[derive(Default)]
    pub struct Fake {
        pub asked: Mutex<Vec<String>>,
        pub problems: Vec<String>,
        pub not_ready: Option<&'static str>,
    }

    impl Fake {
        fn note(&self, what: String) {
            self.asked.lock().unwrap().push(what);
        }

        /// What it was asked since the last time.
        pub fn asked(&self) -> Vec<String> {
            std::mem::take(&mut *self.asked.lock().unwrap())
        }

        fn known(&self, verb: &str, name: &str) -> Result<Value, ChangeError> {
            self.note(format!("{verb} {name}"));
            match name {
                "127.0.0.1:8081" | "[::1]:8081" => Ok(json!({ "name": name })),
                _ => Err(ChangeError::Unknown(format!("there is no backend {name}"))),
            }
        }
    }

    impl Control for Fake {
        fn backends(&self) -> Vec<Value> {
            vec![json!({ "name": "127.0.0.1:8081", "weight": 1 })]
        }

        fn add(&self, url: &str, weight: u32, backup: bool) -> Result<Vec<Value>, ChangeError> {
            self.note(format!("add {url} {weight} {backup}"));
            match url {
                "http://twice" => Err(ChangeError::Duplicate("it is there already".into())),
                "nonsense" => Err(ChangeError::Invalid("this is no URL".into())),
                "http://panic" => panic!("on purpose"),
                _ => Ok(vec![json!({ "name": url })]),
            }
        }

        fn remove(&self, name: &str) -> Result<Value, ChangeError> {
            self.known("remove", name)
        }

        fn drain(&self, name: &str) -> Result<Value, ChangeError> {
            self.known("drain", name)
        }

        fn resume(&self, name: &str) -> Result<Value, ChangeError> {
            self.known("resume", name)
        }

        fn set_weight(&self, name: &str, weight: u32) -> Result<Value, ChangeError> {
            self.known(&format!("weight {weight}"), name)
        }

        fn reload(&self) -> Result<Reloaded, Vec<String>> {
            self.note("reload".into());
            if !self.problems.is_empty() {
                return Err(self.problems.clone());
            }
            let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
            Ok(Reloaded { added: names(&["c:1"]), removed: names(&["d:1"]), kept: names(&["a:1", "b:1"]) })
        }

        fn ready(&self) -> Result<(), &'static str> {
            self.not_ready.map_or(Ok(()), Err)
        }
    }

    impl DemoControls for Fake {
        fn show(&self) -> Value {
            json!({ "traffic": {}, "backends": [] })
        }

        fn change_traffic(
            &self,
            TrafficChange { rate, clients }: TrafficChange,
        ) -> Result<Value, ChangeError> {
            self.note(format!("traffic {rate:?} {clients:?}"));
            Ok(self.show())
        }

        fn change_backend(&self, name: &str, change: BackendChange) -> Result<Value, ChangeError> {
            let BackendChange { delay, error_percent, running } = change;
            if name == "taken:1" {
                return Err(ChangeError::NotNow("somebody else is there".into()));
            }
            self.known(&format!("play {delay:?} {error_percent:?} {running:?}"), name)?;
            Ok(self.show())
        }

        fn clear(&self) {
            self.note("clear".into());
        }
    }

    impl Insight for Fake {
        fn metrics(&self) -> Result<String, prometheus::Error> {
            let missing = || prometheus::Error::Msg("there is nothing to count".into());
            self.problems.is_empty().then(|| "up 1\n".into()).ok_or_else(missing)
        }

        fn state(&self) -> Value {
            json!({ "workers": 64 })
        }

        fn history(&self, after: u64) -> Value {
            json!({ "newest": after })
        }
    }
}

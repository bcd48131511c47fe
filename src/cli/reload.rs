//! The command `turnwheel reload`: asks a running balancer to read its configuration again.

use crate::admin::Token;
use crate::cli::client::{AdminClient, Problem};
use crate::cli::settings::Problems;
use http::StatusCode;
use serde_json::Value;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// A reload looks up names; whoever waits at a terminal for longer than this would rather know.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a reload has changed, in numbers of backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Those that are new.
    pub added: usize,
    /// Those that are gone.
    pub removed: usize,
    /// Those that were there before.
    pub kept: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { added, removed, kept } = self;
        write!(f, "{added} added, {removed} removed, {kept} kept")
    }
}

/// Asks the admin listener at this address.
///
/// # Errors
/// When it is not there, or with every reason why the configuration stays as it was.
pub fn ask(admin: SocketAddr, token: Option<Token>) -> Result<Counts, Problems> {
    let client = AdminClient::new(admin, token, PATIENCE);
    let answer = client.post("/api/reload").map_err(|problem| match problem {
        Problem::Refused { problems, .. } if !problems.is_empty() => Problems(problems),
        problem => Problems(vec![problem.to_string()]),
    })?;
    counts(&answer).ok_or_else(|| Problems(vec![client.stranger(StatusCode::OK).to_string()]))
}

/// What has changed, if the answer is that of a reload.
fn counts(answer: &Value) -> Option<Counts> {
    let count = |name| answer[name].as_array().map(Vec::len);
    Some(Counts { added: count("added")?, removed: count("removed")?, kept: count("kept")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;
    use crate::admin::{Admin, AdminOptions};
    use std::sync::Arc;
    use std::time::Instant;

    const SECRET: &str = "sixteen-letters!";

    /// What a listener says that is asked in this way.
    fn answer(control: Fake, secret: Option<&str>, shown: Option<&str>) -> Result<Counts, String> {
        let token = |text: Option<&str>| text.map(|text| Token::from_text(text).unwrap());
        let listen = "127.0.0.1:0".parse().unwrap();
        let admin = Admin::bind(AdminOptions { listen, token: token(secret) }).unwrap();
        let address = admin.local_addr();
        let running = admin.start(Arc::new(control), Arc::new(Fake::default()), None).unwrap();
        let outcome = ask(address, token(shown)).map_err(|problems| problems.to_string());
        assert_eq!(running.finish(Instant::now() + PATIENCE), 0);
        outcome
    }

    #[test]
    fn a_reload_says_how_many_backends_have_changed() {
        let counts = answer(Fake::default(), None, None).unwrap();
        assert_eq!(counts.to_string(), "1 added, 1 removed, 2 kept");
        assert_eq!(answer(Fake::default(), Some(SECRET), Some(SECRET)), Ok(counts));
    }

    #[test]
    fn a_reload_that_fails_says_every_reason() {
        let control = Fake { problems: vec!["one is wrong".into(), "so is two".into()], ..Fake::default() };
        assert_eq!(answer(control, None, None).unwrap_err(), "one is wrong\nso is two");
    }

    #[test]
    fn a_token_that_is_missing_or_wrong_is_asked_for() {
        for shown in [None, Some("another-secret-than-that")] {
            let problem = answer(Fake::default(), Some(SECRET), shown).unwrap_err();
            assert!(problem.contains("--admin-token-file"), "{problem}");
        }
    }

    #[test]
    fn a_stranger_is_not_understood() {
        for body in ["{}", r#"{"added":3}"#, r#"{"added":[],"removed":[]}"#] {
            assert_eq!(counts(&serde_json::from_str(body).unwrap()), None, "{body}");
        }
    }
}

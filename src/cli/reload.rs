//! The command `turnwheel reload`: asks a running balancer to read its configuration again.

use crate::admin::answers::changes::Reloaded;
use crate::admin::token::AdminToken;
use crate::cli::client::{AdminClient, AdminClientError};
use crate::cli::failure::Failure;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// How long to wait for the answer. A reload resolves host names, which can take seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many backends a reload has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Backends that are new.
    pub added: usize,
    /// Backends that are gone.
    pub removed: usize,
    /// Backends that stay.
    pub kept: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { added, removed, kept } = self;
        write!(f, "{added} added, {removed} removed, {kept} kept")
    }
}

/// Makes the balancer with this admin address reload its configuration, and returns what has changed.
///
/// # Errors
/// When there is no answer, or the configuration is not valid: every reason.
pub fn ask(admin: SocketAddr, token: Option<AdminToken>) -> Result<Counts, Failure> {
    let client = AdminClient::new(admin, token, TIMEOUT);
    let Reloaded { added, removed, kept } = client.post("/api/reload").map_err(|error| match error {
        AdminClientError::Refused { problems, .. } if !problems.is_empty() => Failure::new(problems),
        error => Failure::from(error.to_string()),
    })?;
    Ok(Counts { added: added.len(), removed: removed.len(), kept: kept.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;
    use crate::admin::listener::Admin;
    use crate::admin::options::AdminOptions;
    use std::sync::Arc;
    use std::time::Instant;

    const SECRET: &str = "sixteen-letters!";

    /// Returns the outcome of a reload, where the listener requires one token and the command sends another.
    fn answer(control: Fake, secret: Option<&str>, shown: Option<&str>) -> Result<Counts, String> {
        let token = |text: Option<&str>| text.map(|text| AdminToken::from_text(text).unwrap());
        let listen = "127.0.0.1:0".parse().unwrap();
        let admin = Admin::bind(AdminOptions { listen, token: token(secret) }).unwrap();
        let address = admin.local_addr();
        let running = admin.start(Arc::new(control), Arc::new(Fake::default()), None).unwrap();
        let outcome = ask(address, token(shown)).map_err(|failure| failure.to_string());
        assert_eq!(running.finish(Instant::now() + TIMEOUT), 0);
        outcome
    }

    #[test]
    fn counts_the_backends_that_have_changed() {
        let counts = answer(Fake::default(), None, None).unwrap();
        assert_eq!(counts.to_string(), "1 added, 1 removed, 2 kept");
        assert_eq!(answer(Fake::default(), Some(SECRET), Some(SECRET)), Ok(counts));
    }

    #[test]
    fn says_every_reason_why_it_failed() {
        let control = Fake { problems: vec!["one is wrong".into(), "so is two".into()], ..Fake::default() };
        assert_eq!(answer(control, None, None).unwrap_err(), "one is wrong\nso is two");
    }

    #[test]
    fn tells_a_missing_token_from_a_wrong_one() {
        for (shown, sentence) in [
            (None, "requires a token; name its file with --admin-token-file"),
            (
                Some("another-secret-than-that"),
                "does not accept this token; check the file that --admin-token-file names",
            ),
        ] {
            let problem = answer(Fake::default(), Some(SECRET), shown).unwrap_err();
            assert!(problem.ends_with(sentence), "{problem}");
        }
    }
}

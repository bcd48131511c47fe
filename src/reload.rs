//! The command `turnwheel reload`: asks a running balancer to read its configuration again.

use crate::admin::Token;
use crate::settings::Problems;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use ureq::Agent;

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
pub fn ask(admin: SocketAddr, token: Option<&Token>) -> Result<Counts, Problems> {
    let problem = |error| Problems(vec![in_words(admin, &error)]);
    // Whatever proxy the environment names, it is not between an operator and this machine.
    let config = Agent::config_builder().proxy(None).http_status_as_error(false).max_redirects(0);
    let agent = Agent::new_with_config(config.timeout_global(Some(PATIENCE)).build());
    let mut request =
        agent.post(format!("http://{admin}/api/reload")).header(CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token.as_credentials());
    }
    let mut reply = request.send_empty().map_err(problem)?;
    let body = reply.body_mut().read_to_vec().map_err(problem)?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    understand(admin, reply.status(), &body)
}

/// What the reply means.
fn understand(admin: SocketAddr, status: StatusCode, body: &Value) -> Result<Counts, Problems> {
    let count = |name| body[name].as_array().map(Vec::len);
    if status == StatusCode::OK
        && let (Some(added), Some(removed), Some(kept)) = (count("added"), count("removed"), count("kept"))
    {
        return Ok(Counts { added, removed, kept });
    }
    let problems = body["problems"].as_array().into_iter().flatten();
    let problems: Vec<_> = problems.filter_map(Value::as_str).map(str::to_owned).collect();
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    Err(Problems(vec![match (status, body["error"].as_str()) {
        (StatusCode::UNAUTHORIZED, Some(_)) => {
            format!("the admin listener on {admin} wants its token; name the file with --admin-token-file")
        }
        (_, Some(error)) => format!("the admin listener on {admin} refuses: {error}"),
        (_, None) => format!("{admin} answers with {status}, and not as an admin listener would"),
    }]))
}

/// Why nobody was asked, in one sentence.
fn in_words(admin: SocketAddr, error: &ureq::Error) -> String {
    match error {
        ureq::Error::ConnectionFailed => nobody(admin),
        ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => nobody(admin),
        ureq::Error::Timeout(_) => {
            format!("nobody has answered on {admin} for {} s", PATIENCE.as_secs())
        }
        _ => format!("cannot ask the admin listener on {admin}: {error}"),
    }
}

fn nobody(admin: SocketAddr) -> String {
    format!("nobody listens on {admin}; is the admin listener on? start it with --admin {admin}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;
    use crate::admin::{Admin, Options};
    use std::sync::Arc;
    use std::time::Instant;

    const SECRET: &str = "sixteen-letters!";

    /// What a listener says that is asked in this way.
    fn answer(control: Fake, secret: Option<&str>, shown: Option<&str>) -> Result<Counts, String> {
        let token = |text: Option<&str>| text.map(|text| Token::from_text(text).unwrap());
        let listen = "127.0.0.1:0".parse().unwrap();
        let admin = Admin::bind(Options { listen, token: token(secret) }).unwrap();
        let address = admin.local_addr();
        let running = admin.start(Arc::new(control), Arc::new(Fake::default()), None).unwrap();
        let outcome = ask(address, token(shown).as_ref()).map_err(|problems| problems.to_string());
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
        let admin = crate::admin::LISTEN;
        for (status, body) in [(200, "null"), (200, "{}"), (404, "\"text\""), (200, r#"{"added":3}"#)] {
            let body = serde_json::from_str(body).unwrap();
            let outcome = understand(admin, StatusCode::from_u16(status).unwrap(), &body);
            let problem = outcome.unwrap_err().to_string();
            assert!(problem.contains("not as an admin listener would"), "{problem}");
        }
        let body = serde_json::json!({ "error": "no" });
        let problem = understand(admin, StatusCode::FORBIDDEN, &body).unwrap_err().to_string();
        assert!(problem.ends_with("refuses: no"), "{problem}");
    }
}

//! Client of the admin listener, for the commands that talk to a running balancer.

use crate::admin::answers::changes::Problem;
use crate::admin::token::AdminToken;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use ureq::{Agent, RequestBuilder};

/// Characters of a string that are kept. Every sentence of the balancer's own is shorter.
const LONGEST: usize = 500;

/// Sends requests to one admin listener, over connections that are kept alive.
#[derive(Debug)]
pub struct AdminClient {
    admin: SocketAddr,
    token: Option<AdminToken>,
    timeout: Duration,
    agent: Agent,
}

/// Why a request to the admin listener failed, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminClientError {
    /// The connection was refused.
    #[error("nothing listens on {0}; is the admin listener on? start it with --admin {0}")]
    NotListening(SocketAddr),
    /// The reply took too long.
    #[error("no answer from {admin} within {} s", timeout.as_secs())]
    Timeout {
        /// Address of the listener.
        admin: SocketAddr,
        /// How long the client has waited.
        timeout: Duration,
    },
    /// The exchange failed in another way.
    #[error("cannot reach the admin listener on {admin}: {reason}")]
    Unreachable {
        /// Address of the listener.
        admin: SocketAddr,
        /// What went wrong.
        reason: String,
    },
    /// The listener requires a token, and none was sent.
    #[error("the admin listener on {0} requires a token; name its file with --admin-token-file")]
    TokenRequired(SocketAddr),
    /// The listener does not accept the token that was sent.
    #[error(
        "the admin listener on {0} does not accept this token; check the file that --admin-token-file names"
    )]
    WrongToken(SocketAddr),
    /// The listener has refused the request.
    #[error("the admin listener on {admin} refuses: {reason}")]
    Refused {
        /// Address of the listener.
        admin: SocketAddr,
        /// Its reason.
        reason: String,
        /// Every single reason, if it gives more than one.
        problems: Vec<String>,
    },
    /// The reply is not one of an admin listener.
    #[error("{admin} answered with status {status}, but is not an admin listener; check the address")]
    NotAdmin {
        /// Address of the listener.
        admin: SocketAddr,
        /// Status of the reply.
        status: StatusCode,
    },
}

impl AdminClient {
    /// Creates a client that waits up to `timeout` for each reply.
    pub fn new(admin: SocketAddr, token: Option<AdminToken>, timeout: Duration) -> Self {
        // A proxy named in the environment is not for connections to the balancer.
        let config = Agent::config_builder().proxy(None).http_status_as_error(false).max_redirects(0);
        let agent = Agent::new_with_config(config.timeout_global(Some(timeout)).build());
        AdminClient { admin, token, timeout, agent }
    }

    /// Sends a GET request and returns the answer.
    ///
    /// # Errors
    /// When there is no answer, or not one of this type.
    #[cfg(feature = "top")]
    pub fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, AdminClientError> {
        self.read(self.authorized(self.agent.get(self.url(path))).call())
    }

    /// Sends a POST request without a body and returns the answer.
    ///
    /// # Errors
    /// When there is no answer, or not one of this type.
    pub fn post<A: DeserializeOwned>(&self, path: &str) -> Result<A, AdminClientError> {
        let request = self.agent.post(self.url(path)).header(CONTENT_TYPE, "application/json");
        self.read(self.authorized(request).send_empty())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    fn authorized<Body>(&self, request: RequestBuilder<Body>) -> RequestBuilder<Body> {
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token.as_credentials()),
            None => request,
        }
    }

    fn read<A: DeserializeOwned>(
        &self,
        reply: Result<http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<A, AdminClientError> {
        let failed = |error| self.failure(&error);
        let mut reply = reply.map_err(failed)?;
        let body = reply.body_mut().read_to_vec().map_err(failed)?;
        self.interpret(reply.status(), serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Returns the answer in a reply. All its strings are made harmless for a terminal.
    fn interpret<A: DeserializeOwned>(&self, status: StatusCode, body: Value) -> Result<A, AdminClientError> {
        let (admin, body) = (self.admin, clean_strings(body));
        let not_admin = |_| AdminClientError::NotAdmin { admin, status };
        if status.is_success() {
            return serde_json::from_value(body).map_err(not_admin);
        }
        let Problem { error, problems } = serde_json::from_value(body).map_err(not_admin)?;
        match status {
            StatusCode::UNAUTHORIZED if self.token.is_some() => Err(AdminClientError::WrongToken(admin)),
            StatusCode::UNAUTHORIZED => Err(AdminClientError::TokenRequired(admin)),
            _ => Err(AdminClientError::Refused { admin, reason: error, problems }),
        }
    }

    fn failure(&self, error: &ureq::Error) -> AdminClientError {
        let admin = self.admin;
        match error {
            ureq::Error::ConnectionFailed => AdminClientError::NotListening(admin),
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                AdminClientError::NotListening(admin)
            }
            ureq::Error::Timeout(_) => AdminClientError::Timeout { admin, timeout: self.timeout },
            _ => AdminClientError::Unreachable { admin, reason: clean(&error.to_string()) },
        }
    }
}

/// Cleans every string in a JSON value, the keys of its objects included.
pub fn clean_strings(value: Value) -> Value {
    match value {
        Value::String(text) => clean(&text).into(),
        Value::Array(values) => values.into_iter().map(clean_strings).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (clean(&name), clean_strings(value))).collect()
        }
        other => other,
    }
}

/// Returns a text from the network as it may be written to a terminal: without characters that move the cursor, change
/// colours, turn the writing direction or are invisible, and cut at [`LONGEST`] characters.
fn clean(text: &str) -> String {
    let visible = |c: char| if is_invisible(c) { '·' } else { c };
    text.chars().take(LONGEST).map(visible).collect()
}

/// Whether a character is a control character (C0, DEL or C1) or an invisible formatting character.
fn is_invisible(c: char) -> bool {
    let formats = ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
    c.is_control()
        || formats.iter().any(|range| range.contains(&c))
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::answers::changes::Reloaded;
    use crate::admin::answers::fixture;
    use crate::admin::answers::state::State;
    use crate::admin::options::LISTEN;
    use serde_json::json;

    fn client() -> AdminClient {
        AdminClient::new(LISTEN, None, Duration::from_secs(1))
    }

    #[test]
    fn tells_an_answer_that_is_not_an_admin_listeners() {
        for (status, body) in [
            (200, "null"),
            (404, "\"text\""),
            (200, "[]"),
            (500, "{}"),
            (401, "null"),
            (200, "{}"),
            (200, r#"{"added":3}"#),
            (200, r#"{"added":[],"removed":[]}"#),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let body: Value = serde_json::from_str(body).unwrap();
            let error = client().interpret::<Reloaded>(status, body).unwrap_err();
            assert!(error.to_string().contains("but is not an admin listener"), "{error}");
        }
        let body = json!({ "added": ["a:1"], "removed": [], "kept": [] });
        let reloaded: Reloaded = client().interpret(StatusCode::CREATED, body).unwrap();
        assert_eq!(reloaded.added, ["a:1"]);
    }

    #[test]
    fn passes_a_refusal_on_in_its_own_words_without_control_characters() {
        let body = json!({ "error": "no\u{1b}[2J", "problems": ["one\n", "two"] });
        let error = client().interpret::<Reloaded>(StatusCode::FORBIDDEN, body).unwrap_err();
        assert!(error.to_string().ends_with("refuses: no·[2J"), "{error}");
        let AdminClientError::Refused { problems, .. } = error else { panic!("{error}") };
        assert_eq!(problems, ["one·", "two"]);
    }

    #[test]
    fn cleans_every_string_of_an_answer() {
        let mut body = json!(fixture::state());
        body["busy"][0]["path"] = "/\u{1b}]0;owned\u{7}".into();
        body["backends"][0]["why"] = "\u{9b}2J".into();
        body["requests"] = json!({ "2xx\n": 1 });
        let state: State = client().interpret(StatusCode::OK, body).unwrap();
        assert_eq!((&*state.busy[0].path, &*state.backends[0].why), ("/·]0;owned·", "·2J"));
        assert_eq!(state.requests.into_keys().collect::<Vec<_>>(), ["2xx·"]);
    }

    #[test]
    fn keeps_visible_characters_and_replaces_others() {
        assert_eq!(clean("GET /a?b=ü 漢 \u{1f600}"), "GET /a?b=ü 漢 \u{1f600}");
        let hostile =
            "\u{0}\u{7}\u{8}\t\r\n\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{200b}\u{202e}\u{2066}\u{feff}\u{e0041}";
        assert!(clean(hostile).chars().all(|c| c == '·'), "{:?}", clean(hostile));
        assert_eq!(clean(&"x".repeat(LONGEST + 1)).len(), LONGEST);
    }
}

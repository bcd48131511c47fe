//! Whoever looks after a running balancer asks its admin listener from here: the other side of [`admin`](crate::admin),
//! for the commands that do so.

use crate::admin::Token;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use ureq::{Agent, RequestBuilder};

/// Characters of a text that are shown at most. No sentence of the balancer's own is that long.
const LONGEST: usize = 500;

/// Asks one admin listener, over connections that are kept.
#[derive(Debug)]
pub struct AdminClient {
    admin: SocketAddr,
    token: Option<Token>,
    patience: Duration,
    agent: Agent,
}

/// Why there is no answer of use, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The connection was refused.
    #[error("nobody listens on {0}; is the admin listener on? start it with --admin {0}")]
    Nobody(SocketAddr),
    /// It took too long.
    #[error("nobody has answered on {admin} for {} s", patience.as_secs())]
    Silence {
        /// Who was asked.
        admin: SocketAddr,
        /// For how long.
        patience: Duration,
    },
    /// Something else went wrong on the way.
    #[error("cannot ask the admin listener on {admin}: {reason}")]
    Unreachable {
        /// Who was asked.
        admin: SocketAddr,
        /// What went wrong.
        reason: String,
    },
    /// There is a token, and it was not shown.
    #[error("the admin listener on {0} wants its token; name the file with --admin-token-file")]
    Token(SocketAddr),
    /// The listener has understood, and does not want to.
    #[error("the admin listener on {admin} refuses: {reason}")]
    Refused {
        /// Who was asked.
        admin: SocketAddr,
        /// What it says.
        reason: String,
        /// The single reasons, if it gives more than one.
        problems: Vec<String>,
    },
    /// Whoever answers there is something else.
    #[error("{admin} answers with {status}, and not as an admin listener would")]
    Stranger {
        /// Who was asked.
        admin: SocketAddr,
        /// What came back.
        status: StatusCode,
    },
}

impl AdminClient {
    /// One who waits so long for each answer.
    pub fn new(admin: SocketAddr, token: Option<Token>, patience: Duration) -> Self {
        // Whatever proxy the environment names, it is not between an client and this machine.
        let config = Agent::config_builder().proxy(None).http_status_as_error(false).max_redirects(0);
        let agent = Agent::new_with_config(config.timeout_global(Some(patience)).build());
        AdminClient { admin, token, patience, agent }
    }

    /// Asks how something is.
    ///
    /// # Errors
    /// When there is no answer of use.
    pub fn get(&self, path: &str) -> Result<Value, Problem> {
        self.understand(self.shown(self.agent.get(self.url(path))).call())
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// When it was not.
    pub fn post(&self, path: &str) -> Result<Value, Problem> {
        let request = self.agent.post(self.url(path)).header(CONTENT_TYPE, "application/json");
        self.understand(self.shown(request).send_empty())
    }

    /// An answer that was understood as JSON, and has not what an admin listener's has.
    pub fn stranger(&self, status: StatusCode) -> Problem {
        Problem::Stranger { admin: self.admin, status }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// The request with the token, if there is one to show.
    fn shown<Body>(&self, request: RequestBuilder<Body>) -> RequestBuilder<Body> {
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token.as_credentials()),
            None => request,
        }
    }

    fn understand(&self, reply: Result<http::Response<ureq::Body>, ureq::Error>) -> Result<Value, Problem> {
        let problem = |error| self.in_words(&error);
        let mut reply = reply.map_err(problem)?;
        let body = reply.body_mut().read_to_vec().map_err(problem)?;
        self.judge(reply.status(), serde_json::from_slice(&body).unwrap_or_default())
    }

    /// What the reply means.
    fn judge(&self, status: StatusCode, body: Value) -> Result<Value, Problem> {
        let admin = self.admin;
        if status.is_success() && body.is_object() {
            return Ok(body);
        }
        match body["error"].as_str() {
            None => Err(self.stranger(status)),
            Some(_) if status == StatusCode::UNAUTHORIZED => Err(Problem::Token(admin)),
            Some(reason) => {
                let problems = body["problems"].as_array().into_iter().flatten();
                let problems = problems.filter_map(Value::as_str).map(clean).collect();
                Err(Problem::Refused { admin, reason: clean(reason), problems })
            }
        }
    }

    fn in_words(&self, error: &ureq::Error) -> Problem {
        let admin = self.admin;
        match error {
            ureq::Error::ConnectionFailed => Problem::Nobody(admin),
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => Problem::Nobody(admin),
            ureq::Error::Timeout(_) => Problem::Silence { admin, patience: self.patience },
            _ => Problem::Unreachable { admin, reason: clean(&error.to_string()) },
        }
    }
}

/// A text from the network as it may be written to a terminal: nothing in it moves the cursor, changes colours,
/// turns the direction of writing or cannot be seen, and it ends at some point.
pub fn clean(text: &str) -> String {
    let visible = |c: char| if is_invisible(c) { '·' } else { c };
    text.chars().take(LONGEST).map(visible).collect()
}

/// Control characters (C0, DEL and C1), and those that format a text without being part of it.
fn is_invisible(c: char) -> bool {
    let formats = ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
    c.is_control()
        || formats.iter().any(|range| range.contains(&c))
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn client() -> AdminClient {
        AdminClient::new(crate::admin::LISTEN, None, Duration::from_secs(1))
    }

    #[test]
    fn what_is_not_json_or_not_an_object_comes_from_a_stranger() {
        for (status, body) in [(200, "null"), (404, "\"text\""), (200, "[]"), (500, "{}"), (401, "null")] {
            let status = StatusCode::from_u16(status).unwrap();
            let problem = client().judge(status, serde_json::from_str(body).unwrap()).unwrap_err();
            assert!(problem.to_string().ends_with("and not as an admin listener would"), "{problem}");
        }
        assert_eq!(client().judge(StatusCode::CREATED, json!({ "a": 1 })), Ok(json!({ "a": 1 })));
    }

    #[test]
    fn a_refusal_is_given_in_its_own_words_and_harmless() {
        let body = json!({ "error": "no\u{1b}[2J", "problems": ["one\n", 2, "two"] });
        let problem = client().judge(StatusCode::FORBIDDEN, body).unwrap_err();
        assert!(problem.to_string().ends_with("refuses: no·[2J"), "{problem}");
        let Problem::Refused { problems, .. } = problem else { panic!("{problem}") };
        assert_eq!(problems, ["one·", "two"]);
    }

    #[test]
    fn what_is_shown_can_be_seen() {
        assert_eq!(clean("GET /a?b=ü 漢 \u{1f600}"), "GET /a?b=ü 漢 \u{1f600}");
        let hostile =
            "\u{0}\u{7}\u{8}\t\r\n\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{200b}\u{202e}\u{2066}\u{feff}\u{e0041}";
        assert!(clean(hostile).chars().all(|c| c == '·'), "{:?}", clean(hostile));
        assert_eq!(clean(&"x".repeat(LONGEST + 1)).len(), LONGEST);
    }
}

//! A reply of the admin listener: a status with JSON, metrics, or a file of the live page.

use super::answers::changes::Problem;
use super::page::{self, Asset};
use crate::cluster::change::ChangeError;
use crate::edge::exchange::Exchange;
use crate::edge::relay::ReplyBuffers;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode, response};
use serde::Serialize;
use serde_json::json;

/// Headers of every reply: no cache stores it, and no browser guesses another type. There is no CORS header, because
/// only the listener's own page may read its replies.
const HEADERS: [(HeaderName, &str); 2] = [(CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// A reply that is not sent yet.
pub struct AdminReply {
    pub status: StatusCode,
    /// Media type of the body.
    pub kind: &'static str,
    pub text: String,
    /// Headers that belong to the status or the type.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl AdminReply {
    /// Returns a reply with a JSON body, its keys sorted. The body ends with a line break, since people read it in
    /// terminals.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        // A `Value` sorts its keys, so that their order does not depend on the order of fields in the types.
        let (status, body) = match serde_json::to_value(body) {
            Ok(body) => (status, body),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": error.to_string() })),
        };
        AdminReply { status, kind: "application/json", text: format!("{body}\n"), headers: Vec::new() }
    }

    /// Returns metrics in Prometheus' text format.
    pub fn metrics(text: String) -> Self {
        AdminReply { status: StatusCode::OK, kind: prometheus::TEXT_FORMAT, text, headers: Vec::new() }
    }

    /// Returns a file of the live page.
    pub fn asset(asset: &Asset) -> Self {
        let headers = page::HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))).into();
        AdminReply { status: StatusCode::OK, kind: asset.kind, text: asset.text.to_owned(), headers }
    }

    /// Returns a reply with status 200 and a JSON body.
    pub fn ok(body: &impl Serialize) -> Self {
        AdminReply::json(StatusCode::OK, body)
    }

    /// Returns a reply that says in one sentence why the request is not served.
    pub fn error(status: StatusCode, sentence: impl Into<String>) -> Self {
        AdminReply::json(status, &Problem { error: sentence.into(), problems: Vec::new() })
    }

    /// Sends the reply. Does nothing if one has begun already.
    pub fn send(self, exchange: &mut Exchange, buffers: &mut ReplyBuffers) {
        let length = Some(self.text.len() as u64);
        // The reply can fail only if the client has disconnected.
        let _ = exchange.reply(&self.head(), length, &mut self.text.as_bytes(), buffers);
    }

    fn head(&self) -> response::Parts {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = self.status;
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        head.headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
        head.headers.extend(self.headers.iter().cloned());
        head
    }
}

/// The reply to a change that was not made.
impl From<ChangeError> for AdminReply {
    fn from(error: ChangeError) -> Self {
        AdminReply::error(status_of(&error), error.to_string())
    }
}

fn status_of(error: &ChangeError) -> StatusCode {
    match error {
        ChangeError::Unknown(_) => StatusCode::NOT_FOUND,
        ChangeError::Duplicate(_) | ChangeError::NotNow(_) => StatusCode::CONFLICT,
        ChangeError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

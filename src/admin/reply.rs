//! One answer of the admin listener: a status and JSON, or metrics, or a file of the live page.

use super::page::{self, Asset};
use crate::cluster::change::ChangeError;
use crate::edge::Exchange;
use crate::edge::relay::ReplyBuffers;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode, response};
use serde_json::{Value, json};

/// What every answer says besides its type: nobody on the way keeps it, and no browser takes it for something
/// else. There is no CORS header among them: what is said here is for no web page but the listener's own.
const HEADERS: [(HeaderName, &str); 2] = [(CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// An answer that is not sent yet.
pub struct Reply {
    pub status: StatusCode,
    /// Its media type.
    pub kind: &'static str,
    pub text: String,
    /// The headers that its status calls for, or its type.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    /// This status, with this body, on a line of its own, since people read it in terminals.
    pub fn new(status: StatusCode, body: Value) -> Self {
        Reply { status, kind: "application/json", text: format!("{body}\n"), headers: Vec::new() }
    }

    /// What Prometheus has asked for, as it wants it.
    pub fn metrics(text: String) -> Self {
        Reply { status: StatusCode::OK, kind: prometheus::TEXT_FORMAT, text, headers: Vec::new() }
    }

    /// A file of the live page.
    pub fn asset(asset: &Asset) -> Self {
        let headers = page::HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))).into();
        Reply { status: StatusCode::OK, kind: asset.kind, text: asset.text.to_owned(), headers }
    }

    /// What was asked for.
    pub fn ok(body: Value) -> Self {
        Reply::new(StatusCode::OK, body)
    }

    /// Why not, in one sentence.
    pub fn error(status: StatusCode, sentence: impl Into<String>) -> Self {
        Reply::new(status, json!({ "error": sentence.into() }))
    }

    /// Sends it, unless a reply has begun already.
    pub fn send(self, exchange: &mut Exchange, buffers: &mut ReplyBuffers) {
        let length = Some(self.text.len() as u64);
        // A client that goes away in the middle is its own business.
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

/// A change that was not made.
impl From<ChangeError> for Reply {
    fn from(rejected: ChangeError) -> Self {
        Reply::error(status_of(&rejected), rejected.to_string())
    }
}

/// Returns the status code of the answer to a change that is not made.
fn status_of(error: &ChangeError) -> StatusCode {
    match error {
        ChangeError::Unknown(_) => StatusCode::NOT_FOUND,
        ChangeError::Duplicate(_) | ChangeError::NotNow(_) => StatusCode::CONFLICT,
        ChangeError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

//! One answer of the admin listener: a status and JSON.

use crate::edge::Exchange;
use crate::edge::wire::Scratch;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode, response};
use serde_json::{Value, json};

/// What every answer says: it is JSON, nobody on the way keeps it, and no browser takes it for a page or a
/// script. There is no CORS header among them: what is said here is for no web page.
const HEADERS: [(HeaderName, &str); 3] =
    [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// An answer that is not sent yet.
pub struct Reply {
    pub status: StatusCode,
    pub body: Value,
    /// The header that its status calls for, if any.
    pub header: Option<(HeaderName, HeaderValue)>,
}

impl Reply {
    /// This status, with this body.
    pub fn new(status: StatusCode, body: Value) -> Self {
        Reply { status, body, header: None }
    }

    /// What was asked for.
    pub fn ok(body: Value) -> Self {
        Reply::new(StatusCode::OK, body)
    }

    /// Why not, in one sentence.
    pub fn error(status: StatusCode, sentence: impl Into<String>) -> Self {
        Reply::new(status, json!({ "error": sentence.into() }))
    }

    /// The body as it is sent: on a line of its own, since people read it in terminals.
    pub fn text(&self) -> String {
        format!("{}\n", self.body)
    }

    /// Sends it, unless a reply has begun already.
    pub fn send(self, exchange: &mut Exchange, scratch: &mut Scratch) {
        let text = self.text();
        let length = Some(text.len() as u64);
        // A client that goes away in the middle is its own business.
        let _ = exchange.reply(&self.into_head(), length, &mut text.as_bytes(), scratch);
    }

    fn into_head(self) -> response::Parts {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = self.status;
        head.headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
        head.headers.extend(self.header);
        head
    }
}

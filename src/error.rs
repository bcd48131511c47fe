//! The errors of a request ([`Refusal`], which becomes a status for the client) and of the start ([`StartError`], one sentence that
//! says what to do).

use http::StatusCode;
use http::header::{self, HeaderName};
use std::{io, net::SocketAddr};

/// The reason for which the balancer answers a request itself.
///
/// The text of each is the body that the client reads; it contains no internal address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request violates RFC 9112 or is ambiguous. 400.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// The method is TRACE. 405.
    #[error("this method is not allowed here")]
    MethodNotAllowed,
    /// The method is CONNECT, which a gateway does not serve. 501.
    #[error("this method is not implemented")]
    NotImplemented,
    /// The version is neither HTTP/1.1 nor HTTP/1.0. 505.
    #[error("only HTTP/1.1 and HTTP/1.0 are supported")]
    Version,
    /// The request has an `Expect` other than `100-continue`. 417.
    #[error("this expectation cannot be met")]
    Expectation,
    /// The request target is longer than its limit or than the limit for a whole head. 414.
    #[error("the request target is too long")]
    UriTooLong,
    /// The head has more bytes or more lines than the limits allow. 431.
    #[error("the request head is too large")]
    HeadTooLarge,
    /// The body is larger than the limit. 413.
    #[error("the request body is too large")]
    BodyTooLarge,
    /// The client began a request and did not send the end of its head in time. 408.
    #[error("the request head took too long to arrive")]
    HeadTooSlow,
    /// The client paused its upload for longer than the timeout. 408.
    #[error("the request body took too long to arrive")]
    ClientTooSlow,
    /// The client broke off its upload, and probably does not read this answer. 400.
    #[error("the request body ended early")]
    ClientGone,
    /// The limit of connections is reached, in all or for this client. 503.
    #[error("too many connections: try again shortly")]
    TooManyConnections,
    /// The queue of the workers is full. 503.
    #[error("too many requests are waiting: try again shortly")]
    QueueFull,
    /// No worker took the request from the queue in time. 503.
    #[error("no worker was free in time: try again shortly")]
    QueuedTooLong,
    /// Every usable backend stayed at its in-flight limit for too long. 503.
    #[error("every server is busy: try again shortly")]
    AllFull,
    /// No backend is usable. 503.
    #[error("no server is available: try again shortly")]
    NoBackend,
    /// No try produced a reply that can be relayed. 502.
    #[error("no server gave a usable reply")]
    BadGateway,
    /// The backend did not reply in time. 504.
    #[error("the server took too long to reply")]
    BackendTooSlow,
}

impl Refusal {
    /// All variants.
    pub const ALL: [Refusal; 18] = [
        Refusal::BadRequest("not understood"),
        Refusal::MethodNotAllowed,
        Refusal::NotImplemented,
        Refusal::Version,
        Refusal::Expectation,
        Refusal::UriTooLong,
        Refusal::HeadTooLarge,
        Refusal::BodyTooLarge,
        Refusal::HeadTooSlow,
        Refusal::ClientTooSlow,
        Refusal::ClientGone,
        Refusal::TooManyConnections,
        Refusal::QueueFull,
        Refusal::QueuedTooLong,
        Refusal::AllFull,
        Refusal::NoBackend,
        Refusal::BadGateway,
        Refusal::BackendTooSlow,
    ];

    /// Returns its reason, a word in the metrics and the access log.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::BadRequest(_) => "bad_request",
            Refusal::MethodNotAllowed => "method_not_allowed",
            Refusal::NotImplemented => "not_implemented",
            Refusal::Version => "version",
            Refusal::Expectation => "expectation",
            Refusal::UriTooLong => "uri_too_long",
            Refusal::HeadTooLarge => "head_too_large",
            Refusal::BodyTooLarge => "body_too_large",
            Refusal::HeadTooSlow => "head_too_slow",
            Refusal::ClientTooSlow => "client_too_slow",
            Refusal::ClientGone => "client_gone",
            Refusal::TooManyConnections => "too_many_connections",
            Refusal::QueueFull => "queue_full",
            Refusal::QueuedTooLong => "queue_timeout",
            Refusal::AllFull => "backends_full",
            Refusal::NoBackend => "no_backend",
            Refusal::BadGateway => "bad_gateway",
            Refusal::BackendTooSlow => "backend_too_slow",
        }
    }

    /// Returns the status code of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::BadRequest(_) | Refusal::ClientGone => StatusCode::BAD_REQUEST,
            Refusal::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Refusal::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Refusal::Expectation => StatusCode::EXPECTATION_FAILED,
            Refusal::UriTooLong => StatusCode::URI_TOO_LONG,
            Refusal::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::HeadTooSlow | Refusal::ClientTooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::TooManyConnections
            | Refusal::QueueFull
            | Refusal::QueuedTooLong
            | Refusal::AllFull
            | Refusal::NoBackend => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::BadGateway => StatusCode::BAD_GATEWAY,
            Refusal::BackendTooSlow => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Returns the header that the status requires: Retry-After for 503 (RFC 9110 §10.2.3), Allow for 405 (§15.5.6), and `None`
    /// for the others.
    pub fn header(self) -> Option<(HeaderName, &'static str)> {
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            StatusCode::METHOD_NOT_ALLOWED => {
                Some((header::ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
            }
            _ => None,
        }
    }

    /// Returns the refusal for an upload that could not be read: the one that the edge has wrapped in the error, or
    /// [`Refusal::ClientGone`] for any other error.
    pub fn of_upload(error: &io::Error) -> Self {
        let refusal = error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>());
        refusal.copied().unwrap_or(Refusal::ClientGone)
    }

    /// Returns whether the request itself is at fault, so that the rest of its connection cannot be trusted.
    pub fn distrusts_connection(self) -> bool {
        self.status().is_client_error() || matches!(self, Refusal::Version | Refusal::NotImplemented)
    }
}

/// The reason for which the balancer could not start. What had been started has been stopped again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error("cannot listen on {address}: {}", bind_advice(.cause))]
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// The name of a backend could not be resolved.
    #[error("cannot find the address of backend {backend}: {cause}; check its name, or give an address")]
    Resolve {
        /// The backend as configured.
        backend: String,
        /// The error of the resolver.
        cause: io::Error,
    },
    /// The admin listener would be reachable from other machines without a token.
    #[error(
        "the admin listener on {address} would be open to other machines; set admin_token_file or listen on 127.0.0.1"
    )]
    OpenAdmin {
        /// The address as configured.
        address: SocketAddr,
    },
    /// The metrics could not be set up.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The operating system provided no random bytes.
    #[error("cannot get random bytes from the operating system: {0}")]
    Random(getrandom::Error),
    /// The operating system refused to start a thread.
    #[error("cannot start thread {name}: {cause}; fewer workers may help")]
    Thread {
        /// The thread's name.
        name: String,
        /// The error of the operating system.
        cause: io::Error,
    },
}

fn bind_advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use; stop the program that has it, or choose another port".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        io::ErrorKind::PermissionDenied => "permission denied; ports below 1024 are often reserved".into(),
        _ => error.to_string(),
    }
}

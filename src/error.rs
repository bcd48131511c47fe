//! What can go wrong: with one request ([`Refusal`]: which status the client gets), and at the
//! start ([`StartError`]: one sentence that says what to do).

use http::StatusCode;
use http::header::{self, HeaderName};
use std::{io, net::SocketAddr};

/// Why a request gets an answer of the balancer's own instead of a backend's.
///
/// The text of each is what the client reads: it names no inside address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request breaks RFC 9112, or could be understood in two ways. 400.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// TRACE. 405.
    #[error("this method is not allowed here")]
    MethodNotAllowed,
    /// CONNECT: this is a gateway, not a tunnel. 501.
    #[error("this method is not implemented")]
    NotImplemented,
    /// Neither HTTP/1.1 nor HTTP/1.0. 505.
    #[error("only HTTP/1.1 and HTTP/1.0 are spoken here")]
    Version,
    /// An `Expect` other than `100-continue`. 417.
    #[error("this expectation cannot be met")]
    Expectation,
    /// The request target is longer than the limit, or than a whole head may be. 414.
    #[error("the request target is too long")]
    UriTooLong,
    /// More header bytes or lines than the limits allow. 431.
    #[error("the request head is too large")]
    HeadTooLarge,
    /// A body larger than the limit. 413.
    #[error("the request body is too large")]
    BodyTooLarge,
    /// The client began a request and did not get to its blank line in time. 408.
    #[error("the request head took too long to arrive")]
    HeadTooSlow,
    /// The client sent nothing more of its body for too long. 408.
    #[error("the request body took too long to arrive")]
    ClientTooSlow,
    /// The client broke off its upload. It most likely never reads this. 400.
    #[error("the request body ended early")]
    ClientGone,
    /// There are as many connections as there may be, in all or from this client. 503.
    #[error("too many connections: try again shortly")]
    TooManyConnections,
    /// The queue in front of the workers is full. 503.
    #[error("too many requests are waiting: try again shortly")]
    QueueFull,
    /// No worker was free for this request in time. 503.
    #[error("no worker was free in time: try again shortly")]
    QueuedTooLong,
    /// Every backend that could serve it was full for too long. 503.
    #[error("every server is busy: try again shortly")]
    AllFull,
    /// There is no backend to choose. 503.
    #[error("no server is available: try again shortly")]
    NoBackend,
    /// Every try ended without a reply that can be relayed. 502.
    #[error("no server gave a usable reply")]
    BadGateway,
    /// The backend did not answer in time. 504.
    #[error("the server took too long to reply")]
    BackendTooSlow,
}

impl Refusal {
    /// One of each kind.
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

    /// What it is counted as.
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

    /// The status code of the answer.
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

    /// A header that this status calls for: Retry-After with 503 (RFC 9110 §10.2.3), Allow with 405
    /// (§15.5.6).
    pub fn header(self) -> Option<(HeaderName, &'static str)> {
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            StatusCode::METHOD_NOT_ALLOWED => {
                Some((header::ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
            }
            _ => None,
        }
    }

    /// What the client did wrong when its body could not be read: its edge wraps that in the error.
    pub fn of_upload(error: &io::Error) -> Self {
        let refusal = error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>());
        refusal.copied().unwrap_or(Refusal::ClientGone)
    }

    /// Is the client's own message at fault, so that nothing more of its connection can be trusted?
    pub fn distrusts_connection(self) -> bool {
        self.status().is_client_error() || matches!(self, Refusal::Version | Refusal::NotImplemented)
    }
}

/// Why the balancer could not start. Nothing is left half-started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error("cannot listen on {address}: {}", bind_advice(.cause))]
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A backend's name has no address.
    #[error("cannot find the address of backend {backend}: {cause}; check its name, or give an address")]
    Resolve {
        /// The backend as configured.
        backend: String,
        /// What the resolver said.
        cause: io::Error,
    },
    /// The admin listener would be open to whoever reaches it.
    #[error(
        "the admin listener on {address} could be used by anybody who reaches it; set admin_token_file or listen on 127.0.0.1"
    )]
    OpenAdmin {
        /// The address as configured.
        address: SocketAddr,
    },
    /// What is counted cannot be set up.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The operating system provided no random bytes.
    #[error("cannot get random bytes from the operating system: {0}")]
    Random(getrandom::Error),
    /// The operating system gave no thread.
    #[error("cannot start thread {name}: {cause}; fewer workers may help")]
    Thread {
        /// The thread's name.
        name: String,
        /// What the operating system said.
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

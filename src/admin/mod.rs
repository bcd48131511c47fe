//! Beside the path: a listener of its own for whoever runs the balancer.
//!
//! It is the balancer's own edge and queue, with two workers behind it who ask [`Control`] and [`Insight`] (and, in
//! the demo, [`DemoControls`]) in place of a backend. So an operator gets through while the workers of the traffic are busy,
//! and what a client may do there is as limited as anywhere. [`guard`] says who is served, `api` what there is,
//! and `page` has what a browser shows of it.

mod api;
mod control;
mod demo_controls;
mod fields;
pub mod guard;
mod membership_control;
mod overview;
mod page;
mod reply;
mod token;

use crate::edge::lifecycle::Edge;
use crate::edge::parked::ParkedEdge;
use crate::edge::relay::ReplyBuffers;
use crate::edge::server::Server;
use crate::edge::{self, Exchange};
use crate::error::StartError;
use crate::observe::recorder::Recorder;
use crate::queue::JobReceiver;
use crate::queue::options::QueueOptions;
pub use control::{BackendChange, Control, DemoControls, Insight, Reloaded, TrafficChange};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
pub use overview::Overview;
use reply::Reply;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
pub use token::{BadToken, Token};

/// The address that is asked by default: loopback only.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8090);

/// Threads that answer. While a reload takes its time, a probe gets through.
const ANSWERERS: usize = 2;

/// Connections at a time: some operators, their pages, some probes.
const MOST_CONNECTIONS: usize = 256;

/// How long a connection may be of no use: those that are forgotten must not take up all the places. A page asks more often.
const IDLE: Duration = Duration::from_secs(15);

/// Bytes of a request body. So much is gathered before a worker is asked.
const LARGEST_BODY: u64 = 64 << 10;

/// Where the listener is, and for whom.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// Where it listens. Port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// What operators have to show. Beyond loopback there must be one.
    pub token: Option<Token>,
}

/// The admin listener, with its address, and not serving yet.
pub struct Admin {
    edge: ParkedEdge,
    address: SocketAddr,
    token: Option<Token>,
}

/// The admin listener at work.
pub struct RunningAdmin(Server);

impl AdminOptions {
    /// May it be reached only from here, or is there a token?
    ///
    /// # Errors
    /// When anybody could use it.
    pub fn check(&self) -> Result<(), StartError> {
        if self.token.is_none() && !self.listen.ip().to_canonical().is_loopback() {
            return Err(StartError::OpenAdmin { address: self.listen });
        }
        Ok(())
    }
}

impl Admin {
    /// Binds the address.
    ///
    /// # Errors
    /// When it cannot be bound, or others could reach it and there is no token.
    pub fn bind(options: AdminOptions) -> Result<Self, StartError> {
        options.check()?;
        let AdminOptions { listen, token } = options;
        let clients = edge::EdgeOptions {
            limits: edge::request_head::Limits { body: LARGEST_BODY, ..Default::default() },
            max_connections: MOST_CONNECTIONS,
            idle_timeout: IDLE,
            ..Default::default()
        };
        // One worker may wait for a slow client, and not the other.
        let edge = ParkedEdge::bind(&[listen], &clients, ANSWERERS / 2)?;
        let address = edge.local_addrs().first().copied().unwrap_or(listen);
        Ok(Admin { edge, address, token })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Starts serving. Only the demo has demo_controls.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        self,
        control: Arc<dyn Control>,
        insight: Arc<dyn Insight>,
        demo_controls: Option<Arc<dyn DemoControls>>,
    ) -> Result<RunningAdmin, StartError> {
        let Admin { edge, address, token } = self;
        let options = QueueOptions { capacity: MOST_CONNECTIONS, ..Default::default() };
        let handler = Arc::new(Handler { control, insight, demo_controls, address, token });
        let worker = |handler: Arc<Handler>| move |jobs: JobReceiver| handler.answer_all(jobs);
        let workers = (0..ANSWERERS).map(|_| worker(Arc::clone(&handler))).collect();
        let server =
            Server::start("admin", vec![Box::new(edge)], options, Arc::new(Recorder::off()), workers)?;
        Ok(RunningAdmin(server))
    }
}

impl RunningAdmin {
    /// Stops accepting, finishes the requests under way until the deadline at most, and ends the threads. Returns how
    /// many had not ended by then.
    pub fn finish(self, deadline: Instant) -> usize {
        let RunningAdmin(mut server) = self;
        server.stop_accepting();
        server.wait_until_idle(Duration::ZERO, deadline);
        server.finish(deadline)
    }
}

/// What the workers share.
struct Handler {
    control: Arc<dyn Control>,
    insight: Arc<dyn Insight>,
    demo_controls: Option<Arc<dyn DemoControls>>,
    address: SocketAddr,
    token: Option<Token>,
}

impl Handler {
    /// Answers requests until the queue is closed and empty.
    fn answer_all(&self, mut receiver: JobReceiver) {
        let mut buffers = ReplyBuffers::default();
        while let Some(mut exchange) = receiver.take(Duration::MAX, &|| ()) {
            let answered = catch_unwind(AssertUnwindSafe(|| {
                self.answer(&mut exchange).send(&mut exchange, &mut buffers);
            }));
            if answered.is_err() {
                tracing::error!("an admin request made its worker panic; it goes on with the next one");
                let sorry = "this could not be done, and the balancer's log says why";
                Reply::error(StatusCode::INTERNAL_SERVER_ERROR, sorry).send(&mut exchange, &mut buffers);
            }
        }
    }

    fn answer(&self, exchange: &mut Exchange) -> Reply {
        let head = &exchange.head;
        let (method, target) = (head.method.clone(), head.uri.clone());
        match guard::check(&method, target.path(), &head.headers, self.address, self.token.as_ref()) {
            Ok(()) => {
                let demo_controls = self.demo_controls.as_deref();
                let balancer =
                    api::Balancer { control: &*self.control, insight: &*self.insight, demo_controls };
                api::answer(balancer, &method, &target, exchange)
            }
            Err(refused) => refusal(refused),
        }
    }
}

/// What a client is told who is not served: with 401, how to be (RFC 9110 §15.5.2).
fn refusal(refused: guard::Refused) -> Reply {
    let how = (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    let headers = (refused.status == StatusCode::UNAUTHORIZED).then_some(how).into_iter().collect();
    Reply { headers, ..Reply::error(refused.status, refused.reason) }
}

#[cfg(test)]
pub(crate) use control::fake;

#[cfg(test)]
mod tests {
    use super::control::fake::Fake;
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;

    const SECRET: &str = "sixteen-letters!";
    const GRACE: Duration = Duration::from_secs(10);

    fn admin(token: Option<&str>, control: Fake) -> (SocketAddr, RunningAdmin, Arc<Fake>) {
        let token = token.map(|text| Token::from_text(text).unwrap());
        let admin = Admin::bind(AdminOptions { listen: "127.0.0.1:0".parse().unwrap(), token }).unwrap();
        let (address, control) = (admin.local_addr(), Arc::new(control));
        let running = admin.start(Arc::clone(&control) as _, Arc::clone(&control) as _, None).unwrap();
        (address, running, control)
    }

    /// A connection to the listener, and what was said on it.
    struct Client(BufReader<TcpStream>, SocketAddr);

    struct Answer {
        status: u16,
        head: String,
        body: String,
    }

    impl Client {
        fn of(address: SocketAddr) -> Self {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(GRACE)).unwrap();
            Client(BufReader::new(stream), address)
        }

        /// Sends a head, which is given without its Host, and a body.
        fn ask(&mut self, head: &str, body: &str) -> Answer {
            let host = self.1;
            self.ask_as(&host.to_string(), head, body)
        }

        fn ask_as(&mut self, host: &str, head: &str, body: &str) -> Answer {
            let (line, fields) = head.split_once('\n').unwrap_or((head, ""));
            let fields: String = fields.lines().map(|line| format!("{}\r\n", line.trim())).collect();
            let length = body.len();
            let request =
                format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}Content-Length: {length}\r\n\r\n{body}");
            self.send(&request);
            self.answer(line.starts_with("HEAD"))
        }

        fn send(&mut self, bytes: &str) {
            self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
        }

        fn answer(&mut self, is_head: bool) -> Answer {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(self.0.read_line(&mut head).unwrap() > 0, "it ends after {head:?}");
            }
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let mut body = vec![0; if is_head { 0 } else { length.parse().unwrap() }];
            self.0.read_exact(&mut body).unwrap();
            let status = head[9..12].parse().unwrap();
            Answer { status, head, body: String::from_utf8(body).unwrap() }
        }
    }

    #[test]
    fn an_operator_is_served_on_one_connection() {
        let (address, running, control) = admin(None, Fake::default());
        let mut client = Client::of(address);
        let listed = client.ask("GET /api/backends?all", "");
        assert_eq!(listed.status, 200, "{}", listed.head);
        assert_eq!(listed.body, "{\"backends\":[{\"name\":\"127.0.0.1:8081\",\"weight\":1}]}\n");
        for line in [
            "Content-Type: application/json",
            "Cache-Control: no-store",
            "X-Content-Type-AdminOptions: nosniff",
        ] {
            assert!(listed.head.contains(&format!("{line}\r\n")), "{}", listed.head);
        }
        let head = client.ask("HEAD /api/backends", "");
        assert_eq!((head.status, &*head.body), (200, ""));
        let json = "Content-Type: application/json";
        let added = client.ask(&format!("POST /api/backends\n{json}"), r#"{"url":"http://a:1","weight":2}"#);
        assert_eq!(added.status, 201, "{}", added.body);
        let drained = client.ask(&format!("POST /api/backends/[::1]:8081/drain\n{json}"), "");
        assert_eq!(drained.status, 200, "{}", drained.body);
        assert_eq!(control.asked(), ["add http://a:1 2 false", "drain [::1]:8081"]);
        assert_eq!(running.finish(Instant::now() + GRACE), 0);
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }

    #[test]
    fn a_web_page_in_the_operators_browser_changes_nothing() {
        let (address, running, control) = admin(None, Fake::default());
        let mut client = Client::of(address);
        let form = "POST /api/reload\nOrigin: http://evil.example\nContent-Type: text/plain";
        let refused = client.ask(form, "{}");
        assert_eq!(refused.status, 415, "{}", refused.body);
        let preflight = "OPTIONS /api/reload\nOrigin: http://evil.example\n\
            Access-Control-Request-Method: POST\nAccess-Control-Request-Headers: content-type";
        let refused = client.ask(preflight, "");
        assert!(refused.status >= 400, "{}", refused.head);
        assert!(!refused.head.to_lowercase().contains("access-control"), "{}", refused.head);
        let rebound = format!("evil.example:{}", address.port());
        let refused = client.ask_as(&rebound, "POST /api/reload\nContent-Type: application/json", "{}");
        assert_eq!(refused.status, 403, "{}", refused.body);
        assert_eq!(client.ask_as(&rebound, "GET /healthz", "").status, 200, "a probe may use any name");
        let absolute = format!("GET http://{rebound}/api/backends");
        assert_eq!(client.ask(&absolute, "").status, 403, "the target's host counts");
        assert_eq!(control.asked(), [""; 0]);
        assert_eq!(running.finish(Instant::now() + GRACE), 0);
    }

    #[test]
    fn with_a_token_only_the_probes_are_open() {
        let not_ready = Fake { not_ready: Some("no backend is up"), ..Fake::default() };
        let (address, running, control) = admin(Some(SECRET), not_ready);
        let mut client = Client::of(address);
        assert_eq!(client.ask("GET /healthz", "").status, 200);
        let probe = client.ask("GET /readyz", "");
        assert_eq!(probe.status, 503);
        assert_eq!(probe.body, "{\"reason\":\"no backend is up\",\"status\":\"not ready\"}\n");
        let reload = "POST /api/reload\nContent-Type: application/json";
        for credentials in ["X: Y", "Authorization: Bearer sixteen-letters?", "Authorization: Basic abc"] {
            let refused = client.ask(&format!("{reload}\n{credentials}"), "");
            assert_eq!(refused.status, 401, "{credentials}");
            assert!(
                refused.head.to_lowercase().contains("\r\nwww-authenticate: bearer\r\n"),
                "{}",
                refused.head
            );
        }
        assert_eq!(control.asked(), [""; 0]);
        let answer = client.ask(&format!("{reload}\nAuthorization: bearer {SECRET}"), "");
        assert_eq!((answer.status, control.asked()), (200, vec!["reload".into()]), "{}", answer.body);
        assert_eq!(running.finish(Instant::now() + GRACE), 0);
    }

    #[test]
    fn the_page_is_served_without_the_token_to_whoever_asks_by_our_own_name() {
        let (address, running, _) = admin(Some(SECRET), Fake::default());
        let mut client = Client::of(address);
        let page = client.ask("GET /", "");
        assert!(
            page.status == 200 && page.body.starts_with("<!doctype html>"),
            "{} {}",
            page.head,
            page.body
        );
        let own = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
            base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        for line in [
            "Content-Type: text/html; charset=utf-8",
            "X-Content-Type-AdminOptions: nosniff",
            "Referrer-Policy: no-referrer",
            &format!("Content-Security-Policy: {own}"),
        ] {
            let head = page.head.to_lowercase();
            assert!(head.contains(&format!("{}\r\n", line.to_lowercase())), "{line} is not in {head}");
        }
        assert_eq!(client.ask("GET /page.js?again", "").status, 200);
        let head = client.ask("HEAD /", "");
        assert_eq!((head.status, &*head.body), (200, ""));
        assert_eq!(client.ask("POST /\nContent-Type: application/json", "{}").status, 405);
        assert_eq!(client.ask("POST /\nContent-Type: text/plain", "x").status, 415);
        let foreign = format!("evil.example:{}", address.port());
        assert_eq!(client.ask_as(&foreign, "GET /", "").status, 403);
        for path in ["/api/state", "/metrics", "//", "/page", "/index.html", "/page/page.js"] {
            assert_eq!(client.ask(&format!("GET {path}"), "").status, 401, "{path}");
        }
        assert_eq!(running.finish(Instant::now() + GRACE), 0);
    }

    #[test]
    fn a_body_that_is_too_large_is_refused_however_it_is_framed() {
        let (address, running, control) = admin(None, Fake::default());
        let large = "x".repeat(LARGEST_BODY as usize + 1);
        let head = "POST /api/backends\nContent-Type: application/json";
        assert_eq!(Client::of(address).ask(head, &large).status, 413);
        let mut client = Client::of(address);
        client.send(&format!(
            "POST /api/backends HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
            large.len()
        ));
        assert_eq!(client.answer(false).status, 413);
        assert_eq!(control.asked(), [""; 0]);
        assert_eq!(running.finish(Instant::now() + GRACE), 0);
    }

    #[test]
    fn a_panic_costs_one_request() {
        let (address, running, _) = admin(None, Fake::default());
        let mut client = Client::of(address);
        for _ in 0..2 * ANSWERERS {
            let panics =
                client.ask("POST /api/backends\nContent-Type: application/json", r#"{"url":"http://panic"}"#);
            assert_eq!(panics.status, 500);
            assert!(panics.body.starts_with("{\"error\":"), "{}", panics.body);
            assert_eq!(client.ask("GET /healthz", "").status, 200);
        }
        assert_eq!(running.finish(Instant::now() + GRACE), 0);
    }

    #[test]
    fn beyond_loopback_there_must_be_a_token() {
        for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:0.0.0.0]:0"] {
            let error =
                Admin::bind(AdminOptions { listen: listen.parse().unwrap(), token: None }).err().unwrap();
            let sentence = error.to_string();
            assert!(sentence.contains("set admin_token_file or listen on 127.0.0.1"), "{sentence}");
        }
        let token = Some(Token::from_text(SECRET).unwrap());
        let admin = Admin::bind(AdminOptions { listen: "0.0.0.0:0".parse().unwrap(), token }).unwrap();
        assert_ne!(admin.local_addr().port(), 0);
    }
}

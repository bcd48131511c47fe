//! The admin listener: an edge and a queue of its own, and the threads that answer.

use super::control::{Control, DemoControls, Insight};
use super::handler::Handler;
use super::options::AdminOptions;
use super::token::AdminToken;
use crate::edge::lifecycle::Edge;
use crate::edge::options::{EdgeOptions, Limits};
use crate::edge::parked::edge::ParkedEdge;
use crate::edge::server::Server;
use crate::error::StartError;
use crate::observe::recorder::Recorder;
use crate::queue::options::QueueOptions;
use crate::queue::receiver::JobReceiver;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Threads that answer. With two of them, probes are answered while a reload looks up names.
const ANSWERERS: usize = 2;

/// Connections at a time: some operators, their pages, some probes.
const MOST_CONNECTIONS: usize = 256;

/// The longest time that a connection may be idle, so that abandoned ones do not use up [`MOST_CONNECTIONS`]. A page
/// polls more often than that.
const IDLE: Duration = Duration::from_secs(15);

/// Bytes of a request body. The edge reads up to this much before a thread answers.
const LARGEST_BODY: u64 = 64 << 10;

/// The admin listener, bound to its address and not serving yet.
pub struct Admin {
    edge: ParkedEdge,
    address: SocketAddr,
    token: Option<AdminToken>,
}

/// The admin listener at work.
pub struct RunningAdmin(Server);

impl Admin {
    /// Binds the address.
    ///
    /// # Errors
    /// When it cannot be bound, or is not on loopback and there is no token.
    pub fn bind(options: AdminOptions) -> Result<Self, StartError> {
        options.check()?;
        let AdminOptions { listen, token } = options;
        let clients = EdgeOptions {
            limits: Limits { body: LARGEST_BODY, ..Default::default() },
            max_connections: MOST_CONNECTIONS,
            idle_timeout: IDLE,
            ..Default::default()
        };
        // One thread may wait for a slow client while the other one answers.
        let edge = ParkedEdge::bind(&[listen], &clients, ANSWERERS / 2)?;
        let address = edge.local_addrs().first().copied().unwrap_or(listen);
        Ok(Admin { edge, address, token })
    }

    /// Returns the address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Starts serving. `demo_controls` is `None` except in the demo.
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
        let recorder = Arc::new(Recorder::off());
        Ok(RunningAdmin(Server::start("admin", vec![Box::new(edge)], options, recorder, workers)?))
    }
}

impl RunningAdmin {
    /// Stops accepting, waits for requests in flight until the deadline, ends the threads, and returns how many of
    /// them had not ended then.
    pub fn finish(self, deadline: Instant) -> usize {
        self.0.stop(deadline, deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;

    const SECRET: &str = "sixteen-letters!";
    const GRACE: Duration = Duration::from_secs(10);

    fn admin(token: Option<&str>, control: Fake) -> (SocketAddr, RunningAdmin, Arc<Fake>) {
        let token = token.map(|text| AdminToken::from_text(text).unwrap());
        let admin = Admin::bind(AdminOptions { listen: "127.0.0.1:0".parse().unwrap(), token }).unwrap();
        let (address, control) = (admin.local_addr(), Arc::new(control));
        let running = admin.start(Arc::clone(&control) as _, Arc::clone(&control) as _, None).unwrap();
        (address, running, control)
    }

    /// A connection to the listener.
    struct TestClient(BufReader<TcpStream>, SocketAddr);

    struct TestReply {
        status: u16,
        head: String,
        body: String,
    }

    impl TestClient {
        fn of(address: SocketAddr) -> Self {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(GRACE)).unwrap();
            TestClient(BufReader::new(stream), address)
        }

        /// Sends a head, which is given without its Host, and a body.
        fn ask(&mut self, head: &str, body: &str) -> TestReply {
            let host = self.1;
            self.ask_as(&host.to_string(), head, body)
        }

        fn ask_as(&mut self, host: &str, head: &str, body: &str) -> TestReply {
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

        fn answer(&mut self, is_head: bool) -> TestReply {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(self.0.read_line(&mut head).unwrap() > 0, "it ends after {head:?}");
            }
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let mut body = vec![0; if is_head { 0 } else { length.parse().unwrap() }];
            self.0.read_exact(&mut body).unwrap();
            let status = head[9..12].parse().unwrap();
            TestReply { status, head, body: String::from_utf8(body).unwrap() }
        }
    }

    #[test]
    fn serves_several_requests_on_one_connection() {
        let (address, running, control) = admin(None, Fake::default());
        let mut client = TestClient::of(address);
        let listed = client.ask("GET /api/backends?all", "");
        assert_eq!(listed.status, 200, "{}", listed.head);
        assert!(
            listed.body.starts_with("{\"backends\":[{") && listed.body.ends_with("}]}\n"),
            "{}",
            listed.body
        );
        assert!(listed.body.contains("\"name\":\"127.0.0.1:8081\""), "{}", listed.body);
        for line in
            ["Content-Type: application/json", "Cache-Control: no-store", "X-Content-Type-Options: nosniff"]
        {
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
        assert!(TcpStream::connect(address).is_err(), "the port is closed");
    }

    #[test]
    fn lets_no_foreign_web_page_in_the_operators_browser_change_anything() {
        let (address, running, control) = admin(None, Fake::default());
        let mut client = TestClient::of(address);
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
    fn serves_only_probes_without_the_token() {
        let not_ready = Fake { not_ready: Some("no backend is up"), ..Fake::default() };
        let (address, running, control) = admin(Some(SECRET), not_ready);
        let mut client = TestClient::of(address);
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
    fn serves_the_page_without_the_token_under_its_own_host_only() {
        let (address, running, _) = admin(Some(SECRET), Fake::default());
        let mut client = TestClient::of(address);
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
            "X-Content-Type-Options: nosniff",
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
    fn refuses_a_body_that_is_too_large_in_either_framing() {
        let (address, running, control) = admin(None, Fake::default());
        let large = "x".repeat(LARGEST_BODY as usize + 1);
        let head = "POST /api/backends\nContent-Type: application/json";
        assert_eq!(TestClient::of(address).ask(head, &large).status, 413);
        let mut client = TestClient::of(address);
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
    fn answers_500_after_a_panic_and_continues() {
        let (address, running, _) = admin(None, Fake::default());
        let mut client = TestClient::of(address);
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
    fn requires_a_token_beyond_loopback() {
        for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:0.0.0.0]:0"] {
            let error =
                Admin::bind(AdminOptions { listen: listen.parse().unwrap(), token: None }).err().unwrap();
            let sentence = error.to_string();
            assert!(sentence.contains("set admin_token_file or listen on 127.0.0.1"), "{sentence}");
        }
        let token = Some(AdminToken::from_text(SECRET).unwrap());
        let admin = Admin::bind(AdminOptions { listen: "0.0.0.0:0".parse().unwrap(), token }).unwrap();
        assert_ne!(admin.local_addr().port(), 0);
    }
}

//! Forwarding: the methods, targets, headers, statuses and bodies that the backend and the client receive.

use crate::backend::{Received, Recorder};
use crate::bed::{Balancer, Reply, header_lines};

/// A backend that replies `hello`, and the balancer in front of it.
fn hello(flags: &[&str]) -> (Recorder, Balancer) {
    let backend = Recorder::hello("hello");
    let balancer = Balancer::serve(&[backend.addr], flags);
    (backend, balancer)
}

/// Sends a request through the balancer, and returns what the backend received.
#[track_caller]
fn forwarded(request: &str, flags: &[&str]) -> Received {
    let (backend, balancer) = hello(flags);
    let reply = balancer.client().request(request);
    assert_eq!((reply.status, reply.text()), (200, "hello"), "{request}");
    backend.only_request()
}

/// Sends a GET through the balancer to a backend that replies with these bytes.
fn relayed(reply: impl Into<Vec<u8>>) -> Reply {
    let backend = Recorder::replying(reply);
    Balancer::serve(&[backend.addr], &[]).get("/")
}

#[test]
fn forwards_every_method_unchanged() {
    let (backend, balancer) = hello(&[]);
    let methods = [
        "GET",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
        "PROPFIND",
        "M-SEARCH",
        "get",
        "X!#$%&'*+.^_`|~9",
    ];
    let mut client = balancer.client();
    for method in methods {
        let reply = client.request(format!("{method} /m HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!((reply.status, reply.text()), (200, "hello"), "{method}");
    }
    let lines: Vec<_> = backend.requests().iter().map(|r| r.request_line().to_string()).collect();
    assert_eq!(lines, methods.map(|method| format!("{method} /m HTTP/1.1")));
}

#[test]
fn refuses_connect_and_trace() {
    let (backend, balancer) = hello(&[]);
    let reply = balancer.client().request("CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n");
    assert_eq!(reply.status, 501);
    let reply = balancer.client().request("TRACE / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(reply.status, 405);
    assert!(reply.header("Allow").unwrap().contains("GET"));
    assert_eq!(backend.requests().len(), 0);
}

#[test]
fn forwards_the_request_target_byte_for_byte() {
    let (backend, balancer) = hello(&[]);
    let targets = [
        "/",
        "//",
        "//twice//as/much",
        "/a/../b/./c/..",
        "/%2F%2f%00%zz%",
        "/a;b=c,d:e@f",
        "/~!$&'()*+=-._",
        "/a[1]{2}|3^4\\5\"6",
        "/?",
        "/??a=?&b=/../",
        "/p?q=a+b%20c&q=&&r",
        "/http://elsewhere/",
    ];
    let mut client = balancer.client();
    for target in targets {
        let reply = client.request(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!(reply.status, 200, "{target}");
    }
    let lines: Vec<_> = backend.requests().iter().map(|r| r.request_line().to_string()).collect();
    assert_eq!(lines, targets.map(|target| format!("GET {target} HTTP/1.1")));
}

#[test]
fn absolute_form_becomes_origin_form_and_its_host_wins() {
    for (target, origin) in [
        ("http://Other:81/x/../y?z", "/x/../y?z"),
        ("http://Other:81", "/"),
        ("http://Other:81/", "/"),
        ("http://Other:81?q", "/?q"),
    ] {
        let got = forwarded(&format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"), &[]);
        assert_eq!(got.request_line(), format!("GET {origin} HTTP/1.1"), "{target}");
        assert_eq!(got.header("Host").as_deref(), Some("Other:81"), "{target}");
    }
}

#[test]
fn forwards_options_for_the_whole_server() {
    let got = forwarded("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n", &[]);
    assert_eq!(got.request_line(), "OPTIONS * HTTP/1.1");
    assert_eq!(got.header("Host").as_deref(), Some("test"));
    let got = forwarded("OPTIONS http://other HTTP/1.1\r\nHost: test\r\n\r\n", &[]);
    assert_eq!(got.request_line(), "OPTIONS * HTTP/1.1");
    assert_eq!(got.header("Host").as_deref(), Some("other"));
}

#[test]
fn forwards_the_host_unchanged() {
    for host in ["Example.COM", "example.com:8080", "[::1]:80", "127.0.0.1", "xn--bcher-kva.example"] {
        let got = forwarded(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), &[]);
        assert_eq!(got.all("Host"), [host]);
    }
}

#[test]
fn accepts_an_http_1_0_request_without_a_host() {
    let got = forwarded("GET / HTTP/1.0\r\n\r\n", &[]);
    assert_eq!(got.request_line(), "GET / HTTP/1.1");
    assert_eq!(got.all("Host").len(), 1, "HTTP/1.1 needs one: {}", got.head);
    assert_eq!(got.header("Via").as_deref(), Some("1.0 turnwheel"));
}

#[test]
fn forwards_end_to_end_headers_in_order_and_adds_no_others() {
    let got = forwarded(
        "GET / HTTP/1.1\r\nHost: test\r\nX-B: 1\r\nAccept: a\r\nX-A: \r\nAccept: b;q=0.5, c\r\nCookie: x=\"y z\"; w\r\n\r\n",
        &[],
    );
    assert_eq!(got.all("Accept"), ["a", "b;q=0.5, c"]);
    let mut names: Vec<_> = got.headers().into_iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "host",
            "x-b",
            "accept",
            "x-a",
            "cookie",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "via"
        ]
    );
    assert_eq!(got.header("X-A").as_deref(), Some(""));
    assert_eq!(got.header("Cookie").as_deref(), Some("x=\"y z\"; w"));
}

const HOP_BY_HOP: [&str; 6] =
    ["Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer"];

/// Header lines of which only `X-Kept` may be forwarded.
fn hop_by_hop_lines() -> String {
    let lines: String = HOP_BY_HOP.iter().map(|name| format!("{name}: 1\r\n")).collect();
    format!(
        "{lines}Connection: X-Private , keep-alive\r\nconnection: x-other\r\nX-Private: 1\r\nX-Other: 1\r\nX-Kept: 1\r\n"
    )
}

#[test]
fn removes_hop_by_hop_headers_from_a_request() {
    let got = forwarded(
        &format!("GET / HTTP/1.1\r\nHost: test\r\n{}Upgrade: h2c\r\n\r\n", hop_by_hop_lines()),
        &[],
    );
    for name in
        HOP_BY_HOP.iter().chain(&["Connection", "X-Private", "X-Other", "Upgrade", "Transfer-Encoding"])
    {
        assert_eq!(got.all(name).len(), 0, "{name}: {}", got.head);
    }
    assert_eq!(got.header("X-Kept").as_deref(), Some("1"));
}

#[test]
fn removes_hop_by_hop_headers_from_a_reply() {
    let reply = relayed(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{}Upgrade: h2c\r\n\r\nhi",
        hop_by_hop_lines()
    ));
    for name in HOP_BY_HOP.iter().chain(&["X-Private", "X-Other", "Upgrade", "Transfer-Encoding"]) {
        assert_eq!(reply.all(name).len(), 0, "{name}: {}", reply.raw_head);
    }
    assert_eq!(reply.header("Connection"), Some("close"), "the client's own connection closes");
    assert_eq!((reply.header("X-Kept"), reply.text()), (Some("1"), "hi"));
}

#[test]
fn keeps_needed_headers_that_connection_lists() {
    let got = forwarded(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nConnection: host, content-length, x-forwarded-for, via\r\n\r\nbody",
        &[],
    );
    assert_eq!((got.header("Host").as_deref(), got.body.as_slice()), (Some("test"), b"body".as_slice()));
    assert_eq!(got.header("X-Forwarded-For").as_deref(), Some("127.0.0.1"));
    assert_eq!(got.header("Via").as_deref(), Some("1.1 turnwheel"));
}

/// A request with all headers that claim where its client comes from.
const CLAIMS: &str = "GET / HTTP/1.1\r\nHost: test:80\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: forged\r\nX-Forwarded-Port: 1\r\nForwarded: for=10.0.0.4\r\nX-Real-IP: 10.0.0.5\r\n\
    Via: 1.1 before\r\n\r\n";

#[test]
fn replaces_the_forwarded_headers_of_an_untrusted_client() {
    let got = forwarded(CLAIMS, &["--trusted-proxies=10.0.0.0/8"]);
    assert_eq!(got.header("X-Forwarded-For").as_deref(), Some("127.0.0.1"));
    assert_eq!(got.header("X-Forwarded-Proto").as_deref(), Some("http"));
    assert_eq!(got.header("X-Forwarded-Host").as_deref(), Some("test:80"));
    for name in ["X-Forwarded-Port", "Forwarded", "X-Real-IP"] {
        assert_eq!(got.all(name).len(), 0, "{name}: {}", got.head);
    }
    assert_eq!(got.all("Via").join(", "), "1.1 before, 1.1 turnwheel");
}

#[test]
fn keeps_the_forwarded_headers_of_a_trusted_proxy() {
    let got = forwarded(CLAIMS, &["--trusted-proxies=127.0.0.0/8"]);
    assert_eq!(got.all("X-Forwarded-For").join(", "), "10.0.0.1, 10.0.0.2, 10.0.0.3, 127.0.0.1");
    assert_eq!(got.header("X-Forwarded-Proto").as_deref(), Some("https"));
    assert_eq!(got.header("X-Forwarded-Host").as_deref(), Some("forged"));
}

#[test]
fn serves_an_upgrade_request_as_plain_http() {
    for body in ["", "body"] {
        let got = forwarded(
            &format!(
                "POST /chat HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
            &[],
        );
        assert_eq!((got.all("Upgrade").len(), got.all("Connection").len()), (0, 0), "{}", got.head);
        assert_eq!(got.body, body.as_bytes());
    }
}

#[test]
fn relays_the_backends_status() {
    let backend = Recorder::new(|conversation| {
        while let Some(request) = conversation.read_request() {
            let status = request.request_line().split(['/', ' ']).nth(2).unwrap().to_string();
            conversation.send(format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 3\r\n\r\n{status}"));
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut client = balancer.client();
    for status in [200, 201, 206, 299, 301, 302, 307, 400, 401, 404, 407, 418, 429, 451, 500, 502, 503, 599] {
        let reply = client.request(format!("GET /{status} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!((reply.status, reply.text()), (status, status.to_string().as_str()));
    }
    assert_eq!(backend.requests().len(), 18, "no redirect is followed, no status retried");
}

#[test]
fn relays_reply_headers_in_order_and_adds_no_others() {
    let reply = relayed(
        "HTTP/1.1 200 OK\r\nServer: theirs/1.0\r\nSet-Cookie: a=1; Path=/\r\nX-Z: z\r\nSet-Cookie: b=2, c\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nSet-Cookie: a=3\r\nContent-Encoding: gzip\r\nLocation: http://x/\r\nContent-Length: 2\r\n\r\nhi",
    );
    assert_eq!(reply.all("Set-Cookie"), ["a=1; Path=/", "b=2, c", "a=3"]);
    assert_eq!(reply.header("Server"), Some("theirs/1.0"));
    assert_eq!(reply.header("Date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    let mut names: Vec<_> = reply.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "Server",
            "Set-Cookie",
            "X-Z",
            "Date",
            "Content-Encoding",
            "Location",
            "Content-Length",
            "Connection"
        ]
    );
}

#[test]
fn adds_a_missing_date_and_no_server() {
    let reply = relayed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    assert!(reply.header("Date").unwrap().ends_with(" GMT"), "{}", reply.raw_head);
    assert_eq!(reply.header("Server"), None);
}

#[test]
fn relays_header_values_that_are_not_ascii() {
    let backend = Recorder::replying(b"HTTP/1.1 200 OK\r\nX-Name: caf\xc3\xa9\r\nContent-Length: 0\r\n\r\n");
    let reply = Balancer::serve(&[backend.addr], &[]).get("/");
    assert_eq!(reply.header("X-Name"), Some("caf\u{e9}"));
}

#[test]
fn relays_a_binary_body_unchanged() {
    let body: Vec<u8> = (0..=255u8).cycle().take(100_000).collect();
    let mut reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    reply.extend(&body);
    assert!(relayed(reply).body == body);
}

#[test]
fn does_not_take_an_informational_reply_for_the_final_one() {
    let reply = relayed(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    );
    assert_eq!((reply.status, reply.text()), (200, "hi"));
    assert_eq!(header_lines(&reply.raw_head).iter().filter(|(name, _)| name == "Link").count(), 0);
}

#[test]
fn relays_long_reply_heads_whole() {
    for (lines, length) in [(1, 15_000), (1, 17_000), (1, 60_000), (120, 500)] {
        let value = "v".repeat(length);
        let headers: String = (0..lines).map(|n| format!("X-Long-{n}: {value}\r\n")).collect();
        let backend = Recorder::replying(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 2\r\n\r\nok"));
        let balancer = Balancer::serve(&[backend.addr], &[]);
        for _ in 0..2 {
            let reply = balancer.get("/");
            assert_eq!((reply.status, reply.text()), (200, "ok"), "{lines} lines of {length} bytes");
            for line in 0..lines {
                assert_eq!(reply.header(&format!("X-Long-{line}")), Some(value.as_str()));
            }
        }
    }
}

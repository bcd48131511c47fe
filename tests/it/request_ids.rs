//! The id of a request, at the client, at the backend and in the access log.

use crate::backend::Recorder;
use crate::bed::{Balancer, Ending, dead_port, eventually};
use crate::endings::{lines, serve};
use crate::pool::{ask_all, dammed};
use std::sync::atomic::Ordering::SeqCst;

#[test]
fn client_backend_and_log_see_the_same_request_id() {
    let backend = Recorder::replying("HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\n\r\n");
    let balancer = serve(&[backend.addr], &[]);
    for (sent, kept) in
        [("", false), ("X-Request-Id: a-b_c.7\r\n", true), ("x-request-id: with space\r\n", false)]
    {
        let reply = balancer.client().request(format!("GET / HTTP/1.1\r\nHost: a\r\n{sent}\r\n"));
        let id = reply.all("X-Request-Id").join("|");
        assert_eq!(id == "a-b_c.7", kept, "{id}");
        assert!(kept || id.len() == 32, "{id}");
        assert_eq!(backend.last_request().header("X-Request-Id"), Some(id.clone()));
        eventually("the id is in the log", || balancer.stdout().contains(&format!("\"id\":\"{id}\"")));
    }
    lines(&balancer, 3);
}

/// `Connection` lists headers for one hop only. If a client could hide the id from one side with it, the id would not
/// identify the request.
#[test]
fn a_connection_header_cannot_hide_the_request_id() {
    let backend = Recorder::replying(
        "HTTP/1.1 200 OK\r\nConnection: x-request-id\r\nX-Request-Id: a\r\nX-Request-Id: b\r\nContent-Length: 0\r\n\r\n",
    );
    let balancer = serve(&[backend.addr], &[]);
    for id in ["", "X-Request-Id: mine\r\n"] {
        let mut client = balancer.client();
        let reply = client
            .request(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Request-Id, close\r\n{id}\r\n"));
        let id_in_reply = reply.header("X-Request-Id").map(str::to_owned);
        assert!(
            id_in_reply.is_some() && id_in_reply == backend.last_request().header("X-Request-Id"),
            "{id_in_reply:?}"
        );
        assert_eq!(client.read_to_end_of_connection().1, Ending::Finished, "its other options take effect");
    }
    lines(&balancer, 2);
}

#[test]
fn a_refusal_carries_the_request_id() {
    let (backend, dam) = dammed();
    let balancer = serve(&[backend.addr], &["--workers=1", "--queue=1"]);
    let mut clients = ask_all(balancer.addr, 1);
    eventually("the worker is busy", || dam.held.load(SeqCst) == 1);
    clients.extend(ask_all(balancer.addr, 1));
    let refused = |id: &str| {
        let reply =
            balancer.client().request(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n"));
        (reply.status, reply.header("X-Request-Id").map(str::to_owned))
    };
    eventually("the queue is full", || refused("seven") == (503, Some("seven".into())));
    dam.open.store(true, SeqCst);
    clients.iter_mut().for_each(|client| assert_eq!(client.read_reply().status, 200));
    let dead = dead_port();
    let broken = serve(&[dead.addr], &[]);
    let reply = broken.get("/");
    let id = reply.header("X-Request-Id").unwrap();
    assert_eq!((reply.status, lines(&broken, 1)[0]["id"].as_str()), (502, Some(id)));
}

#[test]
fn without_the_log_no_request_gets_an_id() {
    let backend = Recorder::hello("hello");
    let balancer = Balancer::serve(&[backend.addr], &[]);
    assert_eq!(balancer.get("/").header("X-Request-Id"), None);
    assert_eq!(backend.last_request().header("X-Request-Id"), None);
    let reply = balancer.client().request("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n");
    assert_eq!(reply.header("X-Request-Id"), None, "a client's own id passes through unchanged");
    assert_eq!(backend.last_request().header("X-Request-Id").as_deref(), Some("mine"));
}

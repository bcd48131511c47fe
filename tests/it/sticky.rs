//! Sticky sessions.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, Reply, dead_port, eventually};
use crate::config_file::{file_flag, file_with};
use std::net::SocketAddr;

const WHEEL: &str = "--sticky=wheel";
const SECRET: &str = "a secret of more than sixteen characters\n";

fn three() -> ([Recorder; 3], [SocketAddr; 3]) {
    let backends = ["0", "1", "2"].map(Recorder::hello);
    let addrs = backends.each_ref().map(|backend| backend.addr);
    (backends, addrs)
}

fn ask(balancer: &Balancer, cookies: &str) -> Reply {
    let line = if cookies.is_empty() { String::new() } else { format!("Cookie: {cookies}\r\n") };
    balancer.client().request(format!("GET / HTTP/1.1\r\nHost: test\r\n{line}\r\n"))
}

/// Returns the cookie that a reply sets, as a client sends it. Panics if there is none.
#[track_caller]
fn cookie(reply: &Reply) -> String {
    let set = reply.header("Set-Cookie").unwrap_or_else(|| panic!("no cookie: {}", reply.raw_head));
    let value =
        set.strip_prefix("wheel=").and_then(|rest| rest.strip_suffix("; Path=/; HttpOnly; SameSite=Lax"));
    let value = value.unwrap_or_else(|| panic!("it has other attributes: {set}"));
    assert!(value.len() == 32 && value.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{value}");
    format!("wheel={value}")
}

#[test]
fn a_client_gets_the_cookie_once_and_stays() {
    let (_backends, addrs) = three();
    for strategy in
        ["round-robin", "least-connections", "power-of-two", "weighted-round-robin", "client-hash"]
    {
        let balancer = Balancer::serve(&addrs, &[WHEEL, &format!("--strategy={strategy}")]);
        let first = ask(&balancer, "");
        let cookie = cookie(&first);
        let quoted = format!("wheel = \"{}\" ", &cookie["wheel=".len()..]);
        let stale = format!("wheel=00000000000000000000000000000000; {cookie}");
        for cookies in [cookie.clone(), format!("theme=dark; {cookie}; a=b"), quoted, stale] {
            for _ in 0..6 {
                let reply = ask(&balancer, &cookies);
                assert_eq!((reply.text(), reply.header("Set-Cookie")), (first.text(), None), "{strategy}");
            }
        }
    }
}

#[test]
fn clients_spread_and_each_keeps_its_backend() {
    let (_backends, addrs) = three();
    let balancer = Balancer::serve(&addrs, &[WHEEL]);
    let clients: Vec<_> =
        (0..6).map(|_| ask(&balancer, "")).map(|it| (cookie(&it), it.text().to_owned())).collect();
    for index in ["0", "1", "2"] {
        assert_eq!(clients.iter().filter(|(_, backend)| backend == index).count(), 2, "{clients:?}");
    }
    for (cookie, backend) in clients.iter().chain(clients.iter().rev()) {
        assert_eq!(ask(&balancer, cookie).text(), backend);
    }
}

#[test]
fn the_cookie_reveals_nothing_of_the_address() {
    let (_backends, addrs) = three();
    let addresses = addrs.map(|addr| addr.to_string());
    // Another balancer gives the same backends other values, so the values do not contain the addresses.
    let values = [0; 2].map(|_| {
        let balancer = Balancer::serve(&addrs, &[WHEEL]);
        addresses.each_ref().map(|_| cookie(&ask(&balancer, "")))
    });
    let digits = |value: &str| value["wheel=".len()..].to_owned();
    for (value, other) in values[0].iter().zip(&values[1]) {
        let same = digits(value).bytes().zip(digits(other).bytes()).filter(|(a, b)| a == b).count();
        assert!(same < 16, "of 32 digits two are the same by chance: {value} {other}");
        assert!(addresses.iter().all(|address| !value.contains(address)), "{value}");
    }
    let [a, b, c] = &values[0];
    assert!(a != b && b != c && a != c, "{values:?}");
}

#[test]
fn a_foreign_cookie_is_ignored_and_replaced() {
    let (_backends, addrs) = three();
    let balancer = Balancer::serve(&addrs, &[WHEEL]);
    let right = cookie(&ask(&balancer, ""));
    let flipped = right.replace(|digit: char| digit.is_ascii_digit(), "a");
    for wrong in [
        &*flipped,
        "wheel=00000000000000000000000000000000",
        &format!("wheel={}", addrs[0]),
        "wheel=",
        "wheel=http://127.0.0.1:1",
        &right.to_uppercase(),
        &right.replace("wheel", "heel"),
    ] {
        let replies = [0; 3].map(|_| ask(&balancer, wrong));
        let mut texts = replies.each_ref().map(|reply| reply.text().to_owned());
        texts.sort();
        assert_eq!(texts, ["0", "1", "2"], "{wrong}: it binds to no backend");
        for reply in &replies {
            assert_eq!(ask(&balancer, &cookie(reply)).text(), reply.text(), "{wrong}: the new one holds");
        }
    }
    let behind = format!("wheel=forged; {right}");
    assert_eq!(
        ask(&balancer, &behind).header("Set-Cookie"),
        None,
        "a foreign one of the same name before it"
    );
}

#[test]
fn a_client_whose_backend_is_drained_moves_and_stays_there() {
    let (backends, addrs) = three();
    let balancer = Balancer::serve(&addrs, &[WHEEL, ADMIN]);
    let operator = AdminClient::of(&balancer);
    let first = ask(&balancer, "");
    let (old, backend) = (cookie(&first), first.text().to_owned());
    let left = &backends[backend.parse::<usize>().unwrap()];
    operator.drain(left.addr);
    let moved = ask(&balancer, &old);
    assert_ne!(moved.text(), backend);
    let new = cookie(&moved);
    assert_ne!(new, old);
    (0..4).for_each(|_| assert_eq!(ask(&balancer, &new).text(), moved.text()));
    operator.resume(left.addr);
    let reply = ask(&balancer, &new);
    assert_eq!((reply.text(), reply.header("Set-Cookie")), (moved.text(), None), "it stays");
    assert_eq!(ask(&balancer, &old).text(), backend, "the old cookie is valid again");
    operator.remove(left.addr);
    assert_ne!(cookie(&ask(&balancer, &old)), old);
}

#[test]
fn a_client_of_a_dead_backend_gets_another_one_at_once() {
    let (dead, alive) = (dead_port(), Recorder::hello("alive"));
    let (_folder, path) = file_with(SECRET);
    let secret = file_flag("sticky-secret-file", &path);
    let balancer =
        Balancer::serve(&[dead.addr, alive.addr], &[WHEEL, &secret, "--max-fails=0", "--health=off"]);
    // Another balancer with the same secret, and a live backend at that address, provides the cookie.
    let named = {
        let listener = std::net::TcpListener::bind(dead.addr).unwrap();
        let alive = Recorder::hello_on(listener, "alive");
        cookie(&ask(&Balancer::serve(&[alive.addr], &[WHEEL, &secret]), ""))
    };
    eventually("the port is closed again", || std::net::TcpStream::connect(dead.addr).is_err());
    let reply = ask(&balancer, &named);
    assert_eq!(reply.text(), "alive");
    let new = cookie(&reply);
    assert_ne!(new, named);
    assert_eq!(ask(&balancer, &new).header("Set-Cookie"), None);
}

#[test]
fn balancers_that_share_a_secret_agree_and_others_do_not() {
    let (_backends, addrs) = three();
    let (_folder, path) = file_with(SECRET);
    let secret = file_flag("sticky-secret-file", &path);
    let shared = [0; 2].map(|_| Balancer::serve(&addrs, &[WHEEL, &secret]));
    let alone = [0; 2].map(|_| Balancer::serve(&addrs, &[WHEEL]));
    for _ in 0..3 {
        let first = ask(&shared[0], "");
        let second = ask(&shared[1], &cookie(&first));
        assert_eq!((second.text(), second.header("Set-Cookie")), (first.text(), None));
    }
    let of = |balancer: &Balancer| {
        let mut all =
            [0; 3].map(|_| ask(balancer, "")).map(|reply| (reply.text().to_owned(), cookie(&reply)));
        all.sort();
        all
    };
    let [one, other, agreed] = [&alone[0], &alone[1], &shared[0]].map(of);
    for index in 0..3 {
        assert!(one[index].1 != other[index].1 && one[index].1 != agreed[index].1, "{one:?} {other:?}");
    }
    assert_ne!(cookie(&ask(&alone[1], &one[0].1)), one[0].1, "another balancer's cookie is foreign");
}

#[test]
fn the_backends_own_cookies_are_left_alone() {
    let reply = "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: wheel=theirs\r\nContent-Length: 0\r\n\r\n";
    let backend = Recorder::replying(reply);
    let balancer = Balancer::serve(&[backend.addr], &[WHEEL]);
    let first = ask(&balancer, "");
    let set = first.all("Set-Cookie");
    assert_eq!((set.len(), &set[..2]), (3, &["a=b", "wheel=theirs"][..]));
    let ours = set[2].split(';').next().unwrap();
    let cookies = format!("a=b; {ours}");
    assert_eq!(ask(&balancer, &cookies).all("Set-Cookie"), ["a=b", "wheel=theirs"]);
    assert_eq!(backend.last_request().header("Cookie"), Some(cookies), "it is forwarded unchanged");
}

#[test]
fn the_balancers_own_replies_set_no_cookie() {
    let (backend, dead) = (Recorder::hello("0"), dead_port());
    let balancer = Balancer::serve(&[backend.addr], &[WHEEL, ADMIN]);
    AdminClient::of(&balancer).drain(backend.addr);
    let refused = ask(&balancer, "");
    assert_eq!((refused.status, refused.header("Set-Cookie")), (503, None));
    let refused = ask(&Balancer::serve(&[dead.addr], &[WHEEL]), "");
    assert_eq!((refused.status, refused.header("Set-Cookie")), (502, None));
}

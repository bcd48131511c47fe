//! Tests with curl as the client, and nginx and Python as the servers. They read HTTP more strictly, and
//! in other ways, than tests that were written together with the balancer.

use crate::backend::Recorder;
use crate::bed::{Balancer, DEADLINE, dead_port, eventually};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Returns the path of a program. Otherwise prints that the test is skipped, and returns `None`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    if found.is_none() {
        // The test harness hides what `eprintln!` prints in a test that passes.
        let _ = writeln!(std::io::stderr(), "skipped: {program} is not installed");
    }
    found
}

/// A real server with its own folder, ended on drop.
struct Server {
    child: Child,
    addr: SocketAddr,
    folder: TempDir,
}

impl Server {
    fn start(make: impl FnOnce(SocketAddr, &TempDir) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hello.txt"), "hello from a file\n").unwrap();
        fs::write(folder.path().join("large.bin"), large()).unwrap();
        // The port stays reserved until the server has bound it, so that no other test gets it.
        let reserved = dead_port();
        let mut command = make(reserved.addr, &folder);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Server { child, addr: reserved.addr, folder };
        eventually("the server listens", || TcpStream::connect(server.addr).is_ok());
        server
    }

    fn nginx(program: PathBuf) -> Self {
        Server::start(|addr, folder| {
            let root = folder.path().display();
            // SAFETY: `geteuid` has no preconditions.
            let user = if unsafe { libc::geteuid() } == 0 { "user root;" } else { "" };
            let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {root}/{kind};"))
                .concat();
            let conf = format!(
                "{user} daemon off; pid {root}/pid; error_log {root}/error.log; worker_processes 1;
                events {{ worker_connections 256; }}
                http {{ access_log off; {temp} gzip on; gzip_types *;
                    gzip_min_length 1; gzip_proxied any; port_in_redirect off; client_max_body_size 100m;
                    server {{ listen {addr}; root {root};
                        location = /moved {{ return 301 /hello.txt; }}
                        location = /empty {{ return 204; }}
                        location /put {{ dav_methods PUT DELETE; create_full_put_path on; }}
                    }} }}"
            );
            fs::write(folder.path().join("nginx.conf"), conf).unwrap();
            let mut command = Command::new(program);
            command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf"));
            command.arg("-e").arg(folder.path().join("error.log"));
            command
        })
    }

    fn python(program: PathBuf) -> Self {
        Server::start(|addr, folder| {
            let mut command = Command::new(program);
            command.args(["-m", "http.server", &addr.port().to_string(), "--bind", "127.0.0.1"]);
            command.arg("--directory").arg(folder.path());
            command
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: `kill` accepts any numbers. The number still belongs to the child, which has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) }; // on which nginx ends its workers
        let _ = self.child.wait();
    }
}

/// Returns a megabyte without repeated sections.
fn large() -> Vec<u8> {
    (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Runs curl, which traces the transfer on standard error.
fn curl(program: &PathBuf, args: &[&str]) -> Output {
    let limit = DEADLINE.as_secs().to_string();
    let output = Command::new(program)
        .args(["-sSv", "--noproxy", "*", "--max-time", &limit])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "curl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Returns curl's trace of the transfer.
fn trace(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn serves_curl_with_get_head_and_post() {
    let Some(program) = find("curl") else { return };
    let backend = Recorder::new(|conversation| {
        while let Some(request) = conversation.read_request() {
            let length = request.body.len();
            let body = if request.head.starts_with("HEAD ") { "" } else { "hello" };
            conversation
                .send(format!("HTTP/1.1 200 OK\r\nX-Got: {length}\r\nContent-Length: 5\r\n\r\n{body}"));
        }
    });
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let url = format!("http://{}/path?query", balancer.addr);

    let twice = curl(&program, &[&url, &url]);
    assert_eq!(twice.stdout, b"hellohello");
    assert!(trace(&twice).contains("Re-using existing connection"), "{}", trace(&twice));

    let head = curl(&program, &["-I", &url]);
    let head = String::from_utf8(head.stdout).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: 5\r\n"), "{head}");

    let old = curl(&program, &["--http1.0", &url]);
    assert_eq!(old.stdout, b"hello");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("upload");
    fs::write(&file, large()).unwrap();
    let data = format!("@{}", file.display());
    let before = backend.requests().len();
    for expect in ["Expect: 100-continue", "Expect:"] {
        let posted = curl(&program, &["--data-binary", &data, "-H", expect, &url]);
        assert_eq!(posted.stdout, b"hello");
        assert!(trace(&posted).to_lowercase().contains("x-got: 1000000"), "{}", trace(&posted));
        let continued = trace(&posted).contains("< HTTP/1.1 100 Continue");
        assert_eq!(continued, expect.ends_with("continue"), "{}", trace(&posted));
    }
    let requests = backend.requests();
    assert!(requests[before..].iter().all(|r| r.body == large() && r.header("Expect").is_none()));
}

#[test]
fn forwards_curls_chunked_upload_of_unknown_length() {
    let Some(program) = find("curl") else { return };
    let backend = Recorder::hello("thanks");
    let balancer = Balancer::serve(&[backend.addr], &[]);
    let mut child = Command::new(program)
        .args(["-sS", "--noproxy", "*", "--max-time", "10", "-T", "-"])
        .arg(format!("http://{}/upload", balancer.addr))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&large()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"thanks");
    let request = backend.only_request();
    assert_eq!(
        (request.request_line(), request.header("Transfer-Encoding").as_deref()),
        ("PUT /upload HTTP/1.1", Some("chunked"))
    );
    assert!(request.body == large(), "{} bytes were received", request.body.len());
}

#[test]
fn relays_files_ranges_and_redirects_of_nginx() {
    let Some(program) = find("nginx") else { return };
    let nginx = Server::nginx(program);
    let balancer = Balancer::serve(&[nginx.addr], &[]);
    let mut client = balancer.client();
    let mut ask = |target: &str, more: &str| {
        client.request(format!("GET {target} HTTP/1.1\r\nHost: files\r\n{more}\r\n"))
    };

    let file = ask("/hello.txt", "");
    assert_eq!((file.status, file.text()), (200, "hello from a file\n"));
    assert!(file.header("Server").unwrap().starts_with("nginx"), "{}", file.raw_head);
    let tag = file.header("ETag").unwrap().to_owned();
    assert_eq!(ask("/hello.txt", &format!("If-None-Match: {tag}\r\n")).status, 304);

    let whole = ask("/large.bin", "");
    assert!(whole.body == large() && whole.header("Content-Length") == Some("1000000"), "{}", whole.raw_head);
    let part = ask("/large.bin", "Range: bytes=500000-500009\r\n");
    assert_eq!((part.status, &*part.body), (206, &large()[500_000..500_010]));
    let packed = ask("/large.bin", "Accept-Encoding: gzip\r\n");
    assert_eq!(packed.header("Content-Encoding"), Some("gzip"));
    assert_eq!(packed.header("Transfer-Encoding"), Some("chunked"), "{}", packed.raw_head);
    assert_eq!(packed.body[..2], [0x1f, 0x8b], "the gzip header");

    let moved = ask("/moved", "");
    assert_eq!((moved.status, moved.header("Location")), (301, Some("http://files/hello.txt")));
    assert_eq!(ask("/empty", "").status, 204);
    assert_eq!(ask("/missing", "").status, 404);

    client.send("HEAD /large.bin HTTP/1.1\r\nHost: files\r\n\r\n");
    assert_eq!(client.read_head().unwrap().header("Content-Length"), Some("1000000"));
    let body = "GET /hello.txt HTTP/1.1\r\nHost: files\r\nConnection: close\r\n\r\n";
    assert_eq!(client.request(body).text(), "hello from a file\n", "a byte followed the head");
}

#[test]
fn forwards_uploads_to_nginx() {
    let Some(program) = find("nginx") else { return };
    let nginx = Server::nginx(program);
    let balancer = Balancer::serve(&[nginx.addr], &[]);
    let mut client = balancer.client();
    client.send("PUT /put/sized HTTP/1.1\r\nHost: files\r\nContent-Length: 1000000\r\n\r\n");
    client.send(large());
    assert_eq!(client.read_reply().status, 201);
    assert!(fs::read(nginx.folder.path().join("put/sized")).unwrap() == large());

    client.send("PUT /put/chunked HTTP/1.1\r\nHost: files\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in large().chunks(70_000) {
        client.send(format!("{:x}\r\n", piece.len()));
        client.send(piece);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.read_reply().status, 201);
    assert!(fs::read(nginx.folder.path().join("put/chunked")).unwrap() == large());
    assert_eq!(client.request("DELETE /put/sized HTTP/1.1\r\nHost: files\r\n\r\n").status, 204);
    assert!(!nginx.folder.path().join("put/sized").exists());
}

/// Python's server speaks HTTP/1.0 and closes each connection.
#[test]
fn relays_files_of_pythons_http_1_0_server() {
    let Some(program) = find("python3") else { return };
    let python = Server::python(program);
    let balancer = Balancer::serve(&[python.addr], &[]);
    let mut client = balancer.client();
    for _ in 0..3 {
        let file = client.request("GET /hello.txt HTTP/1.1\r\nHost: files\r\n\r\n");
        assert_eq!((file.status, file.text()), (200, "hello from a file\n"));
        assert!(file.header("Server").unwrap().starts_with("SimpleHTTP"), "{}", file.raw_head);
        assert_eq!(file.header("Connection"), None, "the backend's Connection header is not relayed");
    }
    let whole = client.request("GET /large.bin HTTP/1.1\r\nHost: files\r\n\r\n");
    assert!(whole.body == large(), "{}", whole.raw_head);
    let listing = client.request("GET / HTTP/1.1\r\nHost: files\r\n\r\n");
    assert!(listing.text().contains("hello.txt"), "{}", listing.text());
    let posted = client.request("POST / HTTP/1.1\r\nHost: files\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(posted.status, 501);
}

//! The access log on standard output, and warnings on standard error.

use crate::backend::Recorder;
use crate::bed::{Balancer, dead_port, eventually, program};
use serde_json::Value;

const ASK: &str =
    "GET /a?b=c HTTP/1.1\r\nHost: example\r\nUser-Agent: probe/1\r\nReferer: http://from/\r\n\r\n";

/// Waits for this many lines of the access log, and returns them. More lines are a failure.
#[track_caller]
fn log_lines(balancer: &Balancer, count: usize) -> Vec<String> {
    let lines = || balancer.stdout().lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    eventually("the lines are written", || lines().len() >= count);
    assert_eq!(lines().len(), count, "one line for each request: {:#?}", lines());
    lines()
}

/// Removes `before` from the start of the text and returns the part up to `after`, which is removed too.
#[track_caller]
fn field<'a>(rest: &mut &'a str, before: &str, after: &str) -> &'a str {
    let line = *rest;
    let found = line.strip_prefix(before).and_then(|line| line.split_once(after));
    let (value, left) = found.unwrap_or_else(|| panic!("no {before:?}…{after:?} at {line:?}"));
    *rest = left;
    value
}

#[track_caller]
fn parse_seconds(text: &str) -> f64 {
    let (whole, fraction) = text.split_once('.').unwrap();
    assert!(!whole.is_empty() && fraction.len() == 6, "{text}");
    text.parse().unwrap()
}

#[test]
fn a_text_line_is_in_the_combined_format_with_timings() {
    let backend = Recorder::hello("hello");
    let balancer = Balancer::serve(&[backend.addr], &["--access-log=text"]);
    assert_eq!(balancer.client().request(ASK).status, 200);
    let line = log_lines(&balancer, 1).remove(0);
    let mut rest = &*line;
    let time = field(&mut rest, "127.0.0.1 - - [", "] ");
    // 22/Nov/2026:15:30:08 +0000
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let month = &shape[3..6];
    assert!(month.chars().all(char::is_alphabetic), "{time}");
    assert_eq!(shape, format!("00/{month}/0000:00:00:00 +0000"));
    assert_eq!(field(&mut rest, "\"", "\" "), "GET /a?b=c HTTP/1.1");
    assert_eq!(field(&mut rest, "200 ", " "), "5");
    assert_eq!(field(&mut rest, "\"", "\" "), "http://from/");
    assert_eq!(field(&mut rest, "\"", "\" "), "probe/1");
    assert_eq!(field(&mut rest, "id=", " ").len(), 32);
    assert_eq!(field(&mut rest, "backend=", " "), backend.addr.to_string());
    assert_eq!(field(&mut rest, "tries=", " "), "1");
    assert_eq!(field(&mut rest, "received=", " "), "0");
    let queued = parse_seconds(field(&mut rest, "queue=", " "));
    let upstream = parse_seconds(field(&mut rest, "upstream=", " "));
    let total = parse_seconds(field(&mut rest, "total=", " "));
    assert_eq!(rest, "ended=ok reason=-");
    assert!(queued + upstream <= total + 1e-5, "{line}");
    assert!(upstream > 0.0, "{line}");
}

#[test]
fn a_json_line_has_all_fields_and_no_others() {
    let (backend, dead) = (Recorder::hello("hello"), dead_port());
    let balancer = Balancer::serve(&[dead.addr, backend.addr], &["--access-log=json"]);
    assert_eq!(balancer.client().request(ASK).status, 200);
    let line: Value = serde_json::from_str(&log_lines(&balancer, 1)[0]).unwrap();
    for (name, value) in [
        ("client", Value::from("127.0.0.1")),
        ("method", "GET".into()),
        ("target", "/a?b=c".into()),
        ("version", "HTTP/1.1".into()),
        ("host", "example".into()),
        ("status", 200.into()),
        ("ended", "ok".into()),
        ("reason", Value::Null),
        ("bytes", 5.into()),
        ("received", 0.into()),
        ("referer", "http://from/".into()),
        ("user_agent", "probe/1".into()),
        ("backend", backend.addr.to_string().into()),
        ("tries", 2.into()),
    ] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
    let [queue, upstream, total] =
        ["queue_seconds", "upstream_seconds", "total_seconds"].map(|name| line[name].as_f64().unwrap());
    assert!(queue >= 0.0 && upstream > 0.0 && queue + upstream <= total + 1e-5, "{line}");
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    assert_eq!(line["id"].as_str().unwrap().len(), 32);
    assert_eq!(line.as_object().unwrap().len(), 19, "a field that this test does not know: {line}");
}

#[test]
fn writes_one_line_for_each_request_whatever_its_status() {
    let (backend, dead) =
        (Recorder::replying("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), dead_port());
    let alive = Balancer::serve(&[backend.addr], &["--access-log=json"]);
    let broken = Balancer::serve(&[dead.addr], &["--access-log=json"]);
    let mut kept = alive.client();
    for _ in 0..3 {
        assert_eq!(kept.request(ASK).status, 404);
    }
    assert_eq!(alive.client().request("GET / HTTP/1.1\r\n\r\n").status, 400);
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n";
    assert_eq!(alive.client().request(upload).status, 413);
    assert_eq!(alive.client().request("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").status, 405);
    assert_eq!(broken.get("/").status, 502);

    let statuses = |balancer: &Balancer, count| {
        let lines = log_lines(balancer, count).into_iter();
        let mut all: Vec<_> = lines
            .map(|line| serde_json::from_str::<Value>(&line).unwrap())
            .map(|line| (line["status"].as_u64().unwrap(), line["tries"].as_u64().unwrap()))
            .collect();
        all.sort_unstable();
        all
    };
    assert_eq!(statuses(&alive, 6), [(400, 0), (404, 1), (404, 1), (404, 1), (405, 0), (413, 0)]);
    assert_eq!(statuses(&broken, 1), [(502, 1)]);
}

#[test]
fn escapes_everything_that_a_client_sends() {
    let backend = Recorder::hello("hello");
    for format in ["text", "json"] {
        let balancer = Balancer::serve(&[backend.addr], &[&format!("--access-log={format}")]);
        let request = |target: &str, agent: &str| {
            format!("GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\nReferer: {agent}\r\n\r\n")
        };
        let status = |target, agent| balancer.client().request(request(target, agent)).status;
        assert_eq!(status("/", "quote\" 200 0 \"back\\slash\ttab"), 200);
        assert_eq!(status("/{a\"b}", "x"), 200);
        for control in ["\x1b[31mred", "bell\x07", "back\x08space", "del\x7f"] {
            assert_eq!(status("/", control), 400, "{}", control.escape_debug());
        }
        assert_eq!(status("/\x1b[2J", "x"), 400);
        let lines = log_lines(&balancer, 7);
        for line in &lines {
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", line.escape_debug());
        }
        // A line is written after its reply, so the lines of two requests may be in either order.
        let expected = match format {
            "text" => [
                r#" 200 5 "quote\" 200 0 \"back\\slash\ttab" "quote\" 200 0 \"back\\slash\ttab" id="#,
                r#" "GET /{a\"b} HTTP/1.1" 200 "#,
            ],
            _ => [r#""user_agent":"quote\\\" 200 0 "#, r#""target":"/{a\"b}""#],
        };
        for part in expected {
            assert_eq!(lines.iter().filter(|line| line.contains(part)).count(), 1, "{part}: {lines:#?}");
        }
    }
}

#[test]
fn the_access_log_is_off_by_default() {
    let backend = Recorder::hello("hello");
    for flags in [&[][..], &["--access-log=off"]] {
        let mut balancer = Balancer::serve(&[backend.addr], flags);
        assert_eq!(balancer.get("/").status, 200);
        balancer.signal(libc::SIGTERM);
        assert_eq!(balancer.wait_exit(crate::bed::DEADLINE), 0);
        assert_eq!(balancer.stdout(), format!("Load balancer is listening on {}\n", balancer.addr));
    }
}

#[test]
fn a_stop_writes_the_rest_of_the_access_log() {
    let backend = Recorder::hello("hello");
    let mut balancer = Balancer::serve(&[backend.addr], &["--access-log=text"]);
    let mut client = balancer.client();
    for _ in 0..500 {
        assert_eq!(client.request(ASK).status, 200);
    }
    balancer.signal(libc::SIGTERM);
    assert_eq!(balancer.wait_exit(crate::bed::DEADLINE), 0);
    log_lines(&balancer, 500);
}

#[test]
fn warns_once_about_a_failing_backend_on_standard_error() {
    let dead = dead_port();
    let balancer = Balancer::serve(&[dead.addr], &[]);
    assert_eq!(balancer.get("/").status, 502);
    let mentions = || balancer.stderr().lines().filter(|line| line.contains(&dead.addr.to_string())).count();
    eventually("it is logged", || mentions() > 0 && balancer.stderr().contains("INFO ready"));
    assert_eq!(mentions(), 1, "{}", balancer.stderr());
    assert!(balancer.stderr().contains("WARN"));
    assert!(!balancer.stderr().contains('\x1b'), "colours in output that is not a terminal");
}

#[test]
fn rust_log_sets_the_log_level() {
    let dead = dead_port();
    let args =
        ["serve".to_string(), "--listen=127.0.0.1:0".into(), format!("--backend=http://{}", dead.addr)];
    let mut balancer =
        Balancer::spawn(program().args(args).env("RUST_LOG", "warn"), "Load balancer is listening on ");
    assert_eq!(balancer.get("/").status, 502);
    eventually("the failure is logged", || balancer.stderr().contains("WARN"));
    balancer.signal(libc::SIGTERM);
    assert_eq!(balancer.wait_exit(crate::bed::DEADLINE), 0);
    assert!(!balancer.stderr().contains("INFO"), "{}", balancer.stderr());
}

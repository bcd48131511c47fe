//! The command line as a person meets it: what it prints, what it refuses, and its exit codes.

use crate::backend::Recorder;
use crate::bed::{Balancer, DEADLINE, dead_port, eventually, get, program};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// A run of the program that has ended by itself.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(args: &[&str]) -> Run {
    let output = program().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// An address that a listener has already.
fn taken_port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("turnwheel.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// The program could not start: one sentence for a person, nothing on standard output, exit code 1.
#[track_caller]
fn refuses_to_start(args: &[&str], reason: &str) {
    refuses(args, reason, 1);
}

/// The command line is wrong: one sentence in the same way, exit code 2.
#[track_caller]
fn refuses_the_command_line(args: &[&str], reason: &str) {
    refuses(args, reason, 2);
}

#[track_caller]
fn refuses(args: &[&str], reason: &str, code: i32) {
    let run = run(args);
    assert!(run.stderr.contains(reason), "{args:?} does not say {reason:?}: {}", run.stderr);
    assert!(run.stderr.starts_with("turnwheel: "), "{args:?}: {}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{args:?}: one sentence: {}", run.stderr);
    for noise in ["panicked", "backtrace", "Error", "Os {", "{ code"] {
        assert!(!run.stderr.contains(noise), "{args:?}: {}", run.stderr);
    }
    let mut clauses: Vec<_> = run.stderr.trim_end().split([':', ';']).map(str::trim).collect();
    clauses.retain(|clause| clause.contains(' '));
    let said = clauses.len();
    clauses.sort_unstable();
    clauses.dedup();
    assert_eq!(clauses.len(), said, "{args:?}: it says something twice: {}", run.stderr);
    assert_eq!(run.stdout, "", "{args:?}");
    assert_eq!(run.code, code, "{args:?}");
}

const ANY: &str = "--listen=127.0.0.1:0";

#[test]
fn the_demo_prints_three_lines_and_its_backends_take_turns() {
    let demo = Balancer::start(&["demo", ANY, "--backend-port=0", "--backend-port=0"]);
    let said = demo.stdout();
    let ports: Vec<&str> = said.lines().map(|line| line.rsplit_once(':').unwrap().1).collect();
    let [first, second, front] = ports[..] else { panic!("three lines: {said}") };
    assert_eq!(
        said,
        format!(
            "Backend is listening on :{first}\nBackend is listening on :{second}\nLoad balancer is listening on :{front}\n"
        )
    );
    assert!(first != second && front == demo.addr.port().to_string(), "{said}");
    for port in [first, second, first, second] {
        let reply = demo.get("/");
        assert_eq!((reply.status, reply.text()), (200, &*format!("Hello from backend server on :{port}\n")));
    }
    assert_eq!(demo.stdout(), said, "requests add nothing");
}

#[test]
fn the_demo_delays_its_replies_as_told() {
    let demo = Balancer::start(&["demo", ANY, "--backend-port=0", "--delay=300ms"]);
    let began = std::time::Instant::now();
    assert_eq!(demo.get("/").status, 200);
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_demo_backend_replies_with_its_port_or_its_name() {
    let unnamed = Balancer::demo_backend(&[]);
    assert_eq!(unnamed.stdout(), format!("Backend is listening on {}\n", unnamed.addr));
    assert_eq!(unnamed.get("/").text(), format!("Hello from backend server on :{}\n", unnamed.addr.port()));
    let named = Balancer::demo_backend(&["--name=blue", "--delay=200ms"]);
    let began = std::time::Instant::now();
    assert_eq!(named.get("/any?thing").text(), "Hello from backend server on blue\n");
    assert!(began.elapsed() >= Duration::from_millis(200));
}

const SETTINGS: &[&str] = &[
    "--listen",
    "--edge",
    "--workers",
    "--queue",
    "--queue-timeout",
    "--strategy",
    "--retries",
    "--retry-budget",
    "--retry-floor",
    "--max-in-flight",
    "--all-down",
    "--slow-start",
    "--sticky",
    "--sticky-secret-file",
    "--resolve-interval",
    "--health",
    "--health-path",
    "--health-status",
    "--health-interval",
    "--health-timeout",
    "--rise",
    "--fall",
    "--max-fails",
    "--fail-timeout",
    "--longest-ejection",
    "--admin",
    "--admin-token-file",
    "--connect-timeout",
    "--reply-head-timeout",
    "--upstream-timeout",
    "--upstream-idle-timeout",
    "--client-head-timeout",
    "--client-body-timeout",
    "--client-write-timeout",
    "--idle-timeout",
    "--min-body-rate",
    "--max-connections",
    "--max-connections-per-client",
    "--max-requests-per-connection",
    "--max-head",
    "--max-uri",
    "--max-headers",
    "--max-body",
    "--trusted-proxies",
    "--access-log",
    "--drain-delay",
    "--grace",
];

/// The options of a help text, each with what is said about it on one line.
fn options(help: &str) -> Vec<(String, String)> {
    let mut options: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        let text = line.trim();
        let flag = text.split([' ', ',', '=']).find(|word| word.starts_with("--"));
        match (flag, options.last_mut()) {
            (Some(flag), _) if text.starts_with('-') => {
                // Short help has the text on the same line.
                let said = text.rsplit_once("  ").map_or("", |(_, said)| said);
                options.push((flag.to_owned(), said.to_owned()));
            }
            (_, Some((_, said))) if !said.is_empty() => *said += &format!(" {text}"),
            (_, Some((_, said))) => *said += text,
            _ => {}
        }
    }
    options
}

/// What the help of a command says about an option.
#[track_caller]
fn help_of(command: &str, flag: &str) -> String {
    let help = run(&[command, "--help"]).stdout;
    let found = options(&help).into_iter().find(|(name, _)| name == flag);
    found.unwrap_or_else(|| panic!("{command} has no {flag}:\n{help}")).1
}

#[test]
fn help_shows_the_defaults_of_its_own_command() {
    for command in ["demo", "serve"] {
        let help = run(&[command, "--help"]).stdout;
        for (flag, said) in options(&help) {
            let is_setting = SETTINGS.contains(&&*flag) || ["--backend-port", "--delay"].contains(&&*flag);
            let shown = said.matches("[default: ").count();
            assert_eq!(shown, usize::from(is_setting), "{command} {flag}: {said}");
            assert!(!said.contains("demo:"), "{command} {flag}: {said}");
        }
    }
    for (flag, demo, serve) in [
        ("--edge", "tiny-http", "parked"),
        ("--health-interval", "1s", "5s"),
        ("--admin", "127.0.0.1:8090", "off"),
        ("--listen", "127.0.0.1:8080", "127.0.0.1:8080"),
        ("--max-body", "1GiB", "1GiB"),
        ("--min-body-rate", "240B", "240B"),
    ] {
        for (command, default) in [("demo", demo), ("serve", serve)] {
            let said = help_of(command, flag);
            assert!(said.contains(&format!("[default: {default}]")), "{command} {flag}: {said}");
        }
    }
    for (command, flag, default) in [
        ("demo", "--backend-port", "8081 and 8082"),
        ("backend", "--delay", "0s"),
        ("backend", "--name", "its port, as \":8081\""),
        ("reload", "--admin", "127.0.0.1:8090"),
        #[cfg(feature = "top")]
        ("top", "--interval", "500ms"),
    ] {
        let said = help_of(command, flag);
        assert!(said.contains(&format!("[default: {default}]")), "{command} {flag}: {said}");
    }
}

#[test]
fn help_says_what_may_follow_a_backend_and_what_a_port_alone_means() {
    let said = help_of("serve", "--backend");
    assert!(said.contains(",weight=N") && said.contains(",backup"), "{said}");
    for (command, flag) in [("serve", "--listen"), ("backend", "--listen"), ("serve", "--admin")] {
        let said = help_of(command, flag);
        assert!(said.contains("port alone") && said.contains("127.0.0.1"), "{command} {flag}: {said}");
    }
}

#[test]
fn help_names_every_flag_and_none_that_does_nothing() {
    let demo = [SETTINGS, &["--backend-port", "--delay"]].concat();
    let serve = [SETTINGS, &["--backend", "--config"]].concat();
    for (command, flags) in [
        ("demo", &demo[..]),
        ("serve", &serve),
        ("backend", &["--listen", "--name", "--delay"]),
        ("check", &["--config"]),
        ("reload", &["--admin", "--admin-token-file"]),
        #[cfg(feature = "top")]
        ("top", &["--admin", "--admin-token-file", "--interval", "--once"]),
    ] {
        let help = run(&[command, "--help"]);
        assert_eq!((help.code, &*help.stderr), (0, ""), "{command}");
        let mut found: Vec<_> = options(&help.stdout)
            .into_iter()
            .map(|(flag, _)| flag)
            .filter(|flag| flag != "--help" && flag != "--version")
            .collect();
        let mut wanted: Vec<_> = flags.iter().map(ToString::to_string).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{command}:\n{}", help.stdout);
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = run(&["--help"]);
    assert_eq!(help.code, 0);
    for command in ["demo", "serve", "backend", "check", "reload"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command}:\n{}", help.stdout);
    }
    assert_eq!(help.stdout.contains("\n  top "), cfg!(feature = "top"), "{}", help.stdout);
    let version = run(&["--version"]);
    assert_eq!(version.stdout, concat!("turnwheel ", env!("CARGO_PKG_VERSION"), "\n"));
    for command in ["demo", "serve", "backend", "check", "reload"] {
        let of_command = run(&[command, "--version"]);
        assert_eq!((of_command.code, of_command.stdout), (0, version.stdout.clone()), "{command}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [
        &[][..],
        &["dance"],
        &["serve", "--no-such-flag"],
        &["demo", "--workers=many"],
        &["demo", "--grace=soon"],
        &["demo", "--backend-port=70000"],
        &["serve", "--strategy=random"],
        &["check"],
        &["backend"],
        &["reload", "--admin=nowhere"],
        &["backend", "--listen=nowhere"],
        &["top", "--interval=soon"],
    ] {
        let run = run(args);
        assert_eq!((run.code, &*run.stdout), (2, ""), "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains("Usage:") || run.stderr.contains("--help"), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn check_accepts_a_valid_file() {
    let text = "listen = ['127.0.0.1:0', '[::1]:0']\nbackend = ['http://127.0.0.1:1', 'http://[::1]:2']\n\
        edge = 'tiny-http'\nworkers = 3\nqueue = 9\nqueue_timeout = '1s'\nretries = 0\n\
        connect_timeout = '1s'\nreply_head_timeout = '1m'\nupstream_timeout = '30s'\n\
        upstream_idle_timeout = '4s'\nclient_body_timeout = '5s'\nclient_write_timeout = '5s'\n\
        idle_timeout = '60s'\nmax_head = '16KiB'\nmax_headers = 50\nmax_body = '1MiB'\n\
        trusted_proxies = ['10.0.0.0/8', '::1/128']\naccess_log = 'json'\ndrain_delay = '0s'\ngrace = '250ms'\n";
    let (_folder, path) = file(text);
    let path = path.to_str().unwrap();
    let run = run(&["check", "--config", path]);
    assert_eq!((run.code, run.stderr), (0, String::new()));
    assert_eq!(run.stdout, format!("{path} is valid\n"));
}

#[test]
fn check_prints_every_reason_at_once() {
    let text = "listen = 'here'\nbackend = ['http://a:1', 'http://a:1', 'https://b:2', 'http://c:3/path']\n\
        workers = 0\nqueue = 0\nconnect_timeout = '0s'\nmax_body = '0'\n";
    let (_folder, path) = file(text);
    let run = run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!((run.code, &*run.stdout), (1, ""));
    let reasons = [
        "\"here\" is not an address",
        "backend http://a:1 is named twice",
        "TLS to a backend is not supported",
        "it has a path",
        "workers is 0",
        "queue is 0",
        "connect_timeout is 0",
        "max_body is 0",
    ];
    for reason in reasons {
        assert!(run.stderr.contains(reason), "{reason} is missing:\n{}", run.stderr);
    }
    assert_eq!(run.stderr.lines().count(), reasons.len(), "a line each:\n{}", run.stderr);
    assert!(run.stderr.lines().all(|line| line.starts_with("turnwheel: ")), "{}", run.stderr);
}

#[test]
fn each_of_several_reasons_has_the_programs_name() {
    let several = run(&["serve", "--listen=8080x", "--workers=0", "--backend=127.0.0.1:9001"]);
    assert_eq!((several.code, &*several.stdout), (2, ""));
    assert_eq!(several.stderr.lines().count(), 3, "{}", several.stderr);
    assert!(several.stderr.lines().all(|line| line.starts_with("turnwheel: ")), "{}", several.stderr);
}

#[test]
fn reload_without_an_admin_listener_says_what_to_do() {
    let dead = dead_port();
    let flag = format!("--admin={}", dead.addr);
    let sentence =
        format!("nothing listens on {0}; is the admin listener on? start it with --admin {0}\n", dead.addr);
    refuses_to_start(&["reload", &flag], &sentence);
    refuses_to_start(
        &["reload", &flag, "--admin-token-file=/no/such"],
        "cannot read the admin token in /no/such",
    );
    let (_folder, short) = file("short\n");
    let short = format!("--admin-token-file={}", short.display());
    refuses_to_start(&["reload", &flag, &short], "the admin token is too short");
}

#[test]
fn an_unknown_key_is_reported_with_its_line() {
    let (_folder, path) = file("backend = 'http://127.0.0.1:1'\n\n# more of them\nworker = 3\n");
    let path = path.to_str().unwrap();
    for args in [&["check", "--config", path][..], &["serve", ANY, "--config", path]] {
        refuses_to_start(args, "line 4: unknown field `worker`");
    }
}

#[test]
fn a_flag_overrides_the_file() {
    let backend = Recorder::hello("from the file");
    let (_held, taken) = taken_port();
    let (_folder, path) =
        file(&format!("listen = '{taken}'\nbackend = 'http://{}'\nmax_body = '5B'\n", backend.addr));
    let path = path.to_str().unwrap();
    refuses_to_start(&["serve", "--config", path], "the port is in use");
    let balancer = Balancer::start(&["serve", "--config", path, ANY]);
    assert_ne!(balancer.addr, taken);
    assert_eq!(balancer.get("/").text(), "from the file");
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nsix by";
    assert_eq!(balancer.client().request(upload).status, 413, "what no flag says, the file says");
    let balancer = Balancer::start(&["serve", "--config", path, ANY, "--max-body=6B"]);
    assert_eq!(balancer.client().request(upload).status, 200);
}

#[test]
fn a_port_that_is_in_use_is_named() {
    let (_held, taken) = taken_port();
    let listen = format!("--listen={taken}");
    let port = format!("--backend-port={}", taken.port());
    let sentence = format!(
        "cannot listen on {taken}: the port is in use; stop the program that has it, or choose another port\n"
    );
    refuses_to_start(&["serve", "--backend=http://127.0.0.1:1", &listen], &sentence);
    refuses_to_start(&["backend", &listen], &sentence);
    refuses_to_start(&["demo", "--backend-port=0", &listen], &sentence);
    refuses_to_start(&["demo", ANY, &port], &sentence);
}

#[test]
fn nothing_stays_bound_after_a_failed_start() {
    let (_held, taken) = taken_port();
    let fine = dead_port();
    let [taken_flag, fine_flag] = [taken, fine.addr].map(|addr| format!("--listen={addr}"));
    refuses_to_start(
        &["serve", "--backend=http://127.0.0.1:1", &fine_flag, &taken_flag],
        "the port is in use",
    );
    TcpListener::bind(fine.addr).expect("the port that was fine is free again");
}

#[test]
fn a_backend_that_cannot_be_used_is_refused_in_a_sentence() {
    let unknown = "http://no-such-host.invalid:1";
    let sentence = format!("cannot find the address of backend {unknown}");
    refuses_to_start(&["serve", ANY, &format!("--backend={unknown}")], &sentence);
    for (url, reason) in [
        ("http://127.0.0.1:1/path", "it has a path"),
        ("http://127.0.0.1:1?query", "it has a query"),
        ("https://127.0.0.1:1", "TLS to a backend is not supported yet"),
        ("127.0.0.1:1", "it does not begin with http://"),
        ("http://127.0.0.1:0", "its port is 0"),
        ("", "it does not begin with http://"),
    ] {
        refuses_the_command_line(&["serve", ANY, &format!("--backend={url}")], reason);
    }
    let twice = ["serve", ANY, "--backend=http://127.0.0.1:1", "--backend=http://127.0.0.1:1/"];
    refuses_the_command_line(&twice, "backend http://127.0.0.1:1 is named twice");
    refuses_the_command_line(&["serve", ANY], "no backend is named");
}

#[test]
fn values_out_of_range_are_refused_in_a_sentence() {
    for (flag, reason) in [
        ("--workers=0", "workers is 0; it must be at least 1"),
        ("--workers=1000000", "workers is 1000000; it must be at most"),
        ("--queue=0", "queue is 0; it must be at least 1"),
        ("--queue-timeout=0s", "queue_timeout is 0"),
        ("--max-head=0", "max_head is 0"),
        ("--listen=nowhere", "\"nowhere\" is not an address to listen on"),
        ("--listen=8080x", "\"8080x\" is not an address to listen on"),
    ] {
        let mut args = vec!["serve", "--backend=http://127.0.0.1:1", flag];
        args.extend((!flag.starts_with("--listen")).then_some(ANY));
        refuses_the_command_line(&args, reason);
    }
    refuses_to_start(
        &["serve", "--backend=http://127.0.0.1:1", "--listen=192.0.2.1:0"],
        "this machine has no such address",
    );
    refuses_the_command_line(&["demo", ANY, "--backend-port=0", "--workers=0"], "workers is 0");
}

#[test]
fn the_exit_code_tells_a_wrong_flag_from_a_wrong_file() {
    let (_folder, path) = file("backend = 'http://127.0.0.1:1'\nworkers = 0\n");
    let path = path.to_str().unwrap();
    refuses_to_start(&["serve", ANY, "--config", path], "workers is 0");
    let overridden = ["serve", ANY, "--workers=4", "--queue=0", "--config", path];
    refuses_the_command_line(&overridden, "queue is 0");
    let (_folder, empty) = file("");
    refuses_to_start(&["serve", ANY, "--config", empty.to_str().unwrap()], "no backend is named");
    let (_folder, malformed) = file("backend = 'http://127.0.0.1:1'\nworkers = 'many'\n");
    let malformed = malformed.to_str().unwrap();
    refuses_to_start(&["serve", ANY, "--workers=4", "--config", malformed], "line 2: invalid type");
    let secret = "--admin-token-file=/no/such";
    refuses_to_start(&["serve", ANY, "--backend=http://127.0.0.1:1", secret], "cannot read the admin token");
}

#[test]
fn a_port_alone_is_a_port_of_loopback() {
    let backend = Recorder::hello("here");
    let url = format!("--backend=http://{}", backend.addr);
    for colon in ["", ":"] {
        let reserved = [dead_port(), dead_port(), dead_port()];
        let [addr, admin, other] = reserved.each_ref().map(|port| port.addr);
        let [listen, admin_flag] = [("listen", addr), ("admin", admin)]
            .map(|(name, addr)| format!("--{name}={colon}{}", addr.port()));
        let balancer = Balancer::start(&["serve", &*url, &listen, &admin_flag]);
        assert_eq!(balancer.addr, addr);
        assert_eq!(balancer.get("/").text(), "here");
        assert_eq!(get(admin, "/healthz").status, 200);
        let listen = format!("--listen={colon}{}", other.port());
        let demo = Balancer::spawn(program().args(["backend", &listen]), "Backend is listening on ");
        assert_eq!(demo.addr, other);
    }
    for listen in [|port| format!("{port}"), |port| format!("'{port}'"), |port| format!("[':{port}']")] {
        let reserved = dead_port();
        let addr = reserved.addr;
        let (_folder, path) =
            file(&format!("listen = {}\nbackend = 'http://{}'\n", listen(addr.port()), backend.addr));
        let balancer = Balancer::start(&["serve", "--config", path.to_str().unwrap()]);
        assert_eq!(balancer.addr, addr);
    }
}

#[test]
fn stopping_names_the_signal() {
    for (signal, name) in [(libc::SIGINT, "SIGINT"), (libc::SIGTERM, "SIGTERM"), (libc::SIGHUP, "SIGHUP")] {
        let mut demo = Balancer::start(&["demo", ANY, "--backend-port=0", "--admin=off"]);
        demo.signal(signal);
        assert_eq!(demo.wait_exit(DEADLINE), 0, "{name}");
        let line = format!("stopping ({name}): ");
        eventually(&line, || demo.stderr().contains(&line));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    let missing = missing.to_str().unwrap();
    refuses_to_start(&["serve", ANY, "--config", missing], &format!("cannot read {missing}"));
    refuses_to_start(&["check", "--config", missing], &format!("cannot read {missing}"));
    refuses_to_start(&["check", "--config", folder.path().to_str().unwrap()], "cannot read");
    let (_folder, binary) = file("");
    std::fs::write(&binary, b"\xff\xfe\0").unwrap();
    refuses_to_start(&["check", "--config", binary.to_str().unwrap()], "cannot read");
}

#[test]
fn listens_on_every_address_that_is_given() {
    let backend = Recorder::hello("here");
    let url = format!("--backend=http://{}", backend.addr);
    let mut args = vec!["serve", &*url, ANY, ANY];
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    if has_ipv6 {
        args.push("--listen=[::1]:0");
    } else {
        eprintln!("skipped: IPv6, which this machine has not");
    }
    let balancer = Balancer::start(&args);
    eventually("it names all addresses", || balancer.stdout().lines().count() == args.len() - 2);
    let said = balancer.stdout();
    let addresses: Vec<SocketAddr> = said
        .lines()
        .map(|line| line.strip_prefix("Load balancer is listening on ").unwrap().parse().unwrap())
        .collect();
    assert_eq!(addresses.iter().filter(|addr| addr.is_ipv6()).count(), usize::from(has_ipv6), "{said}");
    for addr in addresses {
        assert_eq!(get(addr, "/").text(), "here", "{addr}");
    }
}

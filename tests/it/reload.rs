//! The configuration is read again while requests are served.

use crate::admin_client::{ADMIN, AdminClient};
use crate::backend::Recorder;
use crate::bed::{Balancer, eventually};
use crate::config_file::{ConfigFile, backends_line};
use crate::pool::{ask_all, dammed};
use crate::steady_load::SteadyLoad;
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::sync::atomic::Ordering::SeqCst;

fn three() -> [Recorder; 3] {
    ["0", "1", "2"].map(Recorder::hello)
}

/// Two files: backends come and go, and all else that can change does.
fn variants(backends: &[Recorder; 3]) -> [String; 2] {
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let plain = backends_line(&addrs[..2]) + "workers = 16\nupstream_timeout = '20s'\nretries = 1\n";
    let tables = [(addrs[1], 3), (addrs[2], 1)]
        .map(|(addr, weight)| format!("{{ url = 'http://{addr}', weight = {weight} }}"));
    let other = format!(
        "backend = [{}]\nworkers = 16\nstrategy = 'weighted-round-robin'\nupstream_timeout = '25s'\n\
         upstream_idle_timeout = '1s'\nreply_head_timeout = '20s'\nretries = 2\nmax_in_flight = 8\n\
         sticky = 'wheel'\nhealth_interval = '1s'\nslow_start = '1s'\nretry_budget = 10\n",
        tables.join(", ")
    );
    [plain, other]
}

#[test]
fn a_hundred_reloads_under_load_fail_no_request() {
    let backends = three();
    let [plain, other] = variants(&backends);
    let file = ConfigFile::new(&plain);
    let (balancer, operator) = file.serve(&[]);
    let crowd = SteadyLoad::of(64, balancer.addr);
    for turn in 1..=100 {
        file.write(if turn % 2 == 1 { &other } else { &plain });
        let (status, said) = operator.reload();
        assert_eq!(status, 200, "{said}");
        let [added, removed] = if turn % 2 == 1 { [2, 0] } else { [0, 2] };
        let name = |at: usize| json!([backends[at].addr.to_string()]);
        assert_eq!(said, json!({ "added": name(added), "removed": name(removed), "kept": name(1) }));
        crowd.go_on_for(10);
    }
    crowd.go_on_for(200);
    let served = crowd.finish();
    assert!(backends.iter().all(|backend| backend.requests().len() > 50), "each has had its part");
    assert_eq!(backends.iter().map(|backend| backend.requests().len()).sum::<usize>(), served);
    let names = backends[..2].iter().map(|backend| backend.addr.to_string()).collect::<Vec<_>>();
    assert_eq!(operator.names(), names);
}

#[test]
fn the_command_prints_what_has_changed() {
    let backends = three();
    let [plain, other] = variants(&backends);
    let file = ConfigFile::new(&plain);
    let (balancer, operator) = file.serve(&[]);
    for (text, says) in [
        (&plain, "reloaded: 0 added, 0 removed, 2 kept\n"),
        (&other, "reloaded: 1 added, 1 removed, 1 kept\n"),
        (&plain, "reloaded: 1 added, 1 removed, 1 kept\n"),
    ] {
        file.write(text);
        let output = operator.reload_command();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), says);
        assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
    }
    eventually("the log has it, too", || balancer.stderr().contains("reloaded: 1 added, 1 removed, 1 kept"));
}

#[test]
fn a_changed_file_applies_from_the_next_request_on() {
    let backends = three();
    let [plain, other] = variants(&backends);
    let file = ConfigFile::new(&plain);
    let (balancer, operator) = file.serve(&[]);
    let cookies = |balancer: &Balancer| balancer.get("/").all("Set-Cookie").len();
    assert_eq!(cookies(&balancer), 0);
    file.write(&other);
    assert_eq!(operator.reload().0, 200);
    assert_eq!(cookies(&balancer), 1);
    let seen = operator.list();
    assert_eq!((&seen[0]["weight"], &seen[0]["max_in_flight"]), (&json!(3), &json!(8)));
    file.write(&plain);
    assert_eq!(operator.reload().0, 200);
    assert_eq!(cookies(&balancer), 0);
    let seen = operator.list();
    assert_eq!((&seen[0]["weight"], &seen[0]["max_in_flight"]), (&json!(1), &json!(12)));
}

#[test]
fn an_invalid_file_changes_nothing_and_gives_every_reason() {
    let backends = three();
    let [plain, other] = variants(&backends);
    let file = ConfigFile::new(&plain);
    let (balancer, operator) = file.serve(&[]);
    let before = operator.names();
    let invalid = other.replace("retries = 2", "rise = 0")
        + "queue = 9\nconnect_timeout = '0s'\nhealth_status = '700'\n";
    file.write(&invalid);
    let reasons = [
        "queue cannot change while turnwheel is running",
        "connect_timeout is 0s; it must be at least 10ms",
        "rise is 0; it must be from 1 to 1000",
        "health_status is set, but a check fetches nothing without health_path",
        "700 is not between 100 and 599",
    ];
    let (status, said) = operator.reload();
    assert_eq!(
        (status, &said["error"]),
        (422, &json!("the configuration is not valid, and nothing has changed"))
    );
    let problems: Vec<_> = said["problems"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let output = operator.reload_command();
    let printed = String::from_utf8(output.stderr).unwrap();
    for reason in reasons {
        assert!(problems.iter().any(|problem| problem.contains(reason)), "{reason}: {problems:?}");
        assert!(printed.contains(reason), "{reason}: {printed}");
    }
    assert_eq!((problems.len(), printed.lines().count()), (reasons.len(), reasons.len()), "{printed}");
    assert_eq!((output.status.code(), output.stdout), (Some(1), vec![]));
    for (text, reason) in [
        ("backend = ", "line 1"),
        ("backend = 'http://127.0.0.1:1'\nworker = 3\n", "line 2: unknown field `worker`"),
        ("backend = 'http://no-such-host.invalid:1'\nworkers = 16\n", "cannot find the address of backend"),
        ("workers = 16\n", "no backend is named"),
    ] {
        file.write(text);
        let (status, said) = operator.reload();
        assert!(status == 422 && said["problems"][0].as_str().unwrap().contains(reason), "{text}: {said}");
    }
    fs::remove_file(&file.path).unwrap();
    let (status, said) = operator.reload();
    assert!(status == 422 && said["problems"][0].as_str().unwrap().contains("cannot read"), "{said}");
    assert_eq!(operator.names(), before);
    (0..4).for_each(|_| assert_eq!(balancer.get("/").status, 200));
    assert_eq!(backends[2].requests().len(), 0);
    assert_eq!(operator.list()[0]["max_in_flight"], 12, "nothing of it has been taken over");
}

/// All that cannot change, with a value to begin with and another one.
const FIXED: [(&str, &str, &str); 21] = [
    ("access_log", "'off'", "'json'"),
    ("admin", "'127.0.0.1:0'", "'127.0.0.1:1'"),
    ("admin_token_file", "TOKEN", "OTHER"),
    ("client_body_timeout", "'30s'", "'31s'"),
    ("client_head_timeout", "'10s'", "'11s'"),
    ("client_write_timeout", "'30s'", "'31s'"),
    ("drain_delay", "'0s'", "'1s'"),
    ("edge", "'parked'", "'tiny-http'"),
    ("grace", "'10s'", "'11s'"),
    ("idle_timeout", "'60s'", "'61s'"),
    ("listen", "'127.0.0.1:0'", "'127.0.0.2:0'"),
    ("max_body", "1000001", "1000002"),
    ("max_connections", "1000", "1001"),
    ("max_connections_per_client", "1000", "1001"),
    ("max_head", "16385", "16386"),
    ("max_headers", "100", "101"),
    ("max_requests_per_connection", "1000", "1001"),
    ("max_uri", "16385", "16386"),
    ("min_body_rate", "1025", "1026"),
    ("queue", "1000", "1001"),
    ("queue_timeout", "'10s'", "'11s'"),
];

#[test]
fn a_change_of_a_fixed_setting_is_refused_by_name() {
    let backend = Recorder::hello("0");
    let text = |change: Option<&str>| {
        let mut text = backends_line(&[backend.addr]) + "workers = 4\n";
        for (name, value, other) in FIXED {
            if name != "admin" && name != "admin_token_file" {
                let value = if change == Some(name) { other } else { value };
                writeln!(text, "{name} = {value}").unwrap();
            }
        }
        text
    };
    let file = ConfigFile::new(&text(None));
    let config = format!("--config={}", file.path.display());
    let balancer = Balancer::start(&["serve", ADMIN, &config, "--edge=parked"]);
    let operator = AdminClient::of(&balancer);
    assert_eq!(operator.reload().0, 200, "as it was is fine");
    let refuses = |text: String, name: &str| {
        file.write(&text);
        let (status, said) = operator.reload();
        let expected = format!("{name} cannot change while turnwheel is running; put it back, or restart");
        assert_eq!((status, &said["problems"]), (422, &json!([expected])), "{name}: {said}");
    };
    let changes = FIXED.map(|(name, ..)| name);
    // A flag has the word on these, whatever the file says: nothing has changed.
    let by_flag = ["edge", "admin", "admin_token_file"];
    for name in changes.into_iter().filter(|name| !by_flag.contains(name)) {
        refuses(text(Some(name)), name);
        let left_out: String = text(None)
            .lines()
            .filter(|line| !line.starts_with(&format!("{name} ")))
            .fold(String::new(), |text, line| text + line + "\n");
        refuses(left_out, name);
    }
    refuses(text(None).replace("workers = 4", "workers = 5"), "workers");
    file.write(&(text(Some("edge")) + "admin = '127.0.0.1:1'\n"));
    assert!(operator.reload().0 == 200, "flags override the file");
}

#[test]
fn a_backend_that_stays_keeps_its_state() {
    let backends = three();
    let [plain, other] = variants(&backends);
    let file = ConfigFile::new(&plain);
    let (balancer, operator) = file.serve(&[]);
    (0..6).for_each(|_| assert_eq!(balancer.get("/").status, 200));
    let stays = backends[1].addr;
    operator.drain(stays);
    eventually("it is idle", || operator.backend(stays)["idle"] == true);
    let before = operator.backend(stays);
    for text in [&other, &plain, &plain] {
        file.write(text);
        assert_eq!(operator.reload().0, 200);
        let after = operator.backend(stays);
        for key in ["name", "state", "since", "tries", "failures", "in_flight", "idle"] {
            if key == "since" {
                assert!(after["for_seconds"].as_f64() >= before["for_seconds"].as_f64(), "{before} {after}");
            } else {
                assert_eq!(before[key], after[key], "{key}");
            }
        }
        assert_eq!(after["state"], "draining");
        (0..4).for_each(|_| assert_ne!(balancer.get("/").text(), "1"));
    }
    operator.resume(stays);
    (0..4).for_each(|_| assert_eq!(balancer.get("/").status, 200));
    assert!(operator.backend(stays)["tries"].as_u64() > before["tries"].as_u64());
}

#[test]
fn a_removed_backend_finishes_its_requests() {
    let ((slow, dam), other) = (dammed(), Recorder::hello("other"));
    let file = ConfigFile::new(&backends_line(&[slow.addr, other.addr]));
    let (balancer, operator) = file.serve(&["--strategy=least-connections"]);
    let mut clients = ask_all(balancer.addr, 2);
    eventually("it is asked", || dam.held.load(SeqCst) > 0);
    file.write(&backends_line(&[other.addr]));
    assert_eq!(operator.reload().1["removed"], json!([slow.addr.to_string()]));
    assert_eq!(operator.names(), [other.addr.to_string()]);
    let before = slow.requests().len();
    (0..4).for_each(|_| assert_eq!(balancer.get("/").text(), "other"));
    assert_eq!(slow.requests().len(), before);
    dam.open.store(true, SeqCst);
    clients.iter_mut().for_each(|client| assert_eq!(client.read_reply().status, 200));
}

#[test]
fn a_reload_without_a_file_says_how_to_start_with_one() {
    let backend = Recorder::hello("0");
    let balancer = Balancer::serve(&[backend.addr], &[ADMIN]);
    let operator = AdminClient::of(&balancer);
    let (status, said) = operator.reload();
    let sentence =
        "this balancer was started without a configuration file; to reload one, start it with --config FILE";
    assert_eq!((status, &said["problems"]), (422, &json!([sentence])));
    let output = operator.reload_command();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), printed), (Some(1), format!("turnwheel: {sentence}\n")));
}

#[test]
fn a_reload_during_a_write_of_the_file_does_no_harm() {
    let backends = three();
    let addrs = backends.each_ref().map(|backend| backend.addr);
    // The backends stand last, so that half a file is none.
    let texts =
        [&addrs[..2], &addrs[1..]].map(|addrs| format!("# {}\n{}", "-".repeat(9000), backends_line(addrs)));
    let file = ConfigFile::new(&texts[0]);
    let (balancer, operator) = file.serve(&[]);
    let crowd = SteadyLoad::of(16, balancer.addr);
    let (mut fine, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for turn in 0..200 {
                let mut open = fs::File::create(&file.path).unwrap();
                for piece in texts[turn % 2].as_bytes().chunks(700) {
                    std::io::Write::write_all(&mut open, piece).unwrap();
                    std::thread::yield_now();
                }
            }
        });
        while !writer.is_finished() {
            match operator.reload().0 {
                200 => fine += 1,
                422 => refused += 1,
                other => panic!("{other}"),
            }
        }
    });
    println!("{fine} reloads, {refused} refused");
    assert_eq!(operator.reload().0, 200, "it is whole now");
    assert_eq!(operator.names(), addrs[1..].iter().map(ToString::to_string).collect::<Vec<_>>());
    crowd.finish();
}

#[test]
fn concurrent_reloads_end_with_the_latest_file() {
    let backends = three();
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let file = ConfigFile::new(&backends_line(&addrs[..1]));
    let (_balancer, operator) = file.serve(&[]);
    for turn in 0..60 {
        let last = addrs[turn % 3];
        std::thread::scope(|scope| {
            // One begins before the change and may end after the other.
            scope.spawn(|| assert_eq!(operator.reload().0, 200));
            file.write(&backends_line(&[last]));
            assert_eq!(operator.reload().0, 200);
        });
        assert_eq!(operator.names(), [last.to_string()], "turn {turn}");
    }
}

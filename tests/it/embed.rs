//! The library inside another program: the example, run as its reader would run it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use turnwheel::Config;

/// `cargo test` builds it next to these tests.
fn example() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.ancestors().nth(2).unwrap().join("examples").join("embed");
    assert!(path.exists(), "{} is missing: cargo build --example embed", path.display());
    path
}

#[test]
fn the_example_serves_and_the_library_says_nothing_of_its_own() {
    let output = Command::new(example()).env_remove("RUST_LOG").stdin(Stdio::null()).output().unwrap();
    let (said, complained) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{said}\n{complained}");
    let lines: Vec<_> = said.lines().collect();
    let [listening, greeting, stopped] = lines[..] else { panic!("three lines: {said:?}") };
    let port = listening.strip_prefix("listening on 127.0.0.1:").unwrap();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    assert_eq!((greeting, stopped), ("Hello from backend server on inside", "stopped"));
    assert_eq!(complained, "", "no subscriber is installed, so there is nowhere for it to speak");
}

#[test]
fn an_invalid_configuration_is_refused_with_every_reason() {
    let mut config = Config::new(Vec::new());
    config.listen.clear();
    config.workers = 0;
    config.queue.capacity = 0;
    config.upstream.forward.connect_timeout = Duration::ZERO;
    let invalid = config.validate().err().expect("it is not valid");
    let expected = [
        "no backend is named; name at least one with --backend http://host:port",
        "connect_timeout is 0s; it must be at least 10ms",
        "there is no address to listen on; name at least one, 127.0.0.1:8080 for example",
        "workers is 0; it must be at least 1",
        "queue is 0; it must be at least 1",
    ];
    assert_eq!(invalid.reasons().collect::<Vec<_>>(), expected);
    assert_eq!(invalid.to_string(), expected.join("\n"));
}

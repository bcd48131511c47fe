//! The library inside another program: the example, run as its reader would run it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

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

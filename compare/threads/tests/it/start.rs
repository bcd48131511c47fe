use std::net::TcpListener;
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_turnwheel-threads")).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    said
}

#[test]
fn an_invalid_command_line_exits_with_2_and_one_message() {
    for args in [
        &[][..],
        &["demo"],
        &["serve"],
        &["serve", "--backend", "http://127.0.0.1:1", "--workers=8"],
        &["serve", "--backend", "https://127.0.0.1:1"],
        &["serve", "--backend", "http://127.0.0.1:1", "--reply-head-timeout", "soon"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(said(&output).starts_with("turnwheel-threads: "), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_port_in_use_exits_with_1_and_one_message() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let output = run(&["serve", "--listen", &addr, "--backend", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(&format!("cannot listen on {addr}")));
}

//! What can be asked of the demo's demo_controls, and the limits to it.

use super::control::{BackendChange, DemoControls, TrafficChange};
use super::fields::Fields;
use super::reply::Reply;
use http::StatusCode;
use std::io::Read;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Requests a second. A laptop can do so many beside what else it does.
const RATE: RangeInclusive<u32> = 0..=2000;

/// Clients that make them.
const CLIENTS: RangeInclusive<u32> = 1..=64;

/// How long a backend thinks: a minute at most, longer than the balancer waits for it.
const DELAY_MS: RangeInclusive<u32> = 0..=60_000;

/// How many of a hundred replies are errors.
const ERROR_PERCENT: RangeInclusive<u32> = 0..=100;

/// Says how things are.
pub fn show(demo_controls: Option<&dyn DemoControls>) -> Result<Reply, Reply> {
    Ok(Reply::ok(there(demo_controls)?.show()))
}

/// Changes the traffic as the body says.
pub fn change_traffic(demo_controls: Option<&dyn DemoControls>, body: &mut dyn Read) -> Result<Reply, Reply> {
    let demo_controls = there(demo_controls)?;
    let mut fields = Fields::read(body)?;
    let change = TrafficChange {
        rate: fields.number_within("rate", RATE)?,
        clients: fields.number_within("clients", CLIENTS)?,
    };
    fields.are_all_known()?;
    demo_controls.change_traffic(change).map(Reply::ok).map_err(Reply::from)
}

/// Changes a backend as the body says.
pub fn change_backend(
    demo_controls: Option<&dyn DemoControls>,
    name: &str,
    body: &mut dyn Read,
) -> Result<Reply, Reply> {
    let demo_controls = there(demo_controls)?;
    let mut fields = Fields::read(body)?;
    let delay = fields.number_within("delay_ms", DELAY_MS)?;
    let change = BackendChange {
        delay: delay.map(|delay| Duration::from_millis(delay.into())),
        error_percent: fields.number_within("error_percent", ERROR_PERCENT)?,
        running: fields.flag("running")?,
    };
    fields.are_all_known()?;
    demo_controls.change_backend(name, change).map(Reply::ok).map_err(Reply::from)
}

fn there(demo_controls: Option<&dyn DemoControls>) -> Result<&dyn DemoControls, Reply> {
    let nothing = "this is no demo: only `turnwheel demo` has backends and traffic of its own";
    demo_controls.ok_or_else(|| Reply::error(StatusCode::NOT_FOUND, nothing))
}

#[cfg(test)]
mod tests {
    use super::super::api::{self, Balancer};
    use super::super::control::fake::Fake;
    use super::*;

    const TRAFFIC: &str = "POST /api/demo/traffic";
    const BACKEND: &str = "POST /api/demo/backends/127.0.0.1:8081";

    fn ask(demo_controls: Option<&Fake>, request: &str, body: &str) -> (u16, String) {
        let (method, path) = request.split_once(' ').unwrap();
        let (control, demo_controls) =
            (Fake::default(), demo_controls.map(|demo_controls| demo_controls as &dyn DemoControls));
        let balancer = Balancer { control: &control, insight: &control, demo_controls };
        let reply =
            api::answer(balancer, &method.parse().unwrap(), &path.parse().unwrap(), &mut body.as_bytes());
        (reply.status.as_u16(), reply.text)
    }

    /// One request, its status, words that the answer has, and what the demo was asked to do.
    #[track_caller]
    fn asks(request: &str, body: &str, status: u16, words: &str, asked: &[&str]) {
        let demo_controls = Fake::default();
        let (got, text) = ask(Some(&demo_controls), request, body);
        assert!(got == status && text.contains(words), "{request} {body}: {got} {text}");
        assert_eq!(demo_controls.asked(), asked, "{request} {body}");
    }

    #[test]
    fn each_change_answers_with_how_things_are() {
        let shown = r#"{"backends":[],"traffic":{}}"#;
        asks("GET /api/demo", "", 200, shown, &[]);
        for method in ["POST", "PUT"] {
            let body = r#"{"rate": 2000, "clients": 64}"#;
            let request = format!("{method} /api/demo/traffic");
            asks(&request, body, 200, shown, &["traffic Some(2000) Some(64)"]);
            let body = r#"{"delay_ms": 60000, "error_percent": 100, "running": false}"#;
            let request = format!("{method} /api/demo/backends/127.0.0.1:8081");
            asks(&request, body, 200, shown, &["play Some(60s) Some(100) Some(false) 127.0.0.1:8081"]);
        }
    }

    #[test]
    fn what_is_left_out_stays_as_it_is() {
        asks(TRAFFIC, r#"{"rate": 0}"#, 200, "traffic", &["traffic Some(0) None"]);
        asks(TRAFFIC, "", 200, "traffic", &["traffic None None"]);
        asks(BACKEND, r#"{"running": true}"#, 200, "", &["play None None Some(true) 127.0.0.1:8081"]);
        asks("POST /api/demo/backends/%5B::1%5D:8081", "{}", 200, "", &["play None None None [::1]:8081"]);
    }

    #[test]
    fn a_number_that_is_out_of_range_is_422_and_says_the_range() {
        for (request, body, words) in [
            (TRAFFIC, r#"{"rate": 2001}"#, r#"\"rate\" is 2001; it must be from 0 to 2000"#),
            (TRAFFIC, r#"{"rate": -1}"#, r#"\"rate\" is -1; it must be from 0 to 2000"#),
            (TRAFFIC, r#"{"rate": 5, "clients": 0}"#, r#"\"clients\" is 0; it must be from 1 to 64"#),
            (TRAFFIC, r#"{"rate": 5, "clients": 65}"#, r#"\"clients\" is 65; it must be from 1 to 64"#),
            (BACKEND, r#"{"delay_ms": 60001}"#, r#"\"delay_ms\" is 60001; it must be from 0 to 60000"#),
            (BACKEND, r#"{"delay_ms": 4294967296}"#, "it must be from 0 to 60000"),
            (BACKEND, r#"{"running": false, "error_percent": 101}"#, "it must be from 0 to 100"),
        ] {
            asks(request, body, 422, words, &[]);
        }
    }

    #[test]
    fn what_is_not_understood_is_400_and_changes_nothing() {
        for (request, body, words) in [
            (TRAFFIC, r#"{"rate": 5, "client": 4}"#, r#"\"client\" means nothing here"#),
            (TRAFFIC, r#"{"rate": "5"}"#, r#"\"rate\" must be a whole number"#),
            (TRAFFIC, r#"{"rate": 2.5}"#, r#"\"rate\" must be a whole number"#),
            (TRAFFIC, r#"{"rate": null}"#, r#"\"rate\" must be a whole number"#),
            (TRAFFIC, "[]", "must be a JSON object"),
            (BACKEND, r#"{"delay_ms": 5, "running": "no"}"#, r#"\"running\" must be true or false"#),
            (BACKEND, r#"{"delay_ms": 5, "delay": 5}"#, r#"\"delay\" means nothing here"#),
            (BACKEND, r#"{"error_percent": true}"#, r#"\"error_percent\" must be a whole number"#),
            (BACKEND, "{", "cannot be read as JSON"),
        ] {
            asks(request, body, 400, words, &[]);
        }
    }

    #[test]
    fn a_backend_that_is_not_there_or_cannot_be_had_now_is_said_so() {
        let asked = ["play None None Some(true) other:1"];
        asks(
            "POST /api/demo/backends/other:1",
            r#"{"running":true}"#,
            404,
            "there is no backend other:1",
            &asked,
        );
        asks("POST /api/demo/backends/taken:1", r#"{"running":true}"#, 409, "somebody else is there", &[]);
        for path in ["/api/demo/", "/api/demo/backends", "/api/demo/backends/", "/api/demo/backends/a:1/b"] {
            asks(&format!("POST {path}"), "", 404, "there is nothing at", &[]);
        }
        asks("POST /api/demo", "", 405, "GET, HEAD", &[]);
        asks("GET /api/demo/traffic", "", 405, "POST, PUT", &[]);
    }

    #[test]
    fn where_there_are_no_props_it_says_who_has_some() {
        for request in ["GET /api/demo", TRAFFIC, BACKEND] {
            let (status, text) = ask(None, request, "");
            assert!(
                status == 404 && text.contains("only `turnwheel demo` has"),
                "{request}: {status} {text}"
            );
        }
    }
}

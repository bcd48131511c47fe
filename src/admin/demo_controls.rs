//! The actions of `/api/demo`, and the ranges of their settings.

use super::control::{BackendChange, DemoControls, TrafficChange};
use super::fields::Fields;
use super::reply::AdminReply;
use http::StatusCode;
use std::io::Read;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Requests a second. A laptop makes 2000 beside its other work.
const RATE: RangeInclusive<u32> = 0..=2000;

/// Clients that make them.
const CLIENTS: RangeInclusive<u32> = 1..=64;

/// Delay of a backend in milliseconds: up to a minute, which is longer than the balancer waits for a response.
const DELAY_MS: RangeInclusive<u32> = 0..=60_000;

/// Responses of a hundred that are errors.
const ERROR_PERCENT: RangeInclusive<u32> = 0..=100;

/// Returns the demo's traffic and backends.
pub fn show(demo_controls: Option<&dyn DemoControls>) -> Result<AdminReply, AdminReply> {
    Ok(AdminReply::ok(&required(demo_controls)?.show()))
}

/// Changes the traffic as the body says.
pub fn change_traffic(
    demo_controls: Option<&dyn DemoControls>,
    body: &mut dyn Read,
) -> Result<AdminReply, AdminReply> {
    let demo_controls = required(demo_controls)?;
    let mut fields = Fields::read(body)?;
    let change = TrafficChange {
        rate: fields.number_within("rate", RATE)?,
        clients: fields.number_within("clients", CLIENTS)?,
    };
    fields.reject_unknown()?;
    Ok(AdminReply::ok(&demo_controls.change_traffic(change)?))
}

/// Changes a backend as the body says.
pub fn change_backend(
    demo_controls: Option<&dyn DemoControls>,
    name: &str,
    body: &mut dyn Read,
) -> Result<AdminReply, AdminReply> {
    let demo_controls = required(demo_controls)?;
    let mut fields = Fields::read(body)?;
    let delay = fields.number_within("delay_ms", DELAY_MS)?;
    let change = BackendChange {
        delay: delay.map(|delay| Duration::from_millis(delay.into())),
        error_percent: fields.number_within("error_percent", ERROR_PERCENT)?,
        running: fields.flag("running")?,
    };
    fields.reject_unknown()?;
    Ok(AdminReply::ok(&demo_controls.change_backend(name, change)?))
}

fn required(demo_controls: Option<&dyn DemoControls>) -> Result<&dyn DemoControls, AdminReply> {
    let sentence = "this balancer is not a demo; only `turnwheel demo` has backends and traffic of its own";
    demo_controls.ok_or_else(|| AdminReply::error(StatusCode::NOT_FOUND, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;

    const TRAFFIC: &str = "traffic";
    const BACKEND: &str = "backend 127.0.0.1:8081";
    const SHOWN: &str = r#"{"backends":[],"traffic":{"clients":0,"failed":0,"rate":0,"sent":0}}"#;

    /// Carries out the action of a request on the demo's traffic or on a backend.
    fn ask(demo_controls: Option<&Fake>, request: &str, body: &str) -> (u16, String) {
        let demo_controls = demo_controls.map(|controls| controls as &dyn DemoControls);
        let body = &mut body.as_bytes();
        let reply = match request.strip_prefix("backend ") {
            Some(name) => change_backend(demo_controls, name, body),
            None if request == "traffic" => change_traffic(demo_controls, body),
            None => show(demo_controls),
        };
        let reply = reply.unwrap_or_else(|reply| reply);
        (reply.status.as_u16(), reply.text)
    }

    /// Asserts the status of one request, words of its answer, and the changes that it makes.
    #[track_caller]
    fn asks(request: &str, body: &str, status: u16, words: &str, asked: &[&str]) {
        let demo_controls = Fake::default();
        let (got, text) = ask(Some(&demo_controls), request, body);
        assert!(got == status && text.contains(words), "{request} {body}: {got} {text}");
        assert_eq!(demo_controls.asked(), asked, "{request} {body}");
    }

    #[test]
    fn answers_each_change_with_the_state_after_it() {
        asks("show", "", 200, SHOWN, &[]);
        let body = r#"{"rate": 2000, "clients": 64}"#;
        asks(TRAFFIC, body, 200, SHOWN, &["traffic Some(2000) Some(64)"]);
        let body = r#"{"delay_ms": 60000, "error_percent": 100, "running": false}"#;
        asks(BACKEND, body, 200, SHOWN, &["change Some(60s) Some(100) Some(false) 127.0.0.1:8081"]);
    }

    #[test]
    fn leaves_a_setting_as_it_is_without_a_field() {
        asks(TRAFFIC, r#"{"rate": 0}"#, 200, "traffic", &["traffic Some(0) None"]);
        asks(TRAFFIC, "", 200, "traffic", &["traffic None None"]);
        asks(BACKEND, r#"{"running": true}"#, 200, "", &["change None None Some(true) 127.0.0.1:8081"]);
        asks("backend [::1]:8081", "{}", 200, "", &["change None None None [::1]:8081"]);
    }

    #[test]
    fn answers_422_with_the_range_to_a_number_out_of_range() {
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
    fn answers_400_to_a_body_that_is_not_understood() {
        for (request, body, words) in [
            (TRAFFIC, r#"{"rate": 5, "client": 4}"#, r#"\"client\" is not a field of this request"#),
            (TRAFFIC, r#"{"rate": "5"}"#, r#"\"rate\" must be a whole number"#),
            (TRAFFIC, r#"{"rate": 2.5}"#, r#"\"rate\" must be a whole number"#),
            (TRAFFIC, r#"{"rate": null}"#, r#"\"rate\" must be a whole number"#),
            (TRAFFIC, "[]", "must be a JSON object"),
            (BACKEND, r#"{"delay_ms": 5, "running": "no"}"#, r#"\"running\" must be true or false"#),
            (BACKEND, r#"{"delay_ms": 5, "delay": 5}"#, r#"\"delay\" is not a field of this request"#),
            (BACKEND, r#"{"error_percent": true}"#, r#"\"error_percent\" must be a whole number"#),
            (BACKEND, "{", "cannot be read as JSON"),
        ] {
            asks(request, body, 400, words, &[]);
        }
    }

    #[test]
    fn says_that_a_backend_does_not_exist_or_cannot_start_now() {
        let asked = ["change None None Some(true) other:1"];
        let body = r#"{"running":true}"#;
        asks("backend other:1", body, 404, "there is no backend other:1", &asked);
        asks("backend taken:1", body, 409, "the port is in use", &[]);
    }

    #[test]
    fn says_that_only_the_demo_has_these_controls() {
        for request in ["show", TRAFFIC, BACKEND] {
            let (status, text) = ask(None, request, "");
            assert!(
                status == 404 && text.contains("only `turnwheel demo` has"),
                "{request}: {status} {text}"
            );
        }
    }
}

//! Carries out the actions of the admin API, and writes their answers.

use super::answers::changes::{Backends, Problem};
use super::answers::probes::Probe;
use super::control::{Control, DemoControls, Insight};
use super::demo_controls;
use super::fields::Fields;
use super::page;
use super::reply::AdminReply;
use super::routes::{self, Action, NoRoute, Route};
use crate::cluster::change::ChangeError;
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode, Uri};
use serde::Serialize;
use std::io::Read;

/// The parts of the program that the API reads and changes.
#[derive(Clone, Copy)]
pub struct Services<'a> {
    pub control: &'a dyn Control,
    pub insight: &'a dyn Insight,
    /// `None` except in the demo.
    pub demo_controls: Option<&'a dyn DemoControls>,
}

/// Answers a request that has passed the guard. The body is read only by actions that take one.
pub fn answer(services: Services<'_>, method: &Method, target: &Uri, body: &mut dyn Read) -> AdminReply {
    let path = target.path();
    match routes::find(method, path) {
        Ok(route) => perform(&route, services, target.query(), body).unwrap_or_else(|reply| reply),
        Err(NoRoute::Path) => no_such_path(path),
        Err(NoRoute::Method { allowed }) => not_allowed(path, &allowed),
    }
}

fn no_such_path(path: &str) -> AdminReply {
    AdminReply::error(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
}

fn not_allowed(path: &str, allowed: &str) -> AdminReply {
    let headers = HeaderValue::from_str(allowed).ok().map(|allowed| (ALLOW, allowed)).into_iter().collect();
    let sentence = format!("{path} supports only {allowed}");
    AdminReply { headers, ..AdminReply::error(StatusCode::METHOD_NOT_ALLOWED, sentence) }
}

/// Carries out an action. A failure is a reply, too.
fn perform(
    route: &Route,
    services: Services<'_>,
    query: Option<&str>,
    body: &mut dyn Read,
) -> Result<AdminReply, AdminReply> {
    let (Services { control, insight, demo_controls }, name) = (services, &*route.name);
    match route.action {
        Action::Page => page::find(name).map(AdminReply::asset).ok_or_else(|| no_such_path(name)),
        Action::Health => Ok(AdminReply::ok(&Probe { status: "ok".into(), reason: None })),
        Action::Readiness => Ok(readiness(control)),
        Action::Metrics => Ok(metrics(insight)),
        Action::State => Ok(AdminReply::ok(&insight.state())),
        Action::History => Ok(AdminReply::ok(&insight.history(after(query)?))),
        Action::ListBackends => Ok(AdminReply::ok(&Backends { backends: control.backends() })),
        Action::AddBackend => add(control, body),
        Action::SetWeight => set_weight(control, name, body),
        Action::RemoveBackend => without_fields(body, || control.remove(name)),
        Action::DrainBackend => without_fields(body, || control.drain(name)),
        Action::ResumeBackend => without_fields(body, || control.resume(name)),
        Action::Reload => reload(control, body),
        Action::ShowDemo => demo_controls::show(demo_controls),
        Action::ChangeTraffic => demo_controls::change_traffic(demo_controls, body),
        Action::ChangeDemoBackend => demo_controls::change_backend(demo_controls, name, body),
    }
}

/// Makes a change that takes no fields. The body may be empty; a field in it is refused rather than ignored.
fn without_fields<A: Serialize>(
    body: &mut dyn Read,
    change: impl FnOnce() -> Result<A, ChangeError>,
) -> Result<AdminReply, AdminReply> {
    Fields::read(body)?.reject_unknown()?;
    Ok(AdminReply::ok(&change()?))
}

fn readiness(control: &dyn Control) -> AdminReply {
    match control.ready() {
        Ok(()) => AdminReply::ok(&Probe { status: "ready".into(), reason: None }),
        Err(reason) => {
            let probe = Probe { status: "not ready".into(), reason: Some(reason.into()) };
            AdminReply::json(StatusCode::SERVICE_UNAVAILABLE, &probe)
        }
    }
}

fn metrics(insight: &dyn Insight) -> AdminReply {
    insight.metrics().map(AdminReply::metrics).unwrap_or_else(|error| {
        let sentence = format!("the metrics cannot be written: {error}");
        AdminReply::error(StatusCode::INTERNAL_SERVER_ERROR, sentence)
    })
}

/// Returns the number in `after=131`, or 0 without a query.
fn after(query: Option<&str>) -> Result<u64, AdminReply> {
    let Some(query) = query else { return Ok(0) };
    let number = query.strip_prefix("after=").and_then(|number| number.parse().ok());
    let sentence = "the query is after=NUMBER, with the number of the newest sample that you have";
    number.ok_or_else(|| AdminReply::error(StatusCode::BAD_REQUEST, sentence))
}

fn add(control: &dyn Control, body: &mut dyn Read) -> Result<AdminReply, AdminReply> {
    let mut fields = Fields::read(body)?;
    let url = fields.text("url")?;
    let weight = fields.number("weight")?.unwrap_or(1);
    let backup = fields.flag("backup")?.unwrap_or(false);
    fields.reject_unknown()?;
    let url = url.ok_or_else(|| Fields::missing("url", "{\"url\": \"http://127.0.0.1:8081\"}"))?;
    let backends = control.add(&url, weight, backup)?;
    Ok(AdminReply::json(StatusCode::CREATED, &Backends { backends }))
}

fn set_weight(control: &dyn Control, name: &str, body: &mut dyn Read) -> Result<AdminReply, AdminReply> {
    let mut fields = Fields::read(body)?;
    let weight = fields.number("weight")?.ok_or_else(|| Fields::missing("weight", "{\"weight\": 2}"))?;
    fields.reject_unknown()?;
    Ok(AdminReply::ok(&control.set_weight(name, weight)?))
}

fn reload(control: &dyn Control, body: &mut dyn Read) -> Result<AdminReply, AdminReply> {
    Fields::read(body)?.reject_unknown()?;
    control.reload().map(|reloaded| AdminReply::ok(&reloaded)).map_err(|problems| {
        let error = "the configuration is not valid, and nothing has changed".into();
        AdminReply::json(StatusCode::UNPROCESSABLE_ENTITY, &Problem { error, problems })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;

    fn ask(control: &Fake, request: &str, body: &str) -> (u16, String) {
        let (method, path) = request.split_once(' ').unwrap();
        let services = Services { control, insight: control, demo_controls: None };
        let reply = answer(services, &method.parse().unwrap(), &path.parse().unwrap(), &mut body.as_bytes());
        (reply.status.as_u16(), reply.text)
    }

    /// Asserts the status of one request, words of its answer, and the changes that it makes.
    #[track_caller]
    fn asks(request: &str, body: &str, status: u16, words: &str, asked: &[&str]) {
        let control = Fake::default();
        let (got, text) = ask(&control, request, body);
        assert!(got == status && text.contains(words), "{request} {body}: {got} {text}");
        assert_eq!(control.asked(), asked, "{request} {body}");
    }

    #[test]
    fn carries_out_the_action_of_each_path() {
        asks("GET /", "", 200, "<title>turnwheel</title>", &[]);
        asks("HEAD /page.css", "", 200, ":root", &[]);
        asks("GET /healthz", "", 200, r#"{"status":"ok"}"#, &[]);
        asks("HEAD /healthz", "", 200, r#"{"status":"ok"}"#, &[]);
        asks("GET /readyz", "", 200, r#"{"status":"ready"}"#, &[]);
        asks("GET /api/state", "", 200, r#""workers":64,"#, &[]);
        asks("GET /api/history", "", 200, r#"{"newest":0,"samples":[]}"#, &[]);
        asks("GET /api/history?after=131", "", 200, r#"{"newest":131,"samples":[]}"#, &[]);
        for query in ["", "after", "after=", "after=-1", "after=x", "before=1", "after=1&more"] {
            asks(&format!("GET /api/history?{query}"), "", 400, "after=NUMBER", &[]);
        }
        asks("HEAD /metrics", "", 200, "up 1", &[]);
        let listed = r#""name":"127.0.0.1:8081","requests":0,"#;
        asks("GET /api/backends", "ignored", 200, listed, &[]);
        asks("GET /api/backends", "ignored", 200, r#"{"backends":[{"addresses":"#, &[]);
        asks("DELETE /api/backends/127.0.0.1:8081", "", 200, "127.0.0.1:8081", &["remove 127.0.0.1:8081"]);
        asks("POST /api/backends/127.0.0.1:8081/drain", "{}", 200, "8081", &["drain 127.0.0.1:8081"]);
        asks("POST /api/backends/127.0.0.1:8081/resume", " ", 200, "8081", &["resume 127.0.0.1:8081"]);
        for method in ["POST", "PUT"] {
            let request = format!("{method} /api/backends/127.0.0.1:8081/weight");
            asks(&request, r#"{"weight": 3}"#, 200, "8081", &["weight 3 127.0.0.1:8081"]);
        }
        let counted = r#"{"added":["c:1"],"kept":["a:1","b:1"],"removed":["d:1"]}"#;
        asks("POST /api/reload", "", 200, counted, &["reload"]);
    }

    #[test]
    fn takes_a_backends_name_with_encoded_brackets_too() {
        for name in ["[::1]:8081", "%5B::1%5D:8081", "%5b%3A%3a1%5d%3A8081"] {
            asks(&format!("DELETE /api/backends/{name}"), "", 200, "[::1]:8081", &["remove [::1]:8081"]);
        }
        for name in ["", "%", "%5", "%+5", "%zz", "%ff", "a%5"] {
            asks(&format!("DELETE /api/backends/{name}"), "", 404, "there is nothing at", &[]);
        }
        asks("DELETE /api/backends/other:1", "", 404, "there is no backend other:1", &["remove other:1"]);
    }

    #[test]
    fn adds_a_backend_by_url_with_optional_weight_and_backup() {
        let path = "POST /api/backends";
        asks(path, r#"{"url":"http://a:1"}"#, 201, r#""name":"http://a:1""#, &["add http://a:1 1 false"]);
        let all = r#"{"url":"http://a:1","weight":5,"backup":true}"#;
        asks(path, all, 201, "http://a:1", &["add http://a:1 5 true"]);
        asks(path, r#"{"url":"http://twice"}"#, 409, "it exists already", &["add http://twice 1 false"]);
        asks(path, r#"{"url":"nonsense"}"#, 422, "this is no URL", &["add nonsense 1 false"]);
    }

    #[test]
    fn refuses_a_wrong_body_and_names_the_field() {
        let add = "POST /api/backends";
        let weigh = "POST /api/backends/127.0.0.1:8081/weight";
        for (request, body, words) in [
            (add, "", r#"\"url\" is missing"#),
            (add, "{}", r#"\"url\" is missing"#),
            (add, r#"{"url":7}"#, r#"\"url\" must be a string"#),
            (add, r#"{"url":null}"#, r#"\"url\" must be a string"#),
            (add, r#"{"url":"http://a:1","weight":"2"}"#, r#"\"weight\" must be a whole number"#),
            (add, r#"{"url":"http://a:1","weight":-1}"#, r#"\"weight\" must be a whole number"#),
            (add, r#"{"url":"http://a:1","weight":1.5}"#, r#"\"weight\" must be a whole number"#),
            (add, r#"{"url":"http://a:1","weight":4294967296}"#, r#"\"weight\" must be a whole number"#),
            (add, r#"{"url":"http://a:1","backup":1}"#, r#"\"backup\" must be true or false"#),
            (
                add,
                r#"{"url":"http://a:1","wieght":1,"b":2}"#,
                r#"\"b\", \"wieght\" are not fields of this request"#,
            ),
            (add, r#"{"wieght":1}"#, r#"\"wieght\" is not a field of this request"#),
            (add, "[]", "must be a JSON object"),
            (add, "null", "must be a JSON object"),
            (add, r#"{"url":"#, "cannot be read as JSON"),
            (add, "{} {}", "cannot be read as JSON"),
            (weigh, "", r#"\"weight\" is missing"#),
            (weigh, r#"{"weight":true}"#, r#"\"weight\" must be a whole number"#),
            (weigh, r#"{"weight":1,"url":"x"}"#, r#"\"url\" is not a field of this request"#),
            ("POST /api/reload", r#"{"force":true}"#, r#"\"force\" is not a field of this request"#),
            ("DELETE /api/backends/127.0.0.1:8081", "x", "cannot be read as JSON"),
        ] {
            asks(request, body, 400, words, &[]);
        }
    }

    #[test]
    fn answers_404_to_an_unknown_path_and_405_with_the_allowed_methods() {
        for path in [
            "//",
            "/api",
            "/api/",
            "/api/nothing",
            "/api/backends/a:1/dance",
            "/api/backends/a:1/drain/",
            "*",
        ] {
            asks(&format!("GET {path}"), "", 404, "there is nothing at", &[]);
        }
        for (request, allowed) in [
            ("POST /", "GET, HEAD"),
            ("DELETE /page.js", "GET, HEAD"),
            ("POST /healthz", "GET, HEAD"),
            ("PUT /api/backends", "GET, HEAD, POST"),
            ("OPTIONS /api/backends", "GET, HEAD, POST"),
            ("GET /api/backends/a:1", "DELETE"),
            ("HEAD /api/reload", "POST"),
            ("GET /api/backends/a:1/weight", "POST, PUT"),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            let control = Fake::default();
            let services = Services { control: &control, insight: &control, demo_controls: None };
            let reply = answer(services, &method.parse().unwrap(), &path.parse().unwrap(), &mut &b""[..]);
            assert_eq!(reply.status, 405, "{request}");
            assert_eq!(reply.headers, [(ALLOW, HeaderValue::from_static(allowed))], "{request}");
        }
    }

    #[test]
    fn sends_metrics_as_text_or_says_why_they_cannot_be_written() {
        let ask = |control: Fake| {
            let services = Services { control: &control, insight: &control, demo_controls: None };
            answer(services, &Method::GET, &Uri::from_static("/metrics"), &mut &b""[..])
        };
        let reply = ask(Fake::default());
        assert_eq!(
            (reply.status.as_u16(), reply.kind, &*reply.text),
            (200, "text/plain; version=0.0.4", "up 1\n")
        );
        let reply = ask(Fake { problems: vec!["one".into()], ..Fake::default() });
        assert_eq!((reply.status.as_u16(), reply.kind), (500, "application/json"));
        assert!(reply.text.contains("there is nothing to count"), "{}", reply.text);
    }

    #[test]
    fn says_why_it_is_not_ready() {
        let control = Fake { not_ready: Some("no backend is up"), ..Fake::default() };
        let (status, text) = ask(&control, "GET /readyz", "");
        assert_eq!((status, text.trim()), (503, r#"{"reason":"no backend is up","status":"not ready"}"#));
    }

    #[test]
    fn says_every_reason_why_a_reload_failed() {
        let control = Fake { problems: vec!["one".into(), "two".into()], ..Fake::default() };
        let (status, text) = ask(&control, "POST /api/reload", "");
        assert!(status == 422 && text.contains(r#""problems":["one","two"]"#), "{status} {text}");
        assert!(text.contains(r#""error":"the configuration is not valid"#), "{text}");
    }

    #[test]
    fn serves_the_demo_paths_by_post_and_put() {
        let ask = |request: &str| {
            let (method, path) = request.split_once(' ').unwrap();
            let fake = Fake::default();
            let services = Services { control: &fake, insight: &fake, demo_controls: Some(&fake) };
            let reply = answer(services, &method.parse().unwrap(), &path.parse().unwrap(), &mut &b"{}"[..]);
            (reply.status.as_u16(), reply.text, fake.asked())
        };
        assert_eq!(ask("GET /api/demo").0, 200);
        for method in ["POST", "PUT"] {
            assert_eq!(ask(&format!("{method} /api/demo/traffic")).2, ["traffic None None"]);
            for (name, asked) in [("127.0.0.1:8081", "127.0.0.1:8081"), ("%5B::1%5D:8081", "[::1]:8081")] {
                let (status, _, changes) = ask(&format!("{method} /api/demo/backends/{name}"));
                assert_eq!((status, changes), (200, vec![format!("change None None None {asked}")]));
            }
        }
        for path in ["/api/demo/", "/api/demo/backends", "/api/demo/backends/", "/api/demo/backends/a:1/b"] {
            let (status, text, _) = ask(&format!("POST {path}"));
            assert!(status == 404 && text.contains("there is nothing at"), "{path}: {status} {text}");
        }
        for (request, allowed) in [("POST /api/demo", "GET, HEAD"), ("GET /api/demo/traffic", "POST, PUT")] {
            let (status, text, _) = ask(request);
            assert!(status == 405 && text.contains(allowed), "{request}: {status} {text}");
        }
    }
}

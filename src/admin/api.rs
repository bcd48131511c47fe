//! Which request asks for what, and how the answer is written. The balancer is behind [`Control`] and [`Insight`],
//! and the demo behind [`DemoControls`].

use super::control::{Control, DemoControls, Insight};
use super::demo_controls;
use super::fields::Fields;
use super::page;
use super::reply::Reply;
use crate::cluster::change::ChangeError;
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode, Uri};
use serde_json::json;
use std::io::Read;

/// What can be asked for.
#[derive(Clone, Copy)]
enum Action {
    Page,
    Live,
    Ready,
    Metrics,
    State,
    History,
    List,
    Add,
    Remove,
    Drain,
    Resume,
    Weigh,
    Reload,
    DemoControls,
    ChangeTraffic,
    ChangeBackend,
}

/// What a path is good for: the methods that are served there. HEAD is served as GET.
type Methods = &'static [(&'static str, Action)];

/// The balancer, as far as it is known here.
#[derive(Clone, Copy)]
pub struct Balancer<'a> {
    pub control: &'a dyn Control,
    pub insight: &'a dyn Insight,
    /// Only the demo has any.
    pub demo_controls: Option<&'a dyn DemoControls>,
}

/// What a target says beside the action.
#[derive(Clone, Copy)]
struct About<'a> {
    /// Which backend, if any.
    name: &'a str,
    query: Option<&'a str>,
}

/// Answers a request that may be served. Its body is read only where one is of use.
pub fn answer(balancer: Balancer<'_>, method: &Method, target: &Uri, body: &mut dyn Read) -> Reply {
    let path = target.path();
    let Some((methods, name)) = find(path) else {
        return nothing_at(path);
    };
    let wanted = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let Some((_, action)) = methods.iter().find(|(served, _)| *served == wanted) else {
        return not_allowed(path, methods);
    };
    let about = About { name: &name, query: target.query() };
    perform(*action, balancer, about, body).unwrap_or_else(|reply| reply)
}

fn nothing_at(path: &str) -> Reply {
    Reply::error(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
}

/// What is at a path, and which backend it names, if any, or which file of the page.
fn find(path: &str) -> Option<(Methods, String)> {
    let methods: Methods = match path {
        "/healthz" => &[("GET", Action::Live)],
        "/readyz" => &[("GET", Action::Ready)],
        "/metrics" => &[("GET", Action::Metrics)],
        "/api/state" => &[("GET", Action::State)],
        "/api/history" => &[("GET", Action::History)],
        "/api/reload" => &[("POST", Action::Reload)],
        "/api/backends" => &[("GET", Action::List), ("POST", Action::Add)],
        "/api/demo" => &[("GET", Action::DemoControls)],
        "/api/demo/traffic" => &[("POST", Action::ChangeTraffic), ("PUT", Action::ChangeTraffic)],
        _ if page::find(path).is_some() => return Some((&[("GET", Action::Page)], path.to_owned())),
        _ => return find_backend(path).or_else(|| find_demo_backend(path)),
    };
    Some((methods, String::new()))
}

fn find_backend(path: &str) -> Option<(Methods, String)> {
    let rest = path.strip_prefix("/api/backends/")?;
    let (name, verb) = rest.split_once('/').map_or((rest, None), |(name, verb)| (name, Some(verb)));
    let methods: Methods = match verb {
        None => &[("DELETE", Action::Remove)],
        Some("drain") => &[("POST", Action::Drain)],
        Some("resume") => &[("POST", Action::Resume)],
        Some("weight") => &[("POST", Action::Weigh), ("PUT", Action::Weigh)],
        Some(_) => return None,
    };
    decoded(name).filter(|name| !name.is_empty()).map(|name| (methods, name))
}

fn find_demo_backend(path: &str) -> Option<(Methods, String)> {
    let name = decoded(path.strip_prefix("/api/demo/backends/")?)?;
    let is_name = !name.is_empty() && !name.contains('/');
    is_name.then_some((&[("POST", Action::ChangeBackend), ("PUT", Action::ChangeBackend)], name))
}

/// A name without the `%5B` that some clients write for a bracket (RFC 3986 §2.1).
fn decoded(name: &str) -> Option<String> {
    let mut parts = name.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        let is_code = code.bytes().all(|byte| byte.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(code, 16).ok().filter(|_| is_code)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Says which methods there are (RFC 9110 §15.5.6).
fn not_allowed(path: &str, methods: Methods) -> Reply {
    let names = methods.iter().map(|(name, _)| if *name == "GET" { "GET, HEAD" } else { name });
    let names = names.collect::<Vec<_>>().join(", ");
    let headers = HeaderValue::from_str(&names).ok().map(|names| (ALLOW, names)).into_iter().collect();
    let sentence = format!("{path} can be asked for with {names}");
    Reply { headers, ..Reply::error(StatusCode::METHOD_NOT_ALLOWED, sentence) }
}

/// Does what was asked for. What goes wrong is an answer, too.
fn perform(
    action: Action,
    balancer: Balancer<'_>,
    about: About<'_>,
    body: &mut dyn Read,
) -> Result<Reply, Reply> {
    let (Balancer { control, insight, demo_controls }, About { name, query }) = (balancer, about);
    match action {
        Action::Page => page::find(name).map(Reply::asset).ok_or_else(|| nothing_at(name)),
        Action::Live => Ok(Reply::ok(json!({ "status": "ok" }))),
        Action::Ready => Ok(readiness(control)),
        Action::Metrics => Ok(metrics(insight)),
        Action::State => Ok(Reply::ok(insight.state())),
        Action::History => Ok(Reply::ok(insight.history(after(query)?))),
        Action::List => Ok(Reply::ok(json!({ "backends": control.backends() }))),
        Action::Add => add(control, body),
        Action::Weigh => {
            let mut fields = Fields::read(body)?;
            let weight =
                fields.number("weight")?.ok_or_else(|| Fields::missing("weight", "{\"weight\": 2}"))?;
            fields.are_all_known()?;
            control.set_weight(name, weight).map(Reply::ok).map_err(Reply::from)
        }
        Action::Remove => bare(body, || control.remove(name).map(Reply::ok)),
        Action::Drain => bare(body, || control.drain(name).map(Reply::ok)),
        Action::Resume => bare(body, || control.resume(name).map(Reply::ok)),
        Action::Reload => bare(body, || Ok(reload(control))),
        Action::DemoControls => demo_controls::show(demo_controls),
        Action::ChangeTraffic => demo_controls::change_traffic(demo_controls, body),
        Action::ChangeBackend => demo_controls::change_backend(demo_controls, name, body),
    }
}

/// Acts without being told more. An empty body will do, but one that asks for something is not ignored.
fn bare(body: &mut dyn Read, act: impl FnOnce() -> Result<Reply, ChangeError>) -> Result<Reply, Reply> {
    Fields::read(body)?.are_all_known()?;
    act().map_err(Reply::from)
}

fn readiness(control: &dyn Control) -> Reply {
    match control.ready() {
        Ok(()) => Reply::ok(json!({ "status": "ready" })),
        Err(reason) => {
            let body = json!({ "status": "not ready", "reason": reason });
            Reply::new(StatusCode::SERVICE_UNAVAILABLE, body)
        }
    }
}

fn metrics(insight: &dyn Insight) -> Reply {
    insight.metrics().map(Reply::metrics).unwrap_or_else(|error| {
        let sentence = format!("the metrics cannot be written: {error}");
        Reply::error(StatusCode::INTERNAL_SERVER_ERROR, sentence)
    })
}

/// The number in `after=131`; 0 where nothing is said.
fn after(query: Option<&str>) -> Result<u64, Reply> {
    let Some(query) = query else { return Ok(0) };
    let number = query.strip_prefix("after=").and_then(|number| number.parse().ok());
    let sentence = "the query may be after=NUMBER, the newest sample that you have, and nothing else";
    number.ok_or_else(|| Reply::error(StatusCode::BAD_REQUEST, sentence))
}

fn add(control: &dyn Control, body: &mut dyn Read) -> Result<Reply, Reply> {
    let mut fields = Fields::read(body)?;
    let url = fields.text("url")?;
    let weight = fields.number("weight")?.unwrap_or(1);
    let backup = fields.flag("backup")?.unwrap_or(false);
    fields.are_all_known()?;
    let url = url.ok_or_else(|| Fields::missing("url", "{\"url\": \"http://127.0.0.1:8081\"}"))?;
    let added = control.add(&url, weight, backup).map_err(Reply::from)?;
    Ok(Reply::new(StatusCode::CREATED, json!({ "backends": added })))
}

fn reload(control: &dyn Control) -> Reply {
    match control.reload() {
        Ok(reloaded) => Reply::ok(json!({
            "added": reloaded.added,
            "removed": reloaded.removed,
            "kept": reloaded.kept,
        })),
        Err(problems) => {
            let error = "the configuration is not valid, and nothing has changed";
            let body = json!({ "error": error, "problems": problems });
            Reply::new(StatusCode::UNPROCESSABLE_ENTITY, body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::control::fake::Fake;
    use super::*;

    fn ask(control: &Fake, request: &str, body: &str) -> (u16, String) {
        let (method, path) = request.split_once(' ').unwrap();
        let balancer = Balancer { control, insight: control, demo_controls: None };
        let reply = answer(balancer, &method.parse().unwrap(), &path.parse().unwrap(), &mut body.as_bytes());
        (reply.status.as_u16(), reply.text)
    }

    /// One request, its status, words that the answer has, and what the balancer was asked to do.
    #[track_caller]
    fn asks(request: &str, body: &str, status: u16, words: &str, asked: &[&str]) {
        let control = Fake::default();
        let (got, text) = ask(&control, request, body);
        assert!(got == status && text.contains(words), "{request} {body}: {got} {text}");
        assert_eq!(control.asked(), asked, "{request} {body}");
    }

    #[test]
    fn each_path_does_what_it_says() {
        asks("GET /", "", 200, "<title>turnwheel</title>", &[]);
        asks("HEAD /page.css", "", 200, ":root", &[]);
        asks("GET /healthz", "", 200, r#"{"status":"ok"}"#, &[]);
        asks("HEAD /healthz", "", 200, r#"{"status":"ok"}"#, &[]);
        asks("GET /readyz", "", 200, r#"{"status":"ready"}"#, &[]);
        asks("GET /api/state", "", 200, r#"{"workers":64}"#, &[]);
        asks("GET /api/history", "", 200, r#"{"newest":0}"#, &[]);
        asks("GET /api/history?after=131", "", 200, r#"{"newest":131}"#, &[]);
        for query in ["", "after", "after=", "after=-1", "after=x", "before=1", "after=1&more"] {
            asks(&format!("GET /api/history?{query}"), "", 400, "after=NUMBER", &[]);
        }
        asks("HEAD /metrics", "", 200, "up 1", &[]);
        asks(
            "GET /api/backends",
            "ignored",
            200,
            r#"{"backends":[{"name":"127.0.0.1:8081","weight":1}]}"#,
            &[],
        );
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
    fn a_backend_is_called_by_its_authority_however_the_brackets_are_written() {
        for name in ["[::1]:8081", "%5B::1%5D:8081", "%5b%3A%3a1%5d%3A8081"] {
            asks(&format!("DELETE /api/backends/{name}"), "", 200, "[::1]:8081", &["remove [::1]:8081"]);
        }
        for name in ["", "%", "%5", "%+5", "%zz", "%ff", "a%5"] {
            asks(&format!("DELETE /api/backends/{name}"), "", 404, "there is nothing at", &[]);
        }
        asks("DELETE /api/backends/other:1", "", 404, "there is no backend other:1", &["remove other:1"]);
    }

    #[test]
    fn what_is_added_has_a_url_and_perhaps_more() {
        let path = "POST /api/backends";
        asks(path, r#"{"url":"http://a:1"}"#, 201, r#"{"backends":[{"name":"#, &["add http://a:1 1 false"]);
        let all = r#"{"url":"http://a:1","weight":5,"backup":true}"#;
        asks(path, all, 201, "http://a:1", &["add http://a:1 5 true"]);
        asks(path, r#"{"url":"http://twice"}"#, 409, "it is there already", &["add http://twice 1 false"]);
        asks(path, r#"{"url":"nonsense"}"#, 422, "this is no URL", &["add nonsense 1 false"]);
    }

    #[test]
    fn a_body_that_is_wrong_changes_nothing_and_names_the_field() {
        let add = "POST /api/backends";
        let weigh = "POST /api/backends/127.0.0.1:8081/weight";
        for (request, body, words) in [
            (add, "", r#"\"url\" is missing"#),
            (add, "{}", r#"\"url\" is missing"#),
            (add, r#"{"url":7}"#, r#"\"url\" must be a text"#),
            (add, r#"{"url":null}"#, r#"\"url\" must be a text"#),
            (add, r#"{"url":"http://a:1","weight":"2"}"#, r#"\"weight\" must be a whole number"#),
            (add, r#"{"url":"http://a:1","weight":-1}"#, r#"\"weight\" must be a whole number"#),
            (add, r#"{"url":"http://a:1","weight":1.5}"#, r#"\"weight\" must be a whole number"#),
            (add, r#"{"url":"http://a:1","weight":4294967296}"#, r#"\"weight\" must be a whole number"#),
            (add, r#"{"url":"http://a:1","backup":1}"#, r#"\"backup\" must be true or false"#),
            (add, r#"{"url":"http://a:1","wieght":1,"b":2}"#, r#"\"b\", \"wieght\" mean nothing here"#),
            (add, r#"{"wieght":1}"#, r#"\"wieght\" means nothing here"#),
            (add, "[]", "must be a JSON object"),
            (add, "null", "must be a JSON object"),
            (add, r#"{"url":"#, "cannot be read as JSON"),
            (add, "{} {}", "cannot be read as JSON"),
            (weigh, "", r#"\"weight\" is missing"#),
            (weigh, r#"{"weight":true}"#, r#"\"weight\" must be a whole number"#),
            (weigh, r#"{"weight":1,"url":"x"}"#, r#"\"url\" means nothing here"#),
            ("POST /api/reload", r#"{"force":true}"#, r#"\"force\" means nothing here"#),
            ("DELETE /api/backends/127.0.0.1:8081", "x", "cannot be read as JSON"),
        ] {
            asks(request, body, 400, words, &[]);
        }
    }

    #[test]
    fn an_unknown_path_is_404_and_a_wrong_method_names_the_right_ones() {
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
            let balancer = Balancer { control: &control, insight: &control, demo_controls: None };
            let reply = answer(balancer, &method.parse().unwrap(), &path.parse().unwrap(), &mut &b""[..]);
            assert_eq!(reply.status, 405, "{request}");
            assert_eq!(reply.headers, [(ALLOW, HeaderValue::from_static(allowed))], "{request}");
        }
    }

    #[test]
    fn metrics_are_text_and_what_keeps_them_from_being_written_is_said() {
        let ask = |control: Fake| {
            let balancer = Balancer { control: &control, insight: &control, demo_controls: None };
            answer(balancer, &Method::GET, &Uri::from_static("/metrics"), &mut &b""[..])
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
    fn not_ready_says_why() {
        let control = Fake { not_ready: Some("no backend is up"), ..Fake::default() };
        let (status, text) = ask(&control, "GET /readyz", "");
        assert_eq!((status, text.trim()), (503, r#"{"reason":"no backend is up","status":"not ready"}"#));
    }

    #[test]
    fn a_reload_that_fails_says_every_reason() {
        let control = Fake { problems: vec!["one".into(), "two".into()], ..Fake::default() };
        let (status, text) = ask(&control, "POST /api/reload", "");
        assert!(status == 422 && text.contains(r#""problems":["one","two"]"#), "{status} {text}");
        assert!(text.contains(r#""error":"the configuration is not valid"#), "{text}");
    }
}

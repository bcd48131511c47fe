//! The routes of the admin API: maps a path and a method to an action.

use super::page;
use http::Method;

/// The action that a request asks for.
#[derive(Clone, Copy)]
pub enum Action {
    Page,
    Health,
    Readiness,
    Metrics,
    State,
    History,
    ListBackends,
    AddBackend,
    RemoveBackend,
    DrainBackend,
    ResumeBackend,
    SetWeight,
    Reload,
    ShowDemo,
    ChangeTraffic,
    ChangeDemoBackend,
}

/// The methods that a path serves.
type Methods = &'static [(&'static str, Action)];

/// An action, and the backend or the file of the live page that the path names; empty where it names none.
pub struct Route {
    pub action: Action,
    pub name: String,
}

/// The reason why a request has no route.
pub enum NoRoute {
    /// The path does not exist.
    Path,
    /// The path does not serve the method. `allowed` lists the methods that it serves, as in `Allow` (RFC 9110 §15.5.6).
    Method { allowed: String },
}

/// Returns the route of a request. HEAD is served as GET.
///
/// # Errors
/// When the path does not exist, or does not serve the method.
pub fn find(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let (methods, name) = resolve(path).ok_or(NoRoute::Path)?;
    let wanted = if *method == Method::HEAD { "GET" } else { method.as_str() };
    match methods.iter().find(|(served, _)| *served == wanted) {
        Some((_, action)) => Ok(Route { action: *action, name }),
        None => Err(NoRoute::Method { allowed: allowed(methods) }),
    }
}

fn allowed(methods: Methods) -> String {
    let names = methods.iter().map(|(name, _)| if *name == "GET" { "GET, HEAD" } else { name });
    names.collect::<Vec<_>>().join(", ")
}

/// Returns the methods of a path and the name in it, or `None` if the path does not exist.
fn resolve(path: &str) -> Option<(Methods, String)> {
    let methods: Methods = match path {
        "/healthz" => &[("GET", Action::Health)],
        "/readyz" => &[("GET", Action::Readiness)],
        "/metrics" => &[("GET", Action::Metrics)],
        "/api/state" => &[("GET", Action::State)],
        "/api/history" => &[("GET", Action::History)],
        "/api/reload" => &[("POST", Action::Reload)],
        "/api/backends" => &[("GET", Action::ListBackends), ("POST", Action::AddBackend)],
        "/api/demo" => &[("GET", Action::ShowDemo)],
        "/api/demo/traffic" => &[("POST", Action::ChangeTraffic), ("PUT", Action::ChangeTraffic)],
        _ if page::find(path).is_some() => return Some((&[("GET", Action::Page)], path.to_owned())),
        _ => return resolve_backend(path).or_else(|| resolve_demo_backend(path)),
    };
    Some((methods, String::new()))
}

fn resolve_backend(path: &str) -> Option<(Methods, String)> {
    let rest = path.strip_prefix("/api/backends/")?;
    let (name, verb) = rest.split_once('/').map_or((rest, None), |(name, verb)| (name, Some(verb)));
    let methods: Methods = match verb {
        None => &[("DELETE", Action::RemoveBackend)],
        Some("drain") => &[("POST", Action::DrainBackend)],
        Some("resume") => &[("POST", Action::ResumeBackend)],
        Some("weight") => &[("POST", Action::SetWeight), ("PUT", Action::SetWeight)],
        Some(_) => return None,
    };
    decoded(name).filter(|name| !name.is_empty()).map(|name| (methods, name))
}

fn resolve_demo_backend(path: &str) -> Option<(Methods, String)> {
    let name = decoded(path.strip_prefix("/api/demo/backends/")?)?;
    let methods: Methods = &[("POST", Action::ChangeDemoBackend), ("PUT", Action::ChangeDemoBackend)];
    let is_name = !name.is_empty() && !name.contains('/');
    is_name.then_some((methods, name))
}

/// Decodes `%5B` and the like, which some clients write for the brackets of an IPv6 address (RFC 3986 §2.1). Returns
/// `None` if the name is not encoded properly.
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

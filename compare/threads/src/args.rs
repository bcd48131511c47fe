//! The command line.

use std::time::Duration;

const USAGE: &str =
    "serve --listen ADDR --backend http://HOST:PORT [--backend ...] [--reply-head-timeout 30s]";

/// Settings from the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    /// Address to listen on.
    pub listen: String,
    /// Host and port of each backend.
    pub backends: Vec<String>,
    /// Timeout for the next bytes of a backend's reply.
    pub reply_head_timeout: Duration,
}

/// Parses the arguments, without the program name.
///
/// # Errors
/// Returns a message that says which argument is wrong.
pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Settings, String> {
    if args.next().as_deref() != Some("serve") {
        return Err(format!("the command line must be: {USAGE}"));
    }
    let mut settings = Settings {
        listen: "127.0.0.1:8080".into(),
        backends: Vec::new(),
        reply_head_timeout: Duration::from_secs(30),
    };
    while let Some(arg) = args.next() {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        let value = || value.or_else(|| args.next()).ok_or_else(|| format!("{name} needs a value"));
        match name {
            "--listen" => settings.listen = value()?,
            "--backend" => settings.backends.push(authority(&value()?)?),
            "--reply-head-timeout" => settings.reply_head_timeout = duration(&value()?)?,
            _ => return Err(format!("unknown flag {name}; the command line must be: {USAGE}")),
        }
    }
    if settings.backends.is_empty() {
        return Err("no backend; add one with --backend http://HOST:PORT".into());
    }
    Ok(settings)
}

/// Returns `host:port` of an `http://` URL, with port 80 as the default.
fn authority(url: &str) -> Result<String, String> {
    let wrong = || format!("backend {url} is not of the form http://HOST:PORT");
    let authority = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let authority = authority.filter(|text| !text.contains(['/', '?', '#', '@', ' '])).ok_or_else(wrong)?;
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let valid = !host.is_empty() && port.parse::<u16>().is_ok();
            valid.then(|| authority.to_owned()).ok_or_else(wrong)
        }
        _ if authority.is_empty() => Err(wrong()),
        _ => Ok(format!("{authority}:80")),
    }
}

/// Parses `30s` or `250ms`. Zero is refused, because it means no timeout to a socket.
fn duration(text: &str) -> Result<Duration, String> {
    let number = |digits: &str| digits.parse().ok().filter(|&number: &u64| number > 0);
    // "ms" first, because it also ends with "s".
    let duration = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => number(digits).map(Duration::from_millis),
        (None, Some(digits)) => number(digits).map(Duration::from_secs),
        (None, None) => None,
    };
    duration.ok_or_else(|| format!("{text} is not a duration such as 30s or 250ms"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics says what is wrong")]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Settings, String> {
        parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn accepts_a_value_after_a_space_or_an_equals_sign() {
        let spaced = parsed("serve --listen a:1 --backend http://b:2 --reply-head-timeout 250ms").unwrap();
        let joined = parsed("serve --listen=a:1 --backend=http://b:2/ --reply-head-timeout=250ms").unwrap();
        assert_eq!(spaced, joined);
        assert_eq!(spaced.backends, ["b:2"]);
        assert_eq!(spaced.reply_head_timeout, Duration::from_millis(250));
    }

    #[test]
    fn names_the_mistake() {
        for (line, why) in [
            ("", "the command line must be"),
            ("demo", "the command line must be"),
            ("serve", "no backend"),
            ("serve --backend", "--backend needs a value"),
            ("serve --workers 8", "unknown flag --workers"),
            ("serve --backend https://b", "not of the form"),
            ("serve --backend http://b:0x1", "not of the form"),
            ("serve --backend http://b/path", "not of the form"),
            ("serve --backend http://:80", "not of the form"),
            ("serve --backend http://", "not of the form"),
            ("serve --reply-head-timeout 0s", "not a duration"),
            ("serve --reply-head-timeout 5", "not a duration"),
        ] {
            let said = parsed(line).unwrap_err();
            assert!(said.contains(why), "{line}: {said}");
        }
    }

    #[test]
    fn the_default_port_of_a_backend_is_80() {
        assert_eq!(authority("http://[::1]"), Ok("[::1]:80".into()));
        assert_eq!(authority("http://[::1]:81"), Ok("[::1]:81".into()));
        assert_eq!(authority("http://host"), Ok("host:80".into()));
    }
}

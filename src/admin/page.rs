//! The live page: the files that a browser is given, which are part of the program.
//!
//! They show what `/api/state` says, and hold nothing of it themselves. They are written by hand and served as
//! they are. There is nothing in them from elsewhere, and [`POLICY`] has the browser see to that: a name of a
//! backend or a path of a request could not be made into a script, even if the page took it for markup.

use http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY};

/// What the page may load and do: what this listener serves, and to ask it. Nobody may frame it, so nobody has an
/// operator press its buttons without seeing them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What each file is served with, besides what every answer is.
pub const HEADERS: [(HeaderName, &str); 2] =
    [(CONTENT_SECURITY_POLICY, POLICY), (REFERRER_POLICY, "no-referrer")];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the page.
pub struct Asset {
    /// Where it is served.
    pub path: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// What it says.
    pub text: &'static str,
}

const fn asset(path: &'static str, kind: &'static str, text: &'static str) -> Asset {
    Asset { path, kind, text }
}

static ASSETS: [Asset; 21] = [
    asset("/", HTML, include_str!("page/index.html")),
    asset("/page.css", CSS, include_str!("page/page.css")),
    asset("/icon.svg", SVG, include_str!("page/icon.svg")),
    asset("/ask.js", SCRIPT, include_str!("page/ask.js")),
    asset("/backends.js", SCRIPT, include_str!("page/backends.js")),
    asset("/controls.js", SCRIPT, include_str!("page/controls.js")),
    asset("/dom.js", SCRIPT, include_str!("page/dom.js")),
    asset("/drawing.js", SCRIPT, include_str!("page/drawing.js")),
    asset("/flow.js", SCRIPT, include_str!("page/flow.js")),
    asset("/history.js", SCRIPT, include_str!("page/history.js")),
    asset("/marks.js", SCRIPT, include_str!("page/marks.js")),
    asset("/news.js", SCRIPT, include_str!("page/news.js")),
    asset("/overview.js", SCRIPT, include_str!("page/overview.js")),
    asset("/page.js", SCRIPT, include_str!("page/page.js")),
    asset("/plots.js", SCRIPT, include_str!("page/plots.js")),
    asset("/poll.js", SCRIPT, include_str!("page/poll.js")),
    asset("/recent.js", SCRIPT, include_str!("page/recent.js")),
    asset("/rotation.js", SCRIPT, include_str!("page/rotation.js")),
    asset("/token.js", SCRIPT, include_str!("page/token.js")),
    asset("/words.js", SCRIPT, include_str!("page/words.js")),
    asset("/workers.js", SCRIPT, include_str!("page/workers.js")),
];

/// What is served at a path.
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    /// All texts between two marks.
    fn between<'a>(text: &'a str, before: &str, after: &str) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).filter_map(move |rest| rest.split(after).next())
    }

    /// The assets that a file asks the browser for.
    fn wanted(asset: &Asset) -> BTreeSet<String> {
        let text = asset.text;
        let html = ["src=\"", "href=\""].into_iter().flat_map(|mark| between(text, mark, "\""));
        let modules = between(text, "from \"./", "\"").map(|name| format!("/{name}"));
        match asset.kind {
            HTML => html.map(str::to_owned).collect(),
            SCRIPT => modules.collect(),
            _ => BTreeSet::new(),
        }
    }

    #[test]
    fn what_is_asked_for_is_there_and_what_is_there_is_asked_for() {
        let mut reached = BTreeSet::from(["/".to_owned()]);
        loop {
            let found =
                reached.iter().map(|path| find(path).unwrap_or_else(|| panic!("no {path} is served")));
            let more: BTreeSet<_> = found.flat_map(wanted).filter(|path| !reached.contains(path)).collect();
            if more.is_empty() {
                break;
            }
            reached.extend(more);
        }
        assert_eq!(reached, ASSETS.iter().map(|asset| asset.path.to_owned()).collect());
    }

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/page");
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let served = |name: &str| find(&format!("/{name}")).is_some() || name == "index.html";
        let unserved: Vec<_> = names.filter(|name| !served(name)).collect();
        assert!(unserved.is_empty(), "{unserved:?}");
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_is_taken_for_markup_or_a_script() {
        for Asset { path, text, .. } in &ASSETS {
            let own = text.replace("http://www.w3.org/2000/svg", "").to_lowercase();
            for word in ["http:", "https:", "url(//", "\"//", "@import", "style=", "<style", "javascript:"] {
                assert!(!own.contains(word), "{path} has {word}");
            }
            for word in
                ["innerhtml", "outerhtml", "insertadjacent", "document.write", "eval(", "new function"]
            {
                assert!(!own.contains(word), "{path} has {word}");
            }
            let scripts = between(&own, "<script", ">").all(|tag| tag.contains("src="));
            assert!(scripts, "{path} has a script within");
            assert!(handlers(&own).is_empty(), "{path} has {:?}", handlers(&own));
        }
    }

    /// Attributes like `onclick=` in markup.
    fn handlers(text: &str) -> Vec<&str> {
        let words = between(text, "<", ">").flat_map(str::split_whitespace);
        let names = words.filter_map(|word| word.split_once("=\"")).map(|(name, _)| name);
        names.filter(|name| name.len() > 2 && name.starts_with("on")).collect()
    }

    #[test]
    fn a_handler_in_markup_would_be_found() {
        assert_eq!(handlers("<p class=\"on\" onclick=\"x()\">"), ["onclick"]);
    }

    #[test]
    fn no_file_is_too_long_to_be_read() {
        for Asset { path, text, .. } in &ASSETS {
            assert!(text.lines().count() <= 400, "{path} has {} lines", text.lines().count());
            assert!(text.ends_with('\n'), "{path} ends within a line");
        }
    }
}

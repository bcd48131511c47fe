//! The live page: the files that a browser is given, which are part of the program.
//!
//! They show the state from `/api/state` and contain none of it. They are written by hand, and served as they are.
//! They load nothing from other hosts, and [`POLICY`] has the browser enforce it: a backend's name or a request's path
//! cannot become a script, even if the page inserted it as markup.

use http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY};

/// The page may load files from this listener and send requests to it, and nothing else. It cannot be framed, so no
/// other page can make an operator click its buttons unseen.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The headers of each file, in addition to the headers of every reply.
pub const HEADERS: [(HeaderName, &str); 2] =
    [(CONTENT_SECURITY_POLICY, POLICY), (REFERRER_POLICY, "no-referrer")];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the page.
pub struct Asset {
    /// The path at which it is served.
    pub path: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// Its content.
    pub text: &'static str,
}

const fn asset(path: &'static str, kind: &'static str, text: &'static str) -> Asset {
    Asset { path, kind, text }
}

static ASSETS: [Asset; 23] = [
    asset("/", HTML, include_str!("page/index.html")),
    asset("/page.css", CSS, include_str!("page/page.css")),
    asset("/icon.svg", SVG, include_str!("page/icon.svg")),
    asset("/api.js", SCRIPT, include_str!("page/api.js")),
    asset("/backends.js", SCRIPT, include_str!("page/backends.js")),
    asset("/controls.js", SCRIPT, include_str!("page/controls.js")),
    asset("/dom.js", SCRIPT, include_str!("page/dom.js")),
    asset("/dots.js", SCRIPT, include_str!("page/dots.js")),
    asset("/drawing.js", SCRIPT, include_str!("page/drawing.js")),
    asset("/format.js", SCRIPT, include_str!("page/format.js")),
    asset("/history.js", SCRIPT, include_str!("page/history.js")),
    asset("/invitation.js", SCRIPT, include_str!("page/invitation.js")),
    asset("/labels.js", SCRIPT, include_str!("page/labels.js")),
    asset("/notices.js", SCRIPT, include_str!("page/notices.js")),
    asset("/overview.js", SCRIPT, include_str!("page/overview.js")),
    asset("/page.js", SCRIPT, include_str!("page/page.js")),
    asset("/plots.js", SCRIPT, include_str!("page/plots.js")),
    asset("/poll.js", SCRIPT, include_str!("page/poll.js")),
    asset("/reason.js", SCRIPT, include_str!("page/reason.js")),
    asset("/recent_requests.js", SCRIPT, include_str!("page/recent_requests.js")),
    asset("/rotation.js", SCRIPT, include_str!("page/rotation.js")),
    asset("/token.js", SCRIPT, include_str!("page/token.js")),
    asset("/workers.js", SCRIPT, include_str!("page/workers.js")),
];

/// Returns the file at a path, or `None` if there is none.
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    /// Returns each text between `before` and `after`.
    fn between<'a>(text: &'a str, before: &str, after: &str) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).filter_map(move |rest| rest.split(after).next())
    }

    /// Returns the paths of the files that a file refers to.
    fn references(asset: &Asset) -> BTreeSet<String> {
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
    fn every_reference_is_served_and_every_file_is_referenced() {
        let mut reached = BTreeSet::from(["/".to_owned()]);
        loop {
            let found =
                reached.iter().map(|path| find(path).unwrap_or_else(|| panic!("{path} is not served")));
            let more: BTreeSet<_> =
                found.flat_map(references).filter(|path| !reached.contains(path)).collect();
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
    fn no_file_loads_from_elsewhere_or_inserts_markup_or_scripts() {
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
            assert!(scripts, "{path} has an inline script");
            assert!(handlers(&own).is_empty(), "{path} has {:?}", handlers(&own));
        }
    }

    /// Returns attributes like `onclick=` in markup.
    fn handlers(text: &str) -> Vec<&str> {
        let words = between(text, "<", ">").flat_map(str::split_whitespace);
        let names = words.filter_map(|word| word.split_once("=\"")).map(|(name, _)| name);
        names.filter(|name| name.len() > 2 && name.starts_with("on")).collect()
    }

    #[test]
    fn finds_a_handler_in_markup() {
        assert_eq!(handlers("<p class=\"on\" onclick=\"x()\">"), ["onclick"]);
    }

    #[test]
    fn no_file_has_more_than_400_lines() {
        for Asset { path, text, .. } in &ASSETS {
            assert!(text.lines().count() <= 400, "{path} has {} lines", text.lines().count());
            assert!(text.ends_with('\n'), "{path} does not end with a newline");
        }
    }
}

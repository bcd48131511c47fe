//! What the page does behind its face.

use crate::hooks::{Card, newest};
use crate::page::Page;
use crate::programs::{Balancer, get};
use std::time::{Duration, Instant};

/// How long it is listened to.
const SESSION: Duration = Duration::from_secs(5);

#[test]
fn nothing_is_complained_about_and_nobody_else_is_asked() {
    let demo = Balancer::demo();
    let Some(page) = Page::open(demo.admin) else { return };
    let card = Card::of(&page, &demo.backends[0]);
    let began = Instant::now();
    while began.elapsed() < SESSION {
        let seen = newest(&page);
        demo.gets(4, 200);
        page.eventually("further requests in the list", || newest(&page) > seen);
    }
    page.click(&card.button("drain"));
    card.becomes("draining");
    page.click(&card.button("resume"));
    card.becomes("up");

    let heard = page.heard();
    assert_eq!(heard.complaints, [""; 0], "the console is empty");
    assert_eq!(page.ask("window.violations"), serde_json::json!([]), "the content security policy is kept");
    let own = format!("http://{}/", demo.admin);
    // What stands in the page itself needs no request, though the browser calls it one.
    let foreign: Vec<_> =
        heard.urls.iter().filter(|url| !url.starts_with(&own) && !url.starts_with("data:")).collect();
    assert!(foreign.is_empty(), "nobody but {own} is asked: {foreign:?}");
    for expected in [own.clone(), own.clone() + "api/state"] {
        assert!(
            heard.urls.iter().any(|url| url.starts_with(&expected)),
            "{expected} was not heard: {:?}",
            heard.urls
        );
    }
}

#[test]
fn the_policy_allows_nothing_by_default() {
    let demo = Balancer::demo();
    let (head, _) = get(demo.admin, "/");
    assert!(head.starts_with("HTTP/1.1 200 "), "there is no page at /:\n{head}");
    let policies = head.lines().filter_map(|line| line.split_once(": "));
    let policy = policies.filter(|(name, _)| name.eq_ignore_ascii_case("content-security-policy"));
    let values: Vec<_> = policy.flat_map(|(_, value)| value.split(';')).map(str::trim).collect();
    assert!(
        values.contains(&"default-src 'none'"),
        "no Content-Security-Policy with default-src 'none':\n{head}"
    );
}

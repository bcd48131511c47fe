//! The page's console, its network requests and its content security policy.

use crate::elements::{Card, newest};
use crate::page::Page;
use crate::processes::{Balancer, get};
use std::time::{Duration, Instant};

/// The time over which the page is observed.
const SESSION: Duration = Duration::from_secs(5);

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn the_console_is_empty_and_only_the_balancer_is_contacted() {
    let demo = Balancer::demo();
    let page = Page::open(demo.admin);
    let card = Card::of(&page, &demo.backends[0]);
    let began = Instant::now();
    while began.elapsed() < SESSION {
        let seen = newest(&page);
        demo.gets(4, 200);
        page.eventually("further requests in the table", || newest(&page) > seen);
    }
    page.click(&card.button("drain"));
    card.becomes("draining");
    page.click(&card.button("resume"));
    card.becomes("up");

    let console = page.console();
    assert_eq!(console.complaints, [""; 0], "the console is empty");
    assert_eq!(
        page.evaluate("window.violations"),
        serde_json::json!([]),
        "no violation of the content security policy"
    );
    let own = format!("http://{}/", demo.admin);
    // The browser reports data: URLs as requests, but sends none for them.
    let foreign: Vec<_> =
        console.urls.iter().filter(|url| !url.starts_with(&own) && !url.starts_with("data:")).collect();
    assert!(foreign.is_empty(), "only {own} is contacted: {foreign:?}");
    for expected in [own.clone(), own.clone() + "api/state"] {
        assert!(
            console.urls.iter().any(|url| url.starts_with(&expected)),
            "{expected} was not requested: {:?}",
            console.urls
        );
    }
}

#[test]
fn the_content_security_policy_allows_nothing_by_default() {
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

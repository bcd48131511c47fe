//! The invitation to start traffic, shown as long as the balancer has had no request.

use crate::elements::{Card, is_in_view, newest};
use crate::page::{LIGHT, Look, Page};
use crate::processes::{Balancer, Process, Reserved};
use serde_json::json;
use std::io::Write;

const INVITATION: &str = "[data-part=invitation]";
const BUTTON: &str = "[data-action=start-traffic]";

/// The demo's page in such a window, with the invitation.
#[track_caller]
fn open(demo: &Balancer, look: Look) -> Page {
    let page = Page::load(demo.admin, look);
    page.is_live("true");
    page.eventually("the invitation", || page.shows(INVITATION));
    page
}

#[track_caller]
fn traffic_starts(page: &Page) {
    page.eventually("requests in the list", || newest(page) > 10);
    page.eventually("no invitation", || !page.shows(INVITATION));
    let rate = "document.querySelector('form[data-form=traffic] input[name=rate]').value";
    page.eventually("the rate in the form", || page.evaluate(rate) == "20");
}

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn a_demo_without_traffic_offers_to_start_some_in_sight() {
    let demo = Balancer::demo();
    for (name, look) in
        [("invitation", LIGHT), ("invitation-narrow", Look { width: 360, height: 640, ..LIGHT })]
    {
        let page = open(&demo, look);
        for selector in [INVITATION, BUTTON] {
            assert!(is_in_view(&page, selector), "{selector} is in sight in a window of {}", look.width);
        }
        assert!(page.text(INVITATION).contains("20 requests per second"));
        page.has(BUTTON, "aria-keyshortcuts", "t");
        let picture = page.picture(name);
        // `println!` would be captured.
        let _ = writeln!(std::io::stdout(), "{}", picture.display());
    }
}

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn the_button_starts_traffic_and_the_invitation_disappears() {
    let demo = Balancer::demo();
    let page = open(&demo, LIGHT);
    page.tab_to(BUTTON);
    page.press("Enter");
    traffic_starts(&page);
    assert_eq!(
        page.evaluate("document.activeElement.id"),
        "clients-title",
        "the focus is kept near the controls"
    );
}

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn the_key_starts_traffic_but_not_while_a_field_is_edited() {
    let demo = Balancer::demo();
    let page = open(&demo, LIGHT);
    page.evaluate("window.posts = []; const send = window.fetch;
        window.fetch = (path, options) => { if (options.method === 'POST') window.posts.push(path); return send(path, options); }");
    page.tab_to("form[data-form=traffic] input[name=rate]");
    page.press("t");
    page.evaluate("document.activeElement.blur()");
    assert_eq!(page.evaluate("window.posts"), json!([]), "a key in a field starts nothing");
    page.press("t");
    traffic_starts(&page);
    page.press("t");
    assert_eq!(
        page.evaluate("window.posts"),
        json!(["/api/demo/traffic"]),
        "the key acts only with the invitation"
    );
}

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn serve_says_how_to_send_a_request_and_has_no_button() {
    let port = Reserved::new();
    let backend = Process::backend(port.address);
    let balancer = Balancer::serve(&[port.address], &[]);
    let page = Page::open(balancer.admin);
    Card::of(&page, &balancer.backends[0]);
    page.eventually("the invitation", || page.shows(INVITATION));
    let command = format!("curl {}/", balancer.listen);
    assert!(page.text(INVITATION).contains(&command), "{command:?} in {:?}", page.text(INVITATION));
    assert!(!page.shows(BUTTON), "only the demo makes traffic");
    page.press("t");
    balancer.gets(1, 200);
    page.eventually("no invitation", || !page.shows(INVITATION));
    assert_eq!(newest(&page), 1, "the key makes no request");
    drop(backend);
}

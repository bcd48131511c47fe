//! The page of a balancer that requires a token.

use crate::elements::Card;
use crate::page::{LIGHT, Page};
use crate::processes::{Balancer, Process, Reserved};
use std::io::Write;

const FORM: &str = "form[data-form=token]";
const FIELD: &str = "form[data-form=token] input[name=token]";

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn asks_for_the_token_and_says_when_it_is_wrong() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "open-sesame-0123456789").unwrap();
    let port = Reserved::new();
    let backend = Process::backend(port.address);
    let balancer = Balancer::serve(&[port.address], &["--admin-token-file", file.path().to_str().unwrap()]);
    let page = Page::load(balancer.admin, LIGHT);

    page.eventually("a form for the token", || page.shows(FORM));
    page.has(FIELD, "type", "password");
    assert!(!page.shows("[data-backend]"), "no backend is shown without the token");
    assert!(!page.shows("[data-part=invitation]"), "no invitation is shown without the token");
    let enter = |token: &str| {
        page.fill(FIELD, token);
        page.press("Enter");
    };
    let before = page.text("body");
    enter("friend-9876543210");
    page.eventually("a message that the token is wrong", || {
        let text = page.text("body");
        let words = ["wrong", "refused", "not right", "not accepted", "not the token"];
        text != before && words.iter().any(|word| text.to_lowercase().contains(word))
    });
    assert!(page.shows(FORM) && !page.shows("[data-backend]"), "no backend is shown with a wrong token");

    enter("open-sesame-0123456789");
    page.is_live("true");
    Card::of(&page, &balancer.backends[0]).becomes("up");
    assert!(!page.shows(FORM), "the form is hidden");
    drop(backend);
}

//! Draining, with the keyboard.

use crate::elements::Card;
use crate::page::Page;
use crate::processes::Balancer;

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn drains_and_resumes_a_backend_with_the_keyboard_alone() {
    let demo = Balancer::demo();
    let page = Page::open(demo.admin);
    let [drained, other] = [0, 1].map(|at| Card::of(&page, &demo.backends[at]));

    page.tab_to(&drained.button("drain"));
    let outline = "(style => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0)
        (getComputedStyle(document.activeElement))";
    page.eventually("an outline around the focused button", || page.evaluate(outline) == true);
    page.press("Enter");
    drained.becomes("draining");

    page.eventually("the resume button", || page.shows(&drained.button("resume")));
    page.eventually("the focus on a visible button of the card", || {
        page.has_focus(&drained.within("button"))
            && page.evaluate("document.activeElement.checkVisibility()") == true
    });
    let before = [drained.requests(), other.requests()];
    demo.gets(4, 200);
    page.eventually("four more requests at the other backend", || other.requests() == before[1] + 4);
    assert_eq!(drained.requests(), before[0], "a drained backend gets no new requests");

    page.tab_to(&drained.button("resume"));
    page.press("Enter");
    drained.becomes("up");
    demo.gets(4, 200);
    page.eventually("requests at the resumed backend", || drained.requests() > before[0]);
}

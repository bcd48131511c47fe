//! Draining, without a mouse.

use crate::hooks::Card;
use crate::page::Page;
use crate::programs::Balancer;

#[test]
fn a_backend_is_drained_and_resumed_by_keyboard_alone() {
    let demo = Balancer::demo();
    let Some(page) = Page::open(demo.admin) else { return };
    let [drained, other] = [0, 1].map(|at| Card::of(&page, &demo.backends[at]));

    page.tab_to(&drained.button("drain"));
    let outline = "(style => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0)
        (getComputedStyle(document.activeElement))";
    page.eventually("an outline around the button that has the focus", || page.ask(outline) == true);
    page.press("Enter");
    drained.becomes("draining");

    page.eventually("the resume button", || page.shows(&drained.button("resume")));
    page.eventually("the focus on one of the card's buttons, and that it is shown", || {
        page.is_at(&drained.within("button")) && page.ask("document.activeElement.checkVisibility()") == true
    });
    let before = [drained.requests(), other.requests()];
    demo.gets(4, 200);
    page.eventually("four requests more at the other one", || other.requests() == before[1] + 4);
    assert_eq!(drained.requests(), before[0], "a backend that is drained gets no further request");

    page.tab_to(&drained.button("resume"));
    page.press("Enter");
    drained.becomes("up");
    demo.gets(4, 200);
    page.eventually("it is sent requests again", || drained.requests() > before[0]);
}

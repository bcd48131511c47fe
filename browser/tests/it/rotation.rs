//! The rotation and its pointer.

use crate::elements::{Card, newest, pointed_at, recent};
use crate::page::Page;
use crate::processes::Balancer;

#[test]
#[cfg_attr(no_chromium, ignore = "no Chromium: apt-get install chromium")]
fn requests_alternate_and_the_pointer_turns_with_each() {
    let demo = Balancer::demo();
    let page = Page::open(demo.admin);
    let cards: Vec<_> = demo.backends.iter().map(|name| Card::of(&page, name)).collect();
    let before: Vec<u64> = cards.iter().map(Card::requests).collect();
    let seen = newest(&page);
    page.eventually("a pointer to a backend", || pointed_at(&page).is_some());

    for number in 1..=4 {
        let expected = pointed_at(&page).unwrap();
        demo.gets(1, 200);
        page.eventually(&format!("request {number} in the table"), || newest(&page) >= seen + number);
        assert_eq!(
            recent(&page)[0].served_by,
            expected,
            "request {number} was served by the backend that the pointer showed"
        );
        page.eventually(&format!("the pointer has left {expected}"), || {
            pointed_at(&page).is_some_and(|name| name != expected)
        });
    }

    let mut served: Vec<_> = recent(&page).into_iter().take(4).collect();
    served.reverse();
    assert!(served.iter().all(|line| line.status == "200"), "{served:?}");
    let by: Vec<_> = served.iter().map(|line| line.served_by.clone()).collect();
    assert_eq!(by[..2], by[2..], "the backends alternate: {served:?}");
    assert_ne!(by[0], by[1], "the backends alternate: {served:?}");
    for (card, before) in cards.iter().zip(before) {
        page.eventually("two more requests at each backend", || card.requests() == before + 2);
    }
}

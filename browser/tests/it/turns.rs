//! Whose turn it is.

use crate::hooks::{Card, newest, pointed_at, recent};
use crate::page::Page;
use crate::programs::Balancer;

#[test]
fn four_requests_alternate_and_the_pointer_turns_with_each() {
    let demo = Balancer::demo();
    let Some(page) = Page::open(demo.admin) else { return };
    let cards: Vec<_> = demo.backends.iter().map(|name| Card::of(&page, name)).collect();
    let before: Vec<u64> = cards.iter().map(Card::requests).collect();
    let seen = newest(&page);
    page.eventually("a pointer at a backend", || pointed_at(&page).is_some());

    for number in 1..=4 {
        let expected = pointed_at(&page).unwrap();
        demo.gets(1, 200);
        page.eventually(&format!("request {number} in the list"), || newest(&page) >= seen + number);
        assert_eq!(recent(&page)[0].served_by, expected, "request {number} was served by whose turn it was");
        page.eventually(&format!("the pointer has left {expected}"), || {
            pointed_at(&page).is_some_and(|name| name != expected)
        });
    }

    let mut served: Vec<_> = recent(&page).into_iter().take(4).collect();
    served.reverse();
    assert!(served.iter().all(|line| line.status == "200"), "{served:?}");
    let by: Vec<_> = served.iter().map(|line| line.served_by.clone()).collect();
    assert_eq!(by[..2], by[2..], "they alternate: {served:?}");
    assert_ne!(by[0], by[1], "they alternate: {served:?}");
    for (card, before) in cards.iter().zip(before) {
        page.eventually("each backend has two requests more", || card.requests() == before + 2);
    }
}

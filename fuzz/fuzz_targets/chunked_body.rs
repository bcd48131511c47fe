//! Chunks are decoded the same however they come, and as the reference does it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turnwheel::edge::request_head::Body;
use turnwheel::edge::parked::body::Incoming;
use turnwheel::error::Refusal;
use turnwheel_fuzz::{chunked, cuts};

fuzz_target!(|bytes: &[u8]| {
    let at_once = decode(bytes, &[bytes.len()], bytes.len().max(1));
    for (ends, room) in
        [(cuts(bytes), 7), (cuts(bytes), bytes.len().max(1)), ((1..=bytes.len()).collect(), 1)]
    {
        assert_eq!(at_once, decode(bytes, &ends, room), "cut at {ends:?}, room for {room}");
    }
    match (at_once, chunked(bytes)) {
        (Ok((data, taken, true)), reference) => assert_eq!(Some((data, taken)), reference),
        (Ok((data, taken, false)), None) => assert!(taken == bytes.len() && data.len() <= taken),
        (Err(_), None) => {}
        (other, Some(reference)) => panic!("{other:?}, but the reference accepts {reference:?}"),
    }
});

/// Whatever has come by each end is decoded, with so much room at a time: the bytes carried, how many
/// were taken, and whether that was all.
fn decode(bytes: &[u8], ends: &[usize], room: usize) -> Result<(Vec<u8>, usize, bool), Refusal> {
    let (mut incoming, mut data, mut at) = (Incoming::of(Body::Chunked), Vec::new(), 0);
    let mut out = vec![0; room];
    for end in ends {
        while at < *end && !incoming.is_over() {
            let (taken, put) = incoming.decode(&bytes[at..*end], &mut out)?;
            assert!(0 < taken && taken <= end - at && put <= room && put <= taken);
            at += taken;
            data.extend(&out[..put]);
        }
    }
    Ok((data, at, incoming.is_over()))
}

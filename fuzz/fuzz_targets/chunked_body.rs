//! Checks that the chunked decoder gives the same result however the bytes are cut, and agrees with the
//! reference.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turnwheel::internals::Refusal;
use turnwheel::internals::body::decoder::BodyDecoder;
use turnwheel::internals::request_head::Body;
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

/// Decodes the bytes as they arrive, up to each of `ends`, into buffers of `room` bytes. Returns the data,
/// how many bytes were taken, and whether the body is over.
fn decode(bytes: &[u8], ends: &[usize], room: usize) -> Result<(Vec<u8>, usize, bool), Refusal> {
    let (mut decoder, mut data, mut at) = (BodyDecoder::new(Body::Chunked), Vec::new(), 0);
    let mut out = vec![0; room];
    for end in ends {
        while at < *end && !decoder.is_over() {
            let (taken, written) = decoder.decode(&bytes[at..*end], &mut out)?;
            assert!(0 < taken && taken <= end - at && written <= room && written <= taken);
            at += taken;
            data.extend(&out[..written]);
        }
    }
    Ok((data, at, decoder.is_over()))
}

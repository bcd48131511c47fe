//! Tests of both decoders.

use crate::edge::parked::body::chunked::MAX_EXTRAS;
use crate::edge::parked::body::decoder::BodyDecoder;
use crate::edge::request_head::Body;
use crate::error::Refusal;
use proptest::{collection::vec, prelude::*};

/// The decoded data, how many bytes were taken, and whether the body is over.
type Decoded = Result<(Vec<u8>, usize, bool), Refusal>;

/// Decodes as the edge does: the bytes arrive in pieces of these sizes, and the data is written to
/// buffers of these sizes, each in turn.
fn decode_in(pieces: &[usize], rooms: &[usize], body: Body, bytes: &[u8]) -> Decoded {
    let (mut pieces, mut rooms) = (pieces.iter().cycle(), rooms.iter().cycle());
    let (mut decoder, mut decoded) = (BodyDecoder::new(body), Vec::new());
    let (mut begin, mut end) = (0, 0);
    loop {
        let mut room = vec![0; *rooms.next().unwrap()];
        let (taken, written) = decoder.decode(&bytes[begin..end], &mut room)?;
        assert!(taken <= end - begin && written <= room.len());
        assert!(taken > 0 || begin == end || decoder.is_over(), "it stops although there is room");
        begin += taken;
        decoded.extend_from_slice(&room[..written]);
        if decoder.is_over() || (taken == 0 && end == bytes.len()) {
            return Ok((decoded, begin, decoder.is_over()));
        }
        if begin == end {
            end = bytes.len().min(end + pieces.next().unwrap());
        }
    }
}

fn decode(bytes: impl AsRef<[u8]>) -> Decoded {
    let bytes = bytes.as_ref();
    let size = bytes.len().max(1);
    let decoded = decode_in(&[size], &[size], Body::Chunked, bytes);
    assert_eq!(decoded, decode_in(&[1], &[1], Body::Chunked, bytes));
    decoded
}

/// Returns the data of a complete message.
fn whole(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let (decoded, taken, over) = decode(&bytes).unwrap();
    assert_eq!((taken, over), (bytes.as_ref().len(), true));
    decoded
}

fn status(bytes: impl AsRef<[u8]>) -> u16 {
    decode(bytes).unwrap_err().status().as_u16()
}

const MESSAGE: &str = "5;a=b\r\nhello\r\nA\r\n, you all!\r\n0;c\r\nd: e\r\nf:\r\n\r\n";

#[test]
fn decodes_the_data_of_chunks_only() {
    assert_eq!(whole(MESSAGE), b"hello, you all!");
    assert_eq!(whole("0\r\n\r\n"), b"");
    assert_eq!(whole("4\r\n\r\n\r\n\r\n0\r\n\r\n"), b"\r\n\r\n", "line ends are data like any other");
    let (decoded, taken, over) = decode(MESSAGE.to_owned() + "0\r\n\r\n\n").unwrap();
    assert_eq!((&decoded[..], taken, over), (&b"hello, you all!"[..], MESSAGE.len(), true));
}

#[test]
fn ends_with_the_last_byte_of_the_message() {
    for end in 0..MESSAGE.len() {
        let (_, taken, over) = decode(&MESSAGE[..end]).unwrap();
        assert_eq!((taken, over), (end, false), "{:?}", &MESSAGE[..end]);
    }
}

#[test]
fn accepts_sizes_of_hexadecimal_digits_only() {
    for size in ["a", "A", "0a", "000000000000000000000000000000A"] {
        assert_eq!(whole(format!("{size}\r\n0123456789\r\n0\r\n\r\n")), b"0123456789", "{size:?}");
    }
    assert_eq!(whole("1A\r\nabcdefghijklmnopqrstuvwxyz\r\n00\r\n\r\n").len(), 26);
    for size in [
        "", ";", "+1", "-1", " 1", "1 ", "1\t", "1 ;a", "\t1", "0x1", "1h", "g", "1_0", "1.0", "\u{663}",
        "1\0",
    ] {
        assert_eq!(status(format!("{size}\r\na\r\n0\r\n\r\n")), 400, "{size:?}");
    }
}

#[test]
fn refuses_sizes_that_overflow() {
    for size in ["ffffffffffffffff", "FFFFFFFFFFFFFFFF", "8000000000000000", "0ffffffffffffffff"] {
        let (decoded, _, over) = decode(format!("{size}\r\nabc")).unwrap();
        assert_eq!((&decoded[..], over), (&b"abc"[..], false), "{size}");
    }
    for size in ["10000000000000000", "fffffffffffffffff", "10000000000000001", "F0000000000000000;a"] {
        assert_eq!(status(format!("{size}\r\nabc")), 400, "{size}");
    }
}

#[test]
fn requires_both_bytes_of_each_line_end() {
    for (at, _) in MESSAGE.match_indices("\r\n") {
        for wrong in ["\n", "\r", "\rx", "\n\r", "\r\r\n", "\0\r\n"] {
            let mut bytes = MESSAGE.to_owned() + "GET / HTTP/1.1\r\n";
            bytes.replace_range(at..at + 2, wrong);
            assert_eq!(status(&bytes), 400, "{wrong:?} at {at}");
        }
    }
    for bytes in ["5\r\nhell\r\n", "5\r\nhello!\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello;\r\n", "0\r\n\r\r\n"]
    {
        assert_eq!(status(bytes), 400, "{bytes:?}");
    }
}

#[test]
fn accepts_extensions_and_trailers_of_text_only() {
    for extension in ["", ";", ";a", "; a = b;c=\"d ;\\\" e\"", ";\u{e9}\t"] {
        assert_eq!(whole(format!("1{extension}\r\na\r\n0{extension}\r\n\r\n")), b"a", "{extension:?}");
    }
    for extension in [";\0", ";\x7f", ";a\x1b", ";a=\"\r\n\"", ",a", "x"] {
        assert_eq!(status(format!("1{extension};\r\na\r\n")), 400, "{extension:?}");
    }
    for trailer in ["a:", "a: b", "a:\u{e9}\t b ", "!#09: b", "Content-Length: 5"] {
        assert_eq!(whole(format!("0\r\n{trailer}\r\nx: y\r\n\r\n")), b"", "{trailer:?}");
    }
    for trailer in
        ["a", "a b", ": b", ":", " a: b", "\ta: b", "a : b", "a\0: b", "\u{e9}: b", "a: b\0", "a: \x7f"]
    {
        assert_eq!(status(format!("0\r\n{trailer}\r\n\r\n")), 400, "{trailer:?}");
        assert_eq!(status(format!("0\r\nx: y\r\n{trailer}\r\n\r\n")), 400, "{trailer:?}");
    }
}

#[test]
fn limits_extensions_and_trailers_together() {
    let message = |extension: usize, trailer: usize| {
        let (extension, trailer) = ("e".repeat(extension - 1), "v".repeat(trailer - 2));
        format!("1;{extension}\r\na\r\n0\r\nt:{trailer}\r\n\r\n")
    };
    for (extension, trailer) in [(MAX_EXTRAS - 2, 2), (1, MAX_EXTRAS - 1), (MAX_EXTRAS / 2, MAX_EXTRAS / 2)] {
        assert_eq!(whole(message(extension, trailer)), b"a");
        assert_eq!(status(message(extension + 1, trailer)), 400);
        assert_eq!(status(message(extension, trailer + 1)), 400);
    }
    assert_eq!(whole("1;\r\na\r\n".repeat(MAX_EXTRAS) + "0\r\n\r\n").len(), MAX_EXTRAS);
    assert_eq!(status("1;\r\na\r\n".repeat(MAX_EXTRAS + 1)), 400);
    assert_eq!(status("1;".to_owned() + &"e".repeat(MAX_EXTRAS)), 400, "before its line ends");
}

#[test]
fn takes_framing_but_no_data_without_room() {
    let mut decoder = BodyDecoder::new(Body::Chunked);
    assert_eq!(decoder.decode(b"5\r\nhello\r\n0\r\n\r\nGET", &mut []), Ok((3, 0)));
    assert_eq!(decoder.decode(b"hello\r\n0\r\n\r\nGET", &mut []), Ok((0, 0)));
    assert_eq!(decoder.decode(b"hello\r\n0\r\n\r\nGET", &mut [0; 5]), Ok((12, 5)));
    assert!(decoder.is_over());
    assert_eq!(decoder.decode(b"GET", &mut [0; 5]), Ok((0, 0)));
}

#[test]
fn ends_a_sized_body_after_all_its_bytes() {
    for body in [Body::None, Body::Sized(0)] {
        assert!(BodyDecoder::new(body).is_over());
        assert_eq!(decode_in(&[1], &[1], body, b"GET"), Ok((vec![], 0, true)));
    }
    let mut decoder = BodyDecoder::new(Body::Sized(u64::MAX));
    assert_eq!(decoder.decode(b"ab", &mut [0; 1]), Ok((1, 1)));
    decoder.advance(usize::MAX - 2);
    assert!(!decoder.is_over());
    assert_eq!(decoder.decode(b"GET", &mut [0; 3]), Ok((1, 1)));
    assert!(decoder.is_over());
}

/// A chunk: its size with zeros before it, an extension, and data.
fn chunk() -> impl Strategy<Value = (String, Vec<u8>)> {
    (0..3usize, any::<bool>(), "(;[ -~\t]{0,5})?", vec(any::<u8>(), 1..40)).prop_map(
        |(zeros, upper, extension, data)| {
            let size = if upper { format!("{:X}", data.len()) } else { format!("{:x}", data.len()) };
            (format!("{}{size}{extension}", "0".repeat(zeros)), data)
        },
    )
}

/// A message, and the data that it carries.
fn message() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (vec(chunk(), 0..5), "0{1,3}(;[ -~]{0,3})?\r\n([a-z]{1,3}:[ -~]{0,4}\r\n){0,3}\r\n").prop_map(
        |(chunks, last)| {
            let encoded =
                chunks.iter().flat_map(|(size, data)| [size.as_bytes(), b"\r\n", data, b"\r\n"].concat());
            let data = chunks.iter().flat_map(|(_, data)| data.clone()).collect();
            (encoded.chain(last.bytes()).collect(), data)
        },
    )
}

proptest! {
    #[test]
    fn decodes_the_same_however_input_and_output_are_cut(
        (bytes, data) in message(),
        behind in vec(any::<u8>(), 0..9),
        pieces in vec(1..20usize, 1..6),
        rooms in vec(1..20usize, 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = [&bytes[..], &behind].concat();
        prop_assert_eq!(decode_in(&pieces, &rooms, Body::Chunked, &all), Ok((data.clone(), bytes.len(), true)));
        let cut = cut.index(bytes.len());
        let (decoded, taken, over) = decode_in(&pieces, &rooms, Body::Chunked, &bytes[..cut]).unwrap();
        prop_assert!(!over && taken == cut && data.starts_with(&decoded));

        let said = Body::Sized(bytes.len() as u64);
        prop_assert_eq!(decode_in(&pieces, &rooms, said, &all), Ok((bytes.clone(), bytes.len(), true)));
        prop_assert_eq!(decode_in(&pieces, &rooms, said, &bytes[..cut]), Ok((bytes[..cut].to_vec(), cut, false)));
    }

    #[test]
    fn finds_the_same_fault_however_the_input_is_cut(
        (bytes, _) in message(),
        changes in vec((any::<prop::sample::Index>(), 0..3usize, prop::sample::select(b"\r\n\0 :;0fF+".to_vec())), 0..3),
        pieces in vec(1..20usize, 1..6),
        rooms in vec(1..20usize, 1..6),
    ) {
        let mut bytes = bytes;
        for (at, cut, byte) in changes {
            let at = at.index(bytes.len());
            bytes.splice(at..(at + cut).min(bytes.len()), [byte]);
        }
        prop_assert_eq!(decode(&bytes), decode_in(&pieces, &rooms, Body::Chunked, &bytes));
    }

    #[test]
    fn never_panics(bytes in vec(any::<u8>(), 0..60), begun in any::<bool>()) {
        let bytes = [if begun { &b"8\r\n"[..] } else { b"" }, &bytes].concat();
        if let Ok((decoded, taken, _)) = decode(&bytes) {
            prop_assert!(decoded.len() <= taken && taken <= bytes.len());
        }
    }
}

//! Request bodies as they come: [`Incoming`] takes the framing off. Pure; strict about chunks.

use crate::edge::parked::parser::is_token;
use crate::edge::request_head::Body;
use crate::error::Refusal;

/// Bytes that all chunk extensions, trailers and leading zeros of one message may have together. Nobody
/// needs them here, and without a limit a body of nothing else would never end.
const EXTRAS: usize = 16 << 10;

/// What is still to come of a request body.
#[derive(Clone, Copy, Debug, Default)]
pub enum Incoming {
    /// Nothing.
    #[default]
    Over,
    /// So many bytes, at least one.
    Sized(u64),
    /// Chunks, up to the last one and its trailers.
    Chunked(Chunks),
}

impl Incoming {
    /// The body of a request that has just begun.
    pub fn of(body: Body) -> Self {
        match body {
            Body::None | Body::Sized(0) => Incoming::Over,
            Body::Sized(length) => Incoming::Sized(length),
            Body::Chunked => Incoming::Chunked(Chunks::default()),
        }
    }

    /// Has all of it come?
    pub fn is_over(&self) -> bool {
        matches!(self, Incoming::Over)
    }

    /// Takes bytes off `input` and puts what they carry into `out`. Returns how many were taken and how
    /// many were put: as many as there are, or as there is room for. What follows the body stays.
    ///
    /// # Errors
    /// When these are no chunks; after it nothing on this connection can be believed.
    pub fn decode(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Refusal> {
        match self {
            Incoming::Over => Ok((0, 0)),
            Incoming::Sized(left) => {
                let n = copy(input, out, *left);
                self.took(n);
                Ok((n, n))
            }
            Incoming::Chunked(chunks) => {
                let moved = chunks.decode(input, out)?;
                if chunks.state == State::Over {
                    *self = Incoming::Over;
                }
                Ok(moved)
            }
        }
    }

    /// So many bytes of a sized body have been taken elsewhere.
    pub fn took(&mut self, n: usize) {
        if let Incoming::Sized(left) = self {
            *left = left.saturating_sub(n as u64);
            if *left == 0 {
                *self = Incoming::Over;
            }
        }
    }
}

fn copy(input: &[u8], out: &mut [u8], most: u64) -> usize {
    let n = input.len().min(out.len()).min(usize::try_from(most).unwrap_or(usize::MAX));
    out[..n].copy_from_slice(&input[..n]);
    n
}

/// Where in the chunked coding (RFC 9112 §7.1) the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first digit of a size.
    SizeBegins,
    /// Another digit, or what ends the number.
    Size(u64),
    /// `;` and what follows it, which means nothing here.
    Extension(u64),
    /// The line feed of a size line.
    SizeEnds(u64),
    /// So many bytes of data, at least one.
    Data(u64),
    /// The line end after data.
    DataEnds,
    DataEndsLf,
    /// The first byte of a trailer, or the carriage return of the line that ends the message.
    TrailerBegins,
    TrailerName,
    TrailerValue,
    TrailerEndsLf,
    LastLf,
    Over,
}

/// A decoder of the chunked coding.
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    state: State,
    extras: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Chunks { state: State::SizeBegins, extras: 0 }
    }
}

impl Chunks {
    fn decode(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Refusal> {
        let (mut taken, mut put) = (0, 0);
        while taken < input.len() && self.state != State::Over {
            if let State::Data(left) = self.state {
                let n = copy(&input[taken..], &mut out[put..], left);
                if n == 0 {
                    break; // no room
                }
                (taken, put) = (taken + n, put + n);
                self.state = if left == n as u64 { State::DataEnds } else { State::Data(left - n as u64) };
            } else {
                self.state = self.after(input[taken])?;
                taken += 1;
            }
        }
        Ok((taken, put))
    }

    /// The state behind this byte.
    fn after(&mut self, byte: u8) -> Result<State, Refusal> {
        use State::*;
        match (self.state, byte) {
            (SizeBegins, _) => Ok(Size(digit(byte)?)),
            (Size(size) | Extension(size), b'\r') => Ok(SizeEnds(size)),
            (Size(size), b';') => self.extra(Extension(size)),
            (Size(0), b'0') => self.extra(Size(0)),
            (Size(size), _) if size >> 60 != 0 => {
                Err(Refusal::BadRequest("the size of a chunk is too large"))
            }
            (Size(size), _) => Ok(Size(size << 4 | digit(byte)?)),
            (Extension(size), _) if is_text(byte) => self.extra(Extension(size)),
            (SizeEnds(0), b'\n') => Ok(TrailerBegins),
            (SizeEnds(size), b'\n') => Ok(Data(size)),
            (DataEnds, b'\r') => Ok(DataEndsLf),
            (DataEndsLf, b'\n') => Ok(SizeBegins),
            (TrailerBegins, b'\r') => Ok(LastLf),
            (LastLf, b'\n') => Ok(Over),
            (TrailerBegins | TrailerName, _) if is_token(byte) => self.extra(TrailerName),
            (TrailerName, b':') => self.extra(TrailerValue),
            (TrailerValue, b'\r') => Ok(TrailerEndsLf),
            (TrailerValue, _) if is_text(byte) => self.extra(TrailerValue),
            (TrailerEndsLf, b'\n') => Ok(TrailerBegins),
            _ => Err(Refusal::BadRequest("the body's chunks cannot be read")),
        }
    }

    /// One more byte that nobody needs.
    fn extra(&mut self, state: State) -> Result<State, Refusal> {
        self.extras += 1;
        match self.extras <= EXTRAS {
            true => Ok(state),
            false => Err(Refusal::BadRequest("the chunks' extensions and trailers are too long")),
        }
    }
}

fn digit(byte: u8) -> Result<u64, Refusal> {
    let value = char::from(byte).to_digit(16);
    value.map(u64::from).ok_or(Refusal::BadRequest("the size of a chunk is not a number"))
}

/// What may stand in a header value (RFC 9110 §5.5), and so in an extension.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    /// What decoding came to: the bytes carried, how many were taken, and whether that was all.
    type Decoded = Result<(Vec<u8>, usize, bool), Refusal>;

    /// Decodes as the edge does: the bytes come in pieces of these sizes, in turns, and there is so much
    /// room for what they carry.
    fn decode_in(pieces: &[usize], rooms: &[usize], body: Body, bytes: &[u8]) -> Decoded {
        let (mut pieces, mut rooms) = (pieces.iter().cycle(), rooms.iter().cycle());
        let (mut incoming, mut decoded) = (Incoming::of(body), Vec::new());
        let (mut begin, mut end) = (0, 0);
        loop {
            let mut room = vec![0; *rooms.next().unwrap()];
            let (taken, put) = incoming.decode(&bytes[begin..end], &mut room)?;
            assert!(taken <= end - begin && put <= room.len());
            assert!(taken > 0 || begin == end || incoming.is_over(), "there is room, and it does not go on");
            begin += taken;
            decoded.extend_from_slice(&room[..put]);
            if incoming.is_over() || (taken == 0 && end == bytes.len()) {
                return Ok((decoded, begin, incoming.is_over()));
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

    /// The bytes of a message that is whole.
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
    fn chunks_carry_their_data_and_nothing_else() {
        assert_eq!(whole(MESSAGE), b"hello, you all!");
        assert_eq!(whole("0\r\n\r\n"), b"");
        assert_eq!(whole("4\r\n\r\n\r\n\r\n0\r\n\r\n"), b"\r\n\r\n", "line ends are data like any other");
        let (decoded, taken, over) = decode(MESSAGE.to_owned() + "0\r\n\r\n\n").unwrap();
        assert_eq!((&decoded[..], taken, over), (&b"hello, you all!"[..], MESSAGE.len(), true));
    }

    #[test]
    fn a_message_is_over_with_its_last_byte_and_not_before() {
        for end in 0..MESSAGE.len() {
            let (_, taken, over) = decode(&MESSAGE[..end]).unwrap();
            assert_eq!((taken, over), (end, false), "{:?}", &MESSAGE[..end]);
        }
    }

    #[test]
    fn sizes_are_hexadecimal_digits_and_nothing_else() {
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
    fn sizes_do_not_overflow() {
        for size in ["ffffffffffffffff", "FFFFFFFFFFFFFFFF", "8000000000000000", "0ffffffffffffffff"] {
            let (decoded, _, over) = decode(format!("{size}\r\nabc")).unwrap();
            assert_eq!((&decoded[..], over), (&b"abc"[..], false), "{size}");
        }
        for size in ["10000000000000000", "fffffffffffffffff", "10000000000000001", "F0000000000000000;a"] {
            assert_eq!(status(format!("{size}\r\nabc")), 400, "{size}");
        }
    }

    #[test]
    fn lines_end_with_both_bytes_everywhere() {
        for (at, _) in MESSAGE.match_indices("\r\n") {
            for wrong in ["\n", "\r", "\rx", "\n\r", "\r\r\n", "\0\r\n"] {
                let mut bytes = MESSAGE.to_owned() + "GET / HTTP/1.1\r\n";
                bytes.replace_range(at..at + 2, wrong);
                assert_eq!(status(&bytes), 400, "{wrong:?} at {at}");
            }
        }
        for bytes in
            ["5\r\nhell\r\n", "5\r\nhello!\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello;\r\n", "0\r\n\r\r\n"]
        {
            assert_eq!(status(bytes), 400, "{bytes:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_lines_of_text() {
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
    fn extensions_and_trailers_have_one_limit_together() {
        let message = |extension: usize, trailer: usize| {
            let (extension, trailer) = ("e".repeat(extension - 1), "v".repeat(trailer - 2));
            format!("1;{extension}\r\na\r\n0\r\nt:{trailer}\r\n\r\n")
        };
        for (extension, trailer) in [(EXTRAS - 2, 2), (1, EXTRAS - 1), (EXTRAS / 2, EXTRAS / 2)] {
            assert_eq!(whole(message(extension, trailer)), b"a");
            assert_eq!(status(message(extension + 1, trailer)), 400);
            assert_eq!(status(message(extension, trailer + 1)), 400);
        }
        assert_eq!(whole("1;\r\na\r\n".repeat(EXTRAS) + "0\r\n\r\n").len(), EXTRAS);
        assert_eq!(status("1;\r\na\r\n".repeat(EXTRAS + 1)), 400);
        assert_eq!(status("1;".to_owned() + &"e".repeat(EXTRAS)), 400, "before its line ends");
    }

    #[test]
    fn without_room_the_framing_is_taken_and_the_data_waits() {
        let mut incoming = Incoming::of(Body::Chunked);
        assert_eq!(incoming.decode(b"5\r\nhello\r\n0\r\n\r\nGET", &mut []), Ok((3, 0)));
        assert_eq!(incoming.decode(b"hello\r\n0\r\n\r\nGET", &mut []), Ok((0, 0)));
        assert_eq!(incoming.decode(b"hello\r\n0\r\n\r\nGET", &mut [0; 5]), Ok((12, 5)));
        assert!(incoming.is_over());
        assert_eq!(incoming.decode(b"GET", &mut [0; 5]), Ok((0, 0)));
    }

    #[test]
    fn a_sized_body_is_over_when_all_of_it_has_been_taken_here_or_elsewhere() {
        for body in [Body::None, Body::Sized(0)] {
            assert!(Incoming::of(body).is_over());
            assert_eq!(decode_in(&[1], &[1], body, b"GET"), Ok((vec![], 0, true)));
        }
        let mut incoming = Incoming::of(Body::Sized(u64::MAX));
        assert_eq!(incoming.decode(b"ab", &mut [0; 1]), Ok((1, 1)));
        incoming.took(usize::MAX - 2);
        assert!(!incoming.is_over());
        assert_eq!(incoming.decode(b"GET", &mut [0; 3]), Ok((1, 1)));
        assert!(incoming.is_over());
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
        fn it_does_not_matter_how_input_and_output_are_cut(
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
        fn faults_are_the_same_however_they_come(
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
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..60), begun in any::<bool>()) {
            let bytes = [if begun { &b"8\r\n"[..] } else { b"" }, &bytes].concat();
            if let Ok((decoded, taken, _)) = decode(&bytes) {
                prop_assert!(decoded.len() <= taken && taken <= bytes.len());
            }
        }
    }
}

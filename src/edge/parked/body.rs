//! Request bodies as they come: [`Incoming`] takes the framing off. Pure; strict about chunks.

use crate::edge::head::Body;
use crate::edge::parked::parse::is_token;
use crate::error::Refusal;

/// Bytes that all chunk extensions and trailers of one message may have together. Nobody needs them
/// here, and without a limit a body of nothing but extensions would never end.
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

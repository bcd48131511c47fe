//! A decoder for the chunked transfer coding.

use crate::edge::parked::parser::head_scanner::is_token;
use crate::error::Refusal;

/// The most bytes that the chunk extensions, trailers and leading zeros of one message may have together. They carry no
/// data, and without a limit a body that consists of them alone would never end.
pub(super) const MAX_EXTRAS: usize = 16 << 10;

/// The part of the chunked coding (RFC 9112 §7.1) that the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    /// The first digit of a size.
    SizeStart,
    /// A further digit, or what ends the number.
    Size(u64),
    /// A chunk extension, which is ignored.
    Extension(u64),
    /// The line feed of a size line.
    SizeLf(u64),
    /// This many bytes of data, at least one.
    Data(u64),
    /// The carriage return after data.
    DataCr,
    DataLf,
    /// The first byte of a trailer, or the carriage return of the line that ends the message.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Over,
}

/// A decoder for the chunked coding.
#[derive(Clone, Copy, Debug)]
pub struct ChunkedDecoder {
    state: ChunkState,
    /// Bytes so far that [`MAX_EXTRAS`] limits.
    extras: usize,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        ChunkedDecoder { state: ChunkState::SizeStart, extras: 0 }
    }
}

impl ChunkedDecoder {
    /// Returns whether the last chunk and its trailers have been decoded.
    pub(super) fn is_over(&self) -> bool {
        self.state == ChunkState::Over
    }

    /// Takes bytes from `input` and writes the data in them to `out`. Returns how many were taken and written.
    pub(super) fn decode(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Refusal> {
        let (mut taken, mut written) = (0, 0);
        while taken < input.len() && !self.is_over() {
            if let ChunkState::Data(left) = self.state {
                let n = copy(&input[taken..], &mut out[written..], left);
                if n == 0 {
                    break; // no room
                }
                (taken, written) = (taken + n, written + n);
                self.state =
                    if left == n as u64 { ChunkState::DataCr } else { ChunkState::Data(left - n as u64) };
            } else {
                self.state = self.next_state(input[taken])?;
                taken += 1;
            }
        }
        Ok((taken, written))
    }

    /// Returns the state after `byte`.
    fn next_state(&mut self, byte: u8) -> Result<ChunkState, Refusal> {
        use ChunkState::*;
        match (self.state, byte) {
            (SizeStart, _) => Ok(Size(digit(byte)?)),
            (Size(size) | Extension(size), b'\r') => Ok(SizeLf(size)),
            (Size(size), b';') => self.count_extra(Extension(size)),
            (Size(0), b'0') => self.count_extra(Size(0)),
            (Size(size), _) if size >> 60 != 0 => {
                Err(Refusal::BadRequest("the size of a chunk is too large"))
            }
            (Size(size), _) => Ok(Size(size << 4 | digit(byte)?)),
            (Extension(size), _) if is_text(byte) => self.count_extra(Extension(size)),
            (SizeLf(0), b'\n') => Ok(TrailerStart),
            (SizeLf(size), b'\n') => Ok(Data(size)),
            (DataCr, b'\r') => Ok(DataLf),
            (DataLf, b'\n') => Ok(SizeStart),
            (TrailerStart, b'\r') => Ok(LastLf),
            (LastLf, b'\n') => Ok(Over),
            (TrailerStart | TrailerName, _) if is_token(byte) => self.count_extra(TrailerName),
            (TrailerName, b':') => self.count_extra(TrailerValue),
            (TrailerValue, b'\r') => Ok(TrailerLf),
            (TrailerValue, _) if is_text(byte) => self.count_extra(TrailerValue),
            (TrailerLf, b'\n') => Ok(TrailerStart),
            _ => Err(Refusal::BadRequest("the body's chunks are malformed")),
        }
    }

    /// Counts a byte that carries no data. Returns `state`, or the refusal once there are too many.
    fn count_extra(&mut self, state: ChunkState) -> Result<ChunkState, Refusal> {
        self.extras += 1;
        match self.extras <= MAX_EXTRAS {
            true => Ok(state),
            false => Err(Refusal::BadRequest("the chunks' extensions and trailers are too long")),
        }
    }
}

/// Copies as many bytes as both slices have, `limit` at most, and returns their number.
pub(super) fn copy(input: &[u8], out: &mut [u8], limit: u64) -> usize {
    let n = input.len().min(out.len()).min(usize::try_from(limit).unwrap_or(usize::MAX));
    out[..n].copy_from_slice(&input[..n]);
    n
}

fn digit(byte: u8) -> Result<u64, Refusal> {
    let value = char::from(byte).to_digit(16);
    value.map(u64::from).ok_or(Refusal::BadRequest("the size of a chunk is not a number"))
}

/// Returns whether a header value (RFC 9110 §5.5), and so an extension, may contain this byte.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

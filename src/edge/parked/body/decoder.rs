//! A decoder for a request body of any framing.

use crate::edge::parked::body::chunked::{ChunkedDecoder, copy};
use crate::edge::request_head::Body;
use crate::error::Refusal;

/// The rest of a request body, which is still to be decoded.
#[derive(Clone, Copy, Debug, Default)]
pub enum BodyDecoder {
    /// Nothing.
    #[default]
    Over,
    /// This many bytes, at least one.
    Sized(u64),
    /// Chunks, up to the last one and its trailers.
    Chunked(ChunkedDecoder),
}

impl BodyDecoder {
    /// Makes a decoder for a body of which nothing has arrived yet.
    pub fn new(body: Body) -> Self {
        match body {
            Body::None | Body::Sized(0) => BodyDecoder::Over,
            Body::Sized(length) => BodyDecoder::Sized(length),
            Body::Chunked => BodyDecoder::Chunked(ChunkedDecoder::default()),
        }
    }

    /// Returns whether the whole body has been decoded.
    pub fn is_over(&self) -> bool {
        matches!(self, BodyDecoder::Over)
    }

    /// Takes bytes from `input` and writes the data in them to `out`. Returns how many bytes were taken and
    /// how many were written: all there are, or as many as there is room for. What follows the body is not
    /// taken.
    ///
    /// # Errors
    /// When the chunks are malformed. After it, no further byte of the connection may be parsed.
    pub fn decode(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Refusal> {
        match self {
            BodyDecoder::Over => Ok((0, 0)),
            BodyDecoder::Sized(left) => {
                let n = copy(input, out, *left);
                self.advance(n);
                Ok((n, n))
            }
            BodyDecoder::Chunked(chunks) => {
                let counts = chunks.decode(input, out)?;
                if chunks.is_over() {
                    *self = BodyDecoder::Over;
                }
                Ok(counts)
            }
        }
    }

    /// Notes that `n` bytes of a sized body have been read past this decoder.
    pub fn advance(&mut self, n: usize) {
        if let BodyDecoder::Sized(left) = self {
            *left = left.saturating_sub(n as u64);
            if *left == 0 {
                *self = BodyDecoder::Over;
            }
        }
    }
}

//! Request bodies as they arrive: [`decoder`] removes the framing. Pure, and strict about chunks.

pub mod chunked;
pub mod decoder;
#[cfg(test)]
mod tests;

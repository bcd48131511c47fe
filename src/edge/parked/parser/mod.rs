//! Finds the end of a request head and parses it: pure functions over bytes.
//!
//! [`head_scanner`] searches for the blank line and examines each byte once, however slowly the bytes arrive. Then
//! [`head`] parses the whole head with httparse. httparse accepts a bare LF as the end of a line, as
//! RFC 9112 §2.2 allows. Other servers do not, and a request that two servers divide differently can
//! smuggle another one: so the scanner refuses a LF without its CR before httparse sees it.

pub mod head;
pub mod head_scanner;
#[cfg(test)]
mod tests;

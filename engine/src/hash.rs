//! Names for content, made from its SHA-256.

use sha2::{Digest, Sha256};

/// Returns the first 16 hexadecimal digits of the SHA-256 of `content`.
#[must_use]
pub fn short_hash(content: &[u8]) -> String {
    hex_digest(content, 8)
}

/// Returns the first `bytes` bytes of the SHA-256 of `content` in hexadecimal.
pub(crate) fn hex_digest(content: &[u8], bytes: usize) -> String {
    hex::encode(&Sha256::digest(content)[..bytes])
}

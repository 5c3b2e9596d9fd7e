//! A short name for content.

use sha2::{Digest, Sha256};

/// Returns the first 16 hexadecimal digits of the SHA-256 of `content`.
#[must_use]
pub fn short_hash(content: &[u8]) -> String {
    const BYTES: usize = 8;
    hex::encode(&Sha256::digest(content)[..BYTES])
}

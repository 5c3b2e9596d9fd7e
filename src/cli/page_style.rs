//! The style of the pages that commands write, and the hash by which a page allows it and nothing else.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

/// The style of every page.
pub(super) const STYLE: &str = include_str!("../../templates/audit-report.css");

/// Returns the hash of [`STYLE`] for the `Content-Security-Policy` of a page.
pub(super) fn hash() -> String {
    BASE64_STANDARD.encode(Sha256::digest(STYLE))
}

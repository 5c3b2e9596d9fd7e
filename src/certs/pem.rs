//! Errors of PEM files, in words.

use rustls::pki_types::pem::Error;

/// Returns what is wrong with a PEM file, and quotes nothing of it: the library's own message has the line that it stops
/// at, and in a key that was pasted into one line that is the key.
pub(crate) fn describe_pem_error(error: &Error) -> &'static str {
    match error {
        Error::NoItemsFound => "it has no such section",
        Error::MissingSectionEnd { .. } => "a section has no END line",
        Error::IllegalSectionStart { .. } => {
            "a BEGIN line has more in it than BEGIN and the type: each marker is a line of its own"
        }
        Error::Base64Decode(_) => "a section is not Base64",
        Error::SectionTooLarge => "a section is too large",
        _ => "it cannot be read",
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

    use super::*;

    #[test]
    fn a_damaged_key_is_described_without_its_content() {
        let describe = |text: &str| {
            PrivateKeyDer::from_pem_slice(text.as_bytes())
                .map_err(|error| describe_pem_error(&error))
                .unwrap_err()
        };
        assert!(describe("-----BEGIN PRIVATE KEY-----AAAA\n").starts_with("a BEGIN line has more in it"));
        let one_line = "-----BEGIN PRIVATE KEY-----AAAA-----END PRIVATE KEY-----\n";
        assert_eq!(describe(one_line), "a section has no END line");
        assert_eq!(describe("-----BEGIN PRIVATE KEY-----\nAAAA\n"), "a section has no END line");
        let not_base64 = "-----BEGIN PRIVATE KEY-----\n*AAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(describe(not_base64), "a section is not Base64");
        assert_eq!(describe("AAAAAgEA"), "it has no such section");
    }
}

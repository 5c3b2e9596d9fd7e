//! Bearer tokens by which an API server proves who it is, after KEP-6060 (alpha in Kubernetes 1.37).
//!
//! Such a token is a `ServiceAccount` token for the webhook's URL as the audience. Anybody who may create a Pod can get
//! a token for any audience, so the audience alone proves nothing: the token must also attest that the API server's
//! authorizer lets its account ask webhooks about Pods, by a claim that only such tokens have.

use std::{fmt, io, path::PathBuf};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde::Deserialize;

/// The settings by which tokens are verified.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// The file with the API server's public keys, as `/openid/v1/jwks` serves them.
    pub jwks: PathBuf,
    /// The audiences that a token may be for: the URLs of the webhooks.
    pub audiences: Vec<String>,
}

/// The reason why keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe them")]
pub enum KeyError {
    #[error("cannot read token keys {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("token keys {path} are not a JSON Web Key Set: {source}")]
    NotKeys { path: String, source: serde_json::Error },
    #[error("token keys {path} hold no ES256 or RS256 key")]
    NoKey { path: String },
}

impl TokenSettings {
    /// Reads the file of keys.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub(super) fn read(&self) -> Result<Vec<u8>, KeyError> {
        let path = || self.jwks.display().to_string();
        std::fs::read(&self.jwks).map_err(|source| KeyError::Io { path: path(), source })
    }

    /// Makes a verifier of the file's content.
    ///
    /// # Errors
    /// Returns an error if it holds no key that can be used.
    pub(super) fn verifier(&self, content: &[u8]) -> Result<TokenVerifier, KeyError> {
        let path = || self.jwks.display().to_string();
        let set: JwkSet =
            serde_json::from_slice(content).map_err(|source| KeyError::NotKeys { path: path(), source })?;
        let usable = |jwk: &jsonwebtoken::jwk::Jwk| {
            let key = DecodingKey::from_jwk(jwk).ok()?;
            let algorithm = match &jwk.algorithm {
                jsonwebtoken::jwk::AlgorithmParameters::RSA(_) => Algorithm::RS256,
                jsonwebtoken::jwk::AlgorithmParameters::EllipticCurve(_) => Algorithm::ES256,
                _ => return None,
            };
            Some(Key { id: jwk.common.key_id.clone(), algorithm, decoding: key })
        };
        let keys: Vec<Key> = set.keys.iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(KeyError::NoKey { path: path() });
        }
        Ok(TokenVerifier { keys, audiences: self.audiences.clone() })
    }
}

/// Verifies tokens by the keys of a file.
pub(super) struct TokenVerifier {
    keys: Vec<Key>,
    audiences: Vec<String>,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("TokenVerifier").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl TokenVerifier {
    /// Returns true if the request has a token of an API server that may ask about Pods.
    pub(super) fn is_authentic(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| self.verify(token))
    }

    fn verify(&self, token: &str) -> bool {
        let Ok(header) = decode_header(token) else { return false };
        // A token without the id of a key may be signed by any.
        let fits = |key: &&Key| {
            key.algorithm == header.alg && (header.kid.is_none() || key.id.is_none() || key.id == header.kid)
        };
        self.keys.iter().filter(fits).any(|key| {
            let mut validation = Validation::new(key.algorithm);
            validation.set_audience(&self.audiences);
            validation.set_required_spec_claims(&["exp", "aud"]);
            validation.validate_nbf = true;
            decode::<Claims>(token, &key.decoding, &validation).is_ok_and(|token| token.claims.attests_pods())
        })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    /// The longest token that is looked at, in bytes.
    const MAX_TOKEN_BYTES: usize = 8 * 1024;
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN_BYTES).then_some(token.trim())
}

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "kubernetes.io")]
    kubernetes: KubernetesClaims,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KubernetesClaims {
    attestation_claims: AttestationClaims,
}

#[derive(Deserialize)]
struct AttestationClaims {
    #[serde(rename = "webhook-authentication.k8s.io/allowedAPIGroup")]
    allowed_groups: Vec<String>,
}

impl Claims {
    /// Pods are in the core group, whose name is empty.
    fn attests_pods(&self) -> bool {
        self.kubernetes.attestation_claims.allowed_groups.iter().any(|group| group.is_empty() || group == "*")
    }
}

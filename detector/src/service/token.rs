//! Bearer tokens, of which a server keeps only hashes.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::hex;

/// SHA-256 of a bearer token. A token is random and long, so a plain hash does not reveal it.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TokenHash([u8; 32]);

/// Shows nothing: a hash of a weak token could be guessed.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

/// The error for a text that is not such a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the SHA-256 of a token as 64 hexadecimal digits, as `printf %s TOKEN | sha256sum` prints it"
)]
pub struct TokenHashError;

impl TryFrom<String> for TokenHash {
    type Error = TokenHashError;

    fn try_from(digits: String) -> Result<Self, TokenHashError> {
        let bytes = hex::decode(&digits).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(TokenHashError)
    }
}

impl TokenHash {
    /// Hashes a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Returns which of `hashes` is this one. The time that this takes depends only on their number.
    pub fn find(&self, hashes: impl IntoIterator<Item = Self>) -> Option<usize> {
        let (mut found, mut place) = (Choice::from(0), 0u64);
        for (index, other) in (0u64..).zip(hashes) {
            let same = self.0.ct_eq(&other.0);
            place.conditional_assign(&index, same);
            found |= same;
        }
        bool::from(found).then_some(place as usize)
    }
}

/// Returns the hash of the request's bearer token, if it has one.
pub fn bearer(headers: &HeaderMap) -> Option<TokenHash> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then(|| TokenHash::of(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_hash() {
        let hash = TokenHash::of(b"abc");
        let digits = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD".to_lowercase();
        assert!(TokenHash::try_from(digits) == Ok(hash));
        assert!(TokenHash::try_from("ba78".to_owned()).is_err());
        let others = [b"a", b"b"].map(|token| TokenHash::of(token));
        assert_eq!(hash.find([others[0], hash, others[1]]), Some(1));
        assert_eq!(hash.find(others), None);
        assert_eq!(hash.find([]), None);
    }

    #[test]
    fn a_header_has_a_scheme_and_a_token() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            bearer(&headers)
        };
        assert_eq!(of("Bearer abc"), Some(TokenHash::of(b"abc")));
        assert_eq!(of("bearer  abc "), Some(TokenHash::of(b"abc")));
        for other in ["Bearer", "Bearer  ", "Basic abc", "abc"] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}

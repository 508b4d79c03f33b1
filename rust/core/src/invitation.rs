//! Invitations: whoever brings the token becomes a buddy at once, on both sides.
//!
//! The pattern is XEP-0379 (pre-authenticated roster subscription). The account that invites keeps a token's
//! hash, so that who reads its file, or a backup of it, can redeem nothing; the one that brings the token keeps it until the
//! other side has it.

use crate::refusal::Refusal;
use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// The longest token that is taken, in bytes.
const MAX_TOKEN_BYTES: usize = 128;
/// The shortest: below 16 characters it could be guessed.
const MIN_TOKEN_BYTES: usize = 16;
/// How many invitations an account can have open.
pub const MAX_INVITATIONS: usize = 64;

/// What is handed to the person who is invited, and lets one of them in. It is a secret: it has no `Debug` text.
#[derive(Clone, PartialEq, Eq)]
pub struct InvitationToken(Arc<str>);

impl InvitationToken {
    /// A new one of these random bytes, which must come from the operating system or as good a source.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        InvitationToken(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// One that was handed out: 16 to 128 characters that need no quoting in a URI (RFC 3986, section 2.3).
    pub fn new(text: &str) -> Result<Self, Refusal> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        if !(MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&text.len()) || !text.bytes().all(unreserved) {
            let what = format!(
                "an invitation token has {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} letters, digits, `-`, `.`, `_` and `~`"
            );
            return Err(Refusal::InvalidArgument(what));
        }
        Ok(InvitationToken(text.into()))
    }

    /// The token, to hand out.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the account keeps of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for InvitationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationToken(..)")
    }
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

/// An open invitation of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Of what.
    pub token: TokenHash,
    /// Until when it lets somebody in.
    pub expires: Timestamp,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // behaviour: invitations.token
    #[test]
    fn a_token_is_a_secret_that_fits_into_a_uri() {
        let token = InvitationToken::from_random([255; 16]);
        assert_eq!(InvitationToken::new(token.as_str()).unwrap(), token);
        assert_eq!(format!("{token:?}"), "InvitationToken(..)");
        assert_ne!(token.hash(), InvitationToken::from_random([254; 16]).hash());
        for text in ["", "short", "with a blank in it", "a/b/c/d/e/f/g/h/i/j", &"a".repeat(129)] {
            assert!(matches!(InvitationToken::new(text), Err(Refusal::InvalidArgument(_))), "{text}");
        }
    }
}

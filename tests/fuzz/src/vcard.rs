//! vCards, which an account writes as a file.

use rosterkit_core::vcard::avatar;

/// It is a vCard or it is refused. Says whether it was one with an image.
pub fn vcard(input: &[u8]) -> bool {
    let Ok(Some(hash)) = avatar(input) else { return false };
    assert!(hash.len() == 40 && hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
    true
}

//! Texts as they are compared: folded, with what says at once that most pictures do not match.

use std::borrow::Cow;

/// What upper and lower case of a text have in common: each character's lower case, whatever stands beside it. Borrowed
/// when there is nothing to do.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        };
    }
    let mut folded = String::with_capacity(text.len());
    // Sigma has two lower cases, by its place in the word.
    folded.extend(text.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }));
    Cow::Owned(folded)
}

/// Which pairs of neighbouring bytes a text has, or may have: a bit for each, by a hash. A text that lacks a pair of a
/// picture does not match it, which is seen without searching.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs([u64; 4]);

impl Pairs {
    pub(super) const NONE: Pairs = Pairs([0; 4]);
    /// Nothing is known.
    pub(super) const ANY: Pairs = Pairs([u64::MAX; 4]);

    /// Above so many bytes a text has nearly all of them.
    const WORTH: usize = 1_024;

    /// And those of this text.
    pub(super) fn with(mut self, text: &str) -> Pairs {
        for pair in text.as_bytes().windows(2) {
            let hash = (u32::from(pair[0]) << 8 | u32::from(pair[1])).wrapping_mul(0x9E37_79B1) >> 24;
            self.0[(hash >> 6) as usize] |= 1 << (hash & 63);
        }
        self
    }

    /// Whether all of the others are among these.
    pub(super) fn have(&self, others: &Pairs) -> bool {
        self.0.iter().zip(others.0).all(|(mine, others)| others & !mine == 0)
    }
}

/// A text, folded.
pub(super) struct Folded<'a> {
    text: Cow<'a, str>,
    pairs: Pairs,
}

impl<'a> Folded<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let text = fold(text);
        let pairs = if text.len() > Pairs::WORTH { Pairs::ANY } else { Pairs::NONE.with(&text) };
        Folded { text, pairs }
    }

    pub(super) fn compared(&self) -> Compared<'_> {
        Compared { text: &self.text, pairs: &self.pairs }
    }
}

/// A folded text, to be compared with pictures.
#[derive(Clone, Copy)]
pub struct Compared<'a> {
    pub(super) text: &'a str,
    pub(super) pairs: &'a Pairs,
}

impl<'a> Compared<'a> {
    /// A text that is folded already, and short.
    pub(super) const fn plain(text: &'a str) -> Self {
        Compared { text, pairs: &Pairs::ANY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in any::<String>()) {
            let once = fold(&text).into_owned();
            prop_assert_eq!(fold(&once).into_owned(), once);
        }
    }
}

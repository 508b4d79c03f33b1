//! Pictures: texts in which `*` stands for any characters, none included.

use super::fold::{Compared, Pairs, fold};
use super::form::{bounded, invalid, text_form};
use super::operator::Operand;
use crate::presence::State;
use crate::refusal::Refusal;
use memchr::memmem::Finder;
use std::fmt;
use std::str::FromStr;

/// The longest a picture may be, in bytes.
pub const MAX_PICTURE_BYTES: usize = 1_024;

/// A text to compare with. The asterisk stands for zero or more characters (CommuniGate Pro's "Automated Rules"); upper and
/// lower case are the same.
///
/// Matching takes time linear in the text and the picture: what stands between asterisks is searched from left to
/// right, each piece once and in linear time.
#[derive(Clone)]
pub struct Picture {
    text: Box<str>,
    shape: Shape,
    /// Those of all its pieces.
    pairs: Pairs,
}

#[derive(Clone)]
enum Shape {
    /// Without an asterisk.
    Exact(Box<str>),
    /// What the text begins and ends with, and what it has in between, in this order.
    Pieces { first: Box<str>, between: Box<[Finder<'static>]>, last: Box<str> },
}

impl Picture {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pairs of neighbouring bytes that a text must have.
    pub(super) const fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    /// The one text that it matches, folded, when it has no asterisk.
    pub(super) fn exact(&self) -> Option<&str> {
        match &self.shape {
            Shape::Exact(text) => Some(text),
            Shape::Pieces { .. } => None,
        }
    }

    /// Whether it matches this text, which is [folded](fold) already.
    pub(super) fn matches_folded(&self, text: &str) -> bool {
        let (first, between, last) = match &self.shape {
            Shape::Exact(exact) => return **exact == *text,
            Shape::Pieces { first, between, last } => (first, between, last),
        };
        let Some(rest) = text.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last)) else {
            return false;
        };
        let mut rest = rest.as_bytes();
        between.iter().all(|piece| {
            let found = piece.find(rest);
            rest = found.and_then(|at| rest.get(at + piece.needle().len()..)).unwrap_or_default();
            found.is_some()
        })
    }

    /// Whether it matches this text.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_folded(&fold(text))
    }
}

impl FromStr for Picture {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        bounded("a picture", text, MAX_PICTURE_BYTES)?;
        let folded = fold(text);
        let shape = match folded.split_once('*') {
            None => Shape::Exact(folded.as_ref().into()),
            Some((first, rest)) => {
                let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
                let pieces = between.split('*').filter(|piece| !piece.is_empty());
                let between = pieces.map(|piece| Finder::new(piece).into_owned()).collect();
                Shape::Pieces { first: first.into(), between, last: last.into() }
            }
        };
        let pairs = folded.split('*').fold(Pairs::NONE, |pairs, piece| pairs.with(piece));
        Ok(Picture { text: text.into(), shape, pairs })
    }
}

impl Operand for Picture {
    type Found<'f> = Compared<'f>;

    fn covers(&self, found: Compared<'_>) -> bool {
        found.pairs.have(&self.pairs) && self.matches_folded(found.text)
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl PartialEq for Picture {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Picture {}

text_form!(Picture, "maxLength": MAX_PICTURE_BYTES,
    "description": "A text in which * stands for zero or more characters. Upper and lower case are the same.");

/// A picture of presence states. One that no state matches is refused: it would name what does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatePicture {
    picture: Picture,
    /// One bit for each of [`State::ALL`].
    states: u16,
}

impl FromStr for StatePicture {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let picture: Picture = text.parse()?;
        // "Be Back", as CommuniGate Pro writes it, is be-back.
        let dashed: Picture = text.replace(' ', "-").parse()?;
        let mut states = 0;
        for (place, state) in State::ALL.iter().enumerate() {
            states |= u16::from(dashed.matches_folded(state.as_str())) << place;
        }
        if states == 0 {
            let all = State::ALL.map(State::as_str).join(", ");
            return Err(invalid(format!("{text:?} matches no presence state; they are {all}")));
        }
        Ok(StatePicture { picture, states })
    }
}

impl Operand for StatePicture {
    type Found<'f> = State;

    fn covers(&self, found: State) -> bool {
        State::ALL.iter().position(|state| *state == found).is_some_and(|place| self.states >> place & 1 == 1)
    }
}

impl fmt::Display for StatePicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.picture.fmt(f)
    }
}

text_form!(StatePicture, "maxLength": MAX_PICTURE_BYTES,
    "description": "A presence state, as in out-to-lunch, or a picture of several.");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fold::Folded;
    use super::*;
    use proptest::prelude::*;

    /// The definition: an asterisk eats nothing, or one character and then what it eats.
    fn naive(picture: &[char], text: &[char]) -> bool {
        match (picture.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                naive(rest, text) || text.split_first().is_some_and(|(_, text)| naive(picture, text))
            }
            (Some((one, rest)), Some((other, text))) => one == other && naive(rest, text),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        // behaviour: rules.pictures
        #[test]
        fn a_picture_matches_what_the_definition_says(picture in "[abÄ*]{0,8}", text in "[abä]{0,10}") {
            let chars = |text: &str| fold(text).chars().collect::<Vec<_>>();
            let wanted = naive(&chars(&picture), &chars(&text));
            let picture: Picture = picture.parse().unwrap();
            prop_assert_eq!(picture.matches(&text), wanted);
            prop_assert_eq!(picture.covers(Folded::new(&text).compared()), wanted);
        }
    }

    // behaviour: rules.pictures
    #[test]
    fn case_does_not_matter() {
        for (picture, text) in
            [("*EXAMPLE.org", "a@Example.ORG"), ("*ΑΣ*", "ασα"), ("ΟΔΟΣ", "οδος"), ("ÜBER*", "über uns")]
        {
            assert!(picture.parse::<Picture>().unwrap().matches(text), "{picture} {text}");
        }
    }

    // behaviour: rules.pictures-linear
    #[test]
    fn a_picture_full_of_asterisks_takes_no_longer() {
        let picture: Picture = format!("{}b", "a*".repeat(500)).parse().unwrap();
        let text = "a".repeat(65_536);
        let begin = std::time::Instant::now();
        for _ in 0..10 {
            assert!(!picture.matches(&text));
            assert!(picture.matches(&format!("{text}b")));
        }
        // Backtracking would take longer than anybody waits.
        assert!(begin.elapsed().as_secs() < 5);
    }

    // behaviour: rules.unknown-names
    #[test]
    fn a_picture_of_states_matches_one() {
        let found = |text: &str| {
            let picture: StatePicture = text.parse().unwrap();
            State::ALL.into_iter().filter(|state| picture.covers(*state)).collect::<Vec<_>>()
        };
        assert_eq!(found("busy"), [State::Busy]);
        assert_eq!(found("Out To Lunch"), [State::OutToLunch]);
        assert_eq!(found("*away"), [State::Away, State::ExtendedAway]);
        assert!("bussy".parse::<StatePicture>().is_err());
    }
}

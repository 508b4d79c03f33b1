//! The fork: which sessions get a message, and the one word its sender gets.

use crate::id::SessionId;
use crate::planted::{Bug, planted};
use crate::preferences::Preferences;
use crate::refusal::Refusal;
use crate::row::Word;

/// A session of the recipient, as the fork sees it.
#[derive(Clone, Copy, Debug)]
pub struct Taker<'a> {
    /// Which.
    pub session: SessionId,
    /// The instance part of its full address.
    pub instance: &'a str,
    /// It said that it reads messages.
    pub reads_messages: bool,
    /// It receives and is not seen.
    pub invisible: bool,
    /// RFC 6121, 4.7.2.3.
    pub priority: i8,
}

impl Taker<'_> {
    /// Whether it takes messages to the account.
    pub const fn takes(&self) -> bool {
        self.reads_messages && self.priority >= 0
    }
}

/// The word of the answer. `sender_may_see` says whether the sender sees the recipient's presence; one who does not
/// learns nothing of sessions either. `contacts` is how many registrations take part.
///
/// With offline storage off a message that reaches nobody is refused, whoever asks: that is the one place where a
/// sender who sees nothing learns that nobody is there.
pub fn word<'a>(
    preferences: &Preferences,
    sender_may_see: bool,
    sessions: impl IntoIterator<Item = Taker<'a>>,
    contacts: usize,
) -> Result<Word, Refusal> {
    let (mut anybody, mut visible) = (contacts > 0, contacts > 0);
    for taker in sessions.into_iter().filter(Taker::takes) {
        anybody = true;
        visible |= !taker.invisible;
    }
    if !anybody && !preferences.offline_storage {
        return Err(Refusal::NotFound("nobody is there, and the account keeps no messages for later".into()));
    }
    let sees = visible && sender_may_see || anybody && planted(Bug::LeakedWord);
    Ok(if sees { Word::Delivered } else { Word::Stored })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taker(reads_messages: bool, priority: i8, invisible: bool) -> Taker<'static> {
        Taker { session: SessionId(1), instance: "x", reads_messages, invisible, priority }
    }

    // behaviour: delivery.one-answer, delivery.stored, delivery.offline-storage-off, delivery.unseen, delivery.invisible-only
    #[test]
    fn every_combination_of_sessions_sight_and_storage() {
        let there = taker(true, 0, false);
        let hidden = taker(true, 0, true);
        let deaf = taker(false, 0, false);
        let negative = taker(true, -1, false);
        let cases: [(&[Taker<'_>], bool, bool); 6] = [
            // sessions, anybody takes it, somebody visible does
            (&[], false, false),
            (&[there], true, true),
            (&[hidden], true, false),
            (&[hidden, there], true, true),
            (&[deaf], false, false),
            (&[negative], false, false),
        ];
        let with_and_without = cases.iter().flat_map(|case| [(case, 0), (case, 2)]);
        for (&(sessions, anybody, visible), contacts) in with_and_without {
            for offline_storage in [true, false] {
                for may_see in [true, false] {
                    let preferences = Preferences { offline_storage, ..Preferences::default() };
                    let word = word(&preferences, may_see, sessions.iter().copied(), contacts);
                    let (anybody, visible) = (anybody || contacts > 0, visible || contacts > 0);
                    match (anybody, offline_storage) {
                        (false, false) => assert!(matches!(word, Err(Refusal::NotFound(_)))),
                        _ if visible && may_see => assert_eq!(word, Ok(Word::Delivered)),
                        _ => assert_eq!(word, Ok(Word::Stored)),
                    }
                }
            }
        }
    }
}

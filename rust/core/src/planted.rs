//! Bugs on purpose, to see that the tests find them.
//!
//! A test build (feature `planted`) switches one on for the whole process; it takes effect at the line that decides.
//! In every other build the switch is the constant `false`, and nothing is left of it.

use crate::id::{AddressId, SessionId};

/// A bug that the tests must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A session gets a row twice.
    DoubleDelivery = 1,
    /// What a session acknowledged counts as unclaimed.
    LostAcknowledgement,
    /// A row overtakes the one before it.
    Reorder,
    /// Presence goes to who may not see it.
    LeakedPresence,
    /// The answer to a send says whether somebody is there to who may not see that.
    LeakedWord,
    /// Who may not see the recipient learns that a client of theirs took a message.
    LeakedReceipt,
    /// Who is blocked is answered otherwise than who is refused.
    LeakedRefusal,
    /// Whether a message expires untaken tells who may not see it that nobody was there.
    LeakedExpiry,
    /// What was refused in quarantine cannot be amended, what waits there can.
    LeakedQuarantine,
    /// A query reaches a session that who asks may not see.
    LeakedQuery,
    /// Who sees nothing of an account any more learns when it was there since.
    LeakedLastSeen,
    /// Signals under way are not sent again at open.
    PendingNotSentAgain,
    /// After a reopen positions go on above the highest row that is still there.
    PositionGivenAgain,
    /// The sessions that get a message are chosen when it is decided, not when it is installed.
    ForkAtDecision,
    /// The sender's shard hears of a row by way of the recipient's.
    ToldByRecipient,
    /// The index counts as written when a pass begins.
    IndexMarkTooEarly,
    /// A send is answered when it is taken, not when it is on disk.
    AnswerBeforeCommit,
    /// How far a device is is not written.
    LostCursor,
    /// A commit does not wait for the disk.
    SkippedSync,
    /// What a session is handed counts as claimed.
    ClaimBeforeAcknowledgement,
    /// An index pass leaves entries out.
    IndexSliceLost,
    /// A session without a sign of life goes on.
    LeaseNeverEnds,
    /// What was decided before a store was opened again is written after it.
    StaleGenerationAccepted,
    /// What is recovered from the write-ahead log may be in the page cache only.
    LogNotWrittenAgain,
    /// A shard panics when it gets a command.
    PanicInShard,
    /// The writer panics when it has something to commit.
    PanicInWriter,
    /// The reader panics when something is to be read.
    PanicInReader,
    /// The checkpointer panics when it looks at the file.
    PanicInCheckpointer,
}

impl Bug {
    /// Those by which somebody learns what they must not.
    pub const LEAKS: [Bug; 8] = [
        Bug::LeakedPresence,
        Bug::LeakedWord,
        Bug::LeakedReceipt,
        Bug::LeakedRefusal,
        Bug::LeakedExpiry,
        Bug::LeakedQuarantine,
        Bug::LeakedQuery,
        Bug::LeakedLastSeen,
    ];

    /// Those that the simulation finds.
    pub const SIMULATED: [Bug; 18] = [
        Bug::AnswerBeforeCommit,
        Bug::LostCursor,
        Bug::LeakedPresence,
        Bug::SkippedSync,
        Bug::PendingNotSentAgain,
        Bug::ClaimBeforeAcknowledgement,
        Bug::IndexSliceLost,
        Bug::PositionGivenAgain,
        Bug::LeaseNeverEnds,
        Bug::StaleGenerationAccepted,
        Bug::LogNotWrittenAgain,
        Bug::IndexMarkTooEarly,
        Bug::DoubleDelivery,
        Bug::LostAcknowledgement,
        Bug::Reorder,
        Bug::ForkAtDecision,
        Bug::ToldByRecipient,
        Bug::LeakedRefusal,
    ];

    /// Those by which somebody gets what they should not, or does not get what they should.
    pub const ALL: [Bug; 9] = [
        Bug::DoubleDelivery,
        Bug::LostAcknowledgement,
        Bug::Reorder,
        Bug::LeakedPresence,
        Bug::PendingNotSentAgain,
        Bug::PositionGivenAgain,
        Bug::ForkAtDecision,
        Bug::ToldByRecipient,
        Bug::IndexMarkTooEarly,
    ];
}

#[cfg(feature = "planted")]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Switches this bug on and every other one off.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), std::sync::atomic::Ordering::Relaxed);
}

/// Whether this bug is switched on.
#[inline]
pub fn planted(bug: Bug) -> bool {
    #[cfg(feature = "planted")]
    return PLANTED.load(std::sync::atomic::Ordering::Relaxed) == bug as u8;
    #[cfg(not(feature = "planted"))]
    {
        let _ = bug;
        false
    }
}

/// Panics when this bug is switched on.
#[inline]
pub fn panic_if_planted(bug: Bug) {
    #[allow(clippy::panic)]
    if planted(bug) {
        panic!("{bug:?} is planted");
    }
}

/// Who was there when a message was decided, by the sender's id and the send's number: what
/// [`ForkAtDecision`](Bug::ForkAtDecision) goes by.
#[cfg(feature = "planted")]
static DECIDED: std::sync::Mutex<std::collections::BTreeMap<(u64, u64), Vec<SessionId>>> =
    std::sync::Mutex::new(std::collections::BTreeMap::new());

/// A message was decided while these sessions were there.
#[inline]
pub fn decided(sender: AddressId, send: u64, sessions: &[SessionId]) {
    #[cfg(feature = "planted")]
    if planted(Bug::ForkAtDecision)
        && let Ok(mut decided) = DECIDED.lock()
    {
        decided.insert((sender.to_bits(), send), sessions.to_vec());
    }
    let _ = (sender, send, sessions);
}

/// The sessions of [`decided`], when the bug is switched on.
#[inline]
pub fn chosen(sender: AddressId, send: u64) -> Option<Vec<SessionId>> {
    #[cfg(feature = "planted")]
    if planted(Bug::ForkAtDecision)
        && let Ok(mut decided) = DECIDED.lock()
    {
        return decided.remove(&(sender.to_bits(), send));
    }
    let _ = (sender, send);
    None
}

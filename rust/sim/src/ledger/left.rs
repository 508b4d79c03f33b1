//! What leaves an engine, and what its clients did: all that the ledger folds.

use super::aside;
use super::invited::Invited;
use super::mail::Sent;
use crate::facts::{Fact, Place};
use crate::handshake::View;
use crate::people::{Reader, User};
use rosterkit::{MessageId, Op, Position, Receipt};
use std::sync::Arc;

/// What left the engine, and what its clients did.
#[derive(Clone, Debug)]
pub enum Left {
    /// A client asks for a fact. That is no exit.
    Tries(Fact),
    /// It is so.
    Did(Fact),
    /// It is not, and never will be by this.
    DidNot(Fact),
    /// Nobody says.
    MayHaveDone(Fact),
    /// Nobody follows any more what is there.
    LostSight(Place),
    TriesEdit(User, User, Op),
    /// The edit was made, or was not, or nobody says.
    Edited(User, User, Op, Option<bool>),
    /// Nobody follows any more what is between the two.
    LostSightOf(User, User),
    Sends(Arc<Sent>),
    /// A client sends again what it had no answer to: it may be admitted now, or have been then.
    SendsAgain(u32),
    Answered(u32, Receipt),
    /// It came from another machine, and is this one's now.
    TakenIn(u32, MessageId),
    Refused(u32),
    /// The author changes a message; the text's number, 0 when it is taken back.
    TriesAmend(u32, u64),
    Amended(u32, u64, Option<bool>),
    Told {
        reader: Reader,
        id: MessageId,
        position: Position,
        /// The number its content shows, when it shows one.
        number: Option<u32>,
    },
    /// A client's acknowledgement went in, at that time. Not a promise of the engine's, but after it the engine owes it
    /// nothing.
    Acked {
        reader: Reader,
        id: MessageId,
        at: u64,
    },
    /// A stranger is to be let in; then whether they were: what waited from them comes.
    Admits(User, User),
    Admitted(User, User, bool),
    /// A stranger was turned away: what waited from them is gone.
    Refuses(User, User),
    /// An account forgets, or tries to, what it has with another, or everything.
    Forgets(User, Option<User>),
    /// Both views were looked at while nothing moved.
    Saw(User, User, View, View),
    /// The account is there.
    Created(User),
    /// The account that comes and goes has gone, or may have.
    Gone,
    /// A disk failed, or a process ended: what was lazy may be lost.
    Trouble(u64),
    /// An engine was shut down in good order.
    ShutDown,
    /// Time passes, and may be as late as this.
    Passes(u64),
    /// It is so late now, and everything that was due is done.
    Clock(u64),
    /// Nobody knows what a machine made of a message that came to it.
    Unclear(u32),
    /// So it is by now with an invitation.
    Invitation(u32, Invited),
    /// What somebody may find who is there for one step.
    Aside(Arc<aside::Owed>),
}

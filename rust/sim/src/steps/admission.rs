//! Who is let in: what it shows that a message or a request was taken.

use crate::facts::{Place, accepted};
use crate::handshake::View;
use crate::ledger::Sent;
use crate::people::{User, machine_of};
use crate::world::World;
use rosterkit::{AcceptedSenders, Status};

impl World {
    fn policy(&self, of: User) -> Option<AcceptedSenders> {
        let preferences = self.machines[machine_of(of)].ledger.value(Place::Preferences(of)).ok()??;
        Some(accepted(preferences))
    }

    /// A message was taken that had to be, by somebody who takes none of strangers.
    pub(super) fn cover_taken(&self, machine: usize, sent: &Sent) {
        if machine_of(sent.recipient) != machine {
            return;
        }
        let is_oneself = sent.sender == sent.recipient;
        match self.policy(sent.recipient) {
            Some(AcceptedSenders::Nobody | AcceptedSenders::Quarantine) if is_oneself => {
                self.covered.add("admission.oneself");
            }
            Some(AcceptedSenders::Nobody) => {
                self.covered.add("admission.buddy");
                self.covered.add("admission.nobody");
            }
            _ => {}
        }
    }

    /// Somebody was heard who asks, by who takes no messages of theirs.
    pub(super) fn cover_asked(&self, asked: User, sees: View) {
        let is_strict = |policy| matches!(policy, AcceptedSenders::Nobody | AcceptedSenders::Quarantine);
        if sees.status() == Status::Asking && self.policy(asked).is_some_and(is_strict) {
            self.covered.add("admission.requests");
        }
    }
}

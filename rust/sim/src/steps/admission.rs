//! Who is let in: what it shows that a message or a request was taken.

use crate::facts::{Place, accepted};
use crate::handshake::View;
use crate::ledger::Sent;
use crate::people::{User, machine_of};
use crate::world::{Step, World};
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

    /// An explanation names each fact that was looked at, up to the one that decided.
    pub(super) fn check_facts(&self, machine: usize, owner: User, sender: User, json: &str) -> Step {
        let ledger = &self.machines[machine].ledger;
        let (Ok(blocked), Ok(view), Some(policy)) =
            (ledger.value(Place::Blocked(owner, sender)), ledger.view(owner, sender), self.policy(owner))
        else {
            return Ok(());
        };
        let (is_blocked, is_buddy) = (blocked == Some(1), view.to() || view.from());
        let fact = |name: &str, held: bool| format!(r#"{{"fact":"{name}","held":{held}}}"#);
        let mut facts = vec![fact("blocked", is_blocked)];
        if !is_blocked {
            facts.extend([fact("oneself", false), fact("buddy", is_buddy)]);
        }
        if !is_blocked && !is_buddy {
            let held = ledger.admits(owner, sender) == Ok(Some(true));
            let policy = policy.as_str();
            facts.push(format!(r#"{{"fact":"accepted-senders","policy":"{policy}","held":{held}}}"#));
        }
        let facts = format!(r#""facts":[{}]"#, facts.join(","));
        if !json.contains(&facts) {
            return Err(format!("user{sender} is let in by user{owner}, or not, by {facts}: {json}"));
        }
        Ok(())
    }
}

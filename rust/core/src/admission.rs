//! Who may reach an account, and who may see it.
//!
//! One function decides for messages, chat states and buddy requests alike, before rules, storage or delivery see
//! them, and it does not know whether the account is online.

use crate::account::Record;
use crate::address::Address;
use crate::id::AddressId;
use crate::preferences::{AcceptedSenders, Preferences};
use crate::refusal::Refusal;

/// Who a signal is from: whom the session or the relay authenticated, never what the content says.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The incarnation.
    pub id: AddressId,
    /// The address.
    pub address: &'a Address,
    /// Whether it is an account of this system.
    pub hosted: bool,
}

/// What sort of signal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A message.
    Message,
    /// A chat state.
    Typing,
    /// A buddy request and what follows it. It passes the first step only: who is a stranger must be able to ask.
    BuddyRequest,
}

/// What a recipient does with a signal that it does not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It goes its way.
    Admitted,
    /// It waits aside until the account decides on its sender. No rule, session, registration or receipt sees it.
    Quarantined,
}

/// Whether the recipient takes this signal. Every refusal reads the same, so that nobody learns why.
pub fn admit(
    recipient: &Record,
    preferences: &Preferences,
    sender: Sender<'_>,
    class: Class,
) -> Result<Admission, Refusal> {
    if recipient.blocks(sender.address) {
        return Err(Refusal::Forbidden);
    }
    if class == Class::BuddyRequest
        || sender.id == recipient.id
        || recipient.roster.get(sender.id).confirmed()
    {
        return Ok(Admission::Admitted);
    }
    let accepted = match preferences.accepted_senders {
        AcceptedSenders::Everybody => true,
        AcceptedSenders::Quarantine if recipient.admitted.contains(&sender.id) => true,
        AcceptedSenders::Quarantine => return Ok(Admission::Quarantined),
        AcceptedSenders::Authenticated => sender.hosted,
        AcceptedSenders::SameDomain => sender.hosted && sender.address.domain() == recipient.address.domain(),
        AcceptedSenders::Nobody => false,
    };
    if accepted { Ok(Admission::Admitted) } else { Err(Refusal::Forbidden) }
}

/// Whether this viewer may see the account's presence.
pub fn may_see(subject: &Record, viewer: AddressId, address: &Address) -> bool {
    viewer == subject.id || subject.roster.get(viewer).from() && !subject.blocks(address)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::id::Position;
    use crate::roster::{Buddy, Half, Halves};

    const ME: AddressId = AddressId::from_bits(64);
    const THEM: AddressId = AddressId::from_bits(128);

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Relation {
        Stranger,
        Asked,
        Asking,
        To,
        From,
        Both,
        Oneself,
    }

    const RELATIONS: [Relation; 7] = [
        Relation::Stranger,
        Relation::Asked,
        Relation::Asking,
        Relation::To,
        Relation::From,
        Relation::Both,
        Relation::Oneself,
    ];

    fn account(relation: Relation) -> Record {
        let mut record = Record::new(ME, Address::account("me@example.org").unwrap());
        let half = |set| Half { set, at: Position(1) };
        let (to, from) = match relation {
            Relation::To => (true, false),
            Relation::From => (false, true),
            Relation::Both => (true, true),
            _ => (false, false),
        };
        let mut buddy = Buddy::new(THEM, Address::account("them@example.org").unwrap());
        buddy.halves = Halves {
            my_wish: half(to || relation == Relation::Asked),
            their_grant: half(to),
            their_wish: half(from || relation == Relation::Asking),
            my_grant: half(from),
        };
        record.roster.set(THEM, buddy.relation());
        record
    }

    /// What semantics say, written down as a table of its own: which policies let a relation through, for a sender of
    /// the same domain, of another hosted domain, and from outside.
    fn expected(
        policy: AcceptedSenders,
        relation: Relation,
        address: &str,
        hosted: bool,
        class: Class,
        admitted: bool,
    ) -> Result<Admission, Refusal> {
        let confirmed =
            matches!(relation, Relation::To | Relation::From | Relation::Both | Relation::Oneself);
        let accepts = confirmed
            || class == Class::BuddyRequest
            || match policy {
                AcceptedSenders::Everybody => true,
                AcceptedSenders::Authenticated => hosted,
                AcceptedSenders::SameDomain => hosted && address.ends_with("@example.org"),
                AcceptedSenders::Nobody => false,
                AcceptedSenders::Quarantine => admitted,
            };
        match policy {
            _ if accepts => Ok(Admission::Admitted),
            AcceptedSenders::Quarantine => Ok(Admission::Quarantined),
            _ => Err(Refusal::Forbidden),
        }
    }

    // behaviour: admission.blocked, admission.buddy, admission.oneself, admission.policy, admission.requests, admission.one-answer, admission.quarantine
    #[test]
    fn every_combination_of_policy_relation_sender_and_class() {
        let policies = [
            AcceptedSenders::Everybody,
            AcceptedSenders::Authenticated,
            AcceptedSenders::SameDomain,
            AcceptedSenders::Nobody,
            AcceptedSenders::Quarantine,
        ];
        let senders = [("them@example.org", true), ("them@example.net", true), ("them@example.com", false)];
        for policy in policies {
            for relation in RELATIONS {
                for (text, hosted) in senders {
                    for class in [Class::Message, Class::Typing, Class::BuddyRequest] {
                        for blocked in [None, Some(text), Some(&text[5..])] {
                            for admitted in [false, true] {
                                let mut record = account(relation);
                                let address = Address::account(text).unwrap();
                                record.blocked.extend(blocked.map(|b| Address::new(b).unwrap()));
                                record.admitted.extend(admitted.then_some(THEM));
                                let preferences =
                                    Preferences { accepted_senders: policy, ..Preferences::default() };
                                let id = if relation == Relation::Oneself { ME } else { THEM };
                                let sender = Sender { id, address: &address, hosted };
                                let wanted = match blocked {
                                    Some(_) => Err(Refusal::Forbidden),
                                    None => expected(policy, relation, text, hosted, class, admitted),
                                };
                                assert_eq!(
                                    admit(&record, &preferences, sender, class),
                                    wanted,
                                    "{policy:?} {relation:?} {text} {class:?} {blocked:?} {admitted}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    // behaviour: presence.who-sees
    #[test]
    fn only_confirmed_watchers_see() {
        let address = Address::account("them@example.org").unwrap();
        for relation in RELATIONS {
            let record = account(relation);
            let sees = matches!(relation, Relation::From | Relation::Both);
            assert_eq!(may_see(&record, THEM, &address), sees, "{relation:?}");
            let mut blocking = record;
            blocking.blocked.insert(address.clone());
            assert!(!may_see(&blocking, THEM, &address), "blocked, {relation:?}");
        }
        assert!(may_see(&account(Relation::Stranger), ME, &Address::account("me@example.org").unwrap()));
    }
}

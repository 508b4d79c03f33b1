//! Who may reach an account, and who may see it.
//!
//! One function decides for messages, chat states and buddy requests alike, before rules, storage or delivery see
//! them, and it does not know whether the account is online.

use crate::account::Record;
use crate::address::Address;
use crate::id::AddressId;
use crate::planted::{Bug, planted};
use crate::preferences::{AcceptedSenders, Preferences};
use crate::presence::Visibility;
use crate::refusal::Refusal;
use serde::Serialize;

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

/// Something that is looked at of a message, in this order; the last decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// Whether the sender is blocked, or their domain.
    Blocked {
        /// Whether it holds.
        held: bool,
    },
    /// Whether it is the account itself.
    Oneself {
        /// Whether it holds.
        held: bool,
    },
    /// Whether it is a buddy: one direction at least is confirmed.
    Buddy {
        /// Whether it holds.
        held: bool,
    },
    /// Whom the account takes messages from besides.
    AcceptedSenders {
        /// What it prefers.
        policy: &'static str,
        /// Whether the sender is one of them.
        held: bool,
    },
}

/// Who listens to how a decision is come to.
trait Watch {
    fn saw(&mut self, fact: impl FnOnce() -> Fact);
}

/// Nobody: on the way of a message no facts are made.
struct Unwatched;

impl Watch for Unwatched {
    fn saw(&mut self, _fact: impl FnOnce() -> Fact) {}
}

impl Watch for Vec<Fact> {
    fn saw(&mut self, fact: impl FnOnce() -> Fact) {
        self.push(fact());
    }
}

/// Whether the recipient takes this signal. Every refusal reads the same, so that nobody learns why.
pub fn admit(
    recipient: &Record,
    preferences: &Preferences,
    sender: Sender<'_>,
    class: Class,
) -> Result<Admission, Refusal> {
    decide(recipient, preferences, sender, class, &mut Unwatched)
}

/// The same decision on a message, and how it was come to; for the recipient's eyes only.
pub fn explain(
    recipient: &Record,
    preferences: &Preferences,
    sender: Sender<'_>,
) -> (Result<Admission, Refusal>, Vec<Fact>) {
    let mut facts = Vec::new();
    let admission = decide(recipient, preferences, sender, Class::Message, &mut facts);
    (admission, facts)
}

fn decide(
    recipient: &Record,
    preferences: &Preferences,
    sender: Sender<'_>,
    class: Class,
    watch: &mut impl Watch,
) -> Result<Admission, Refusal> {
    let blocked = recipient.blocks(sender.address);
    watch.saw(|| Fact::Blocked { held: blocked });
    if blocked && planted(Bug::LeakedRefusal) {
        return Err(Refusal::NotFound("there is no such account".into()));
    }
    if blocked {
        return Err(Refusal::Forbidden);
    }
    if class == Class::BuddyRequest {
        return Ok(Admission::Admitted);
    }
    let oneself = sender.id == recipient.id;
    watch.saw(|| Fact::Oneself { held: oneself });
    if oneself {
        return Ok(Admission::Admitted);
    }
    let buddy = recipient.roster.get(sender.id).confirmed();
    watch.saw(|| Fact::Buddy { held: buddy });
    if buddy {
        return Ok(Admission::Admitted);
    }
    let policy = preferences.accepted_senders;
    let accepted = match policy {
        AcceptedSenders::Everybody => true,
        AcceptedSenders::Quarantine => recipient.admitted.contains(&sender.id),
        AcceptedSenders::Authenticated => sender.hosted,
        AcceptedSenders::SameDomain => sender.hosted && sender.address.domain() == recipient.address.domain(),
        AcceptedSenders::Nobody => false,
    };
    watch.saw(|| Fact::AcceptedSenders { policy: policy.as_str(), held: accepted });
    match (accepted, policy) {
        (true, _) => Ok(Admission::Admitted),
        (false, AcceptedSenders::Quarantine) => Ok(Admission::Quarantined),
        (false, _) => Err(Refusal::Forbidden),
    }
}

/// Whether this viewer may see the account's presence.
pub fn may_see(subject: &Record, viewer: AddressId, address: &Address) -> bool {
    sight(subject, viewer, address).may_see()
}

/// Why a viewer sees an account's presence, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// It is their own.
    Oneself,
    /// They are subscribed to it.
    Subscribed,
    /// They are subscribed, and blocked.
    Blocked,
    /// They are not subscribed.
    NotSubscribed,
    /// They are subscribed, and see the state alone.
    StateOnly,
    /// They are subscribed, and the account hides from them.
    Hidden,
}

impl Sight {
    /// Whether they see it.
    pub const fn may_see(self) -> bool {
        matches!(self, Sight::Oneself | Sight::Subscribed | Sight::StateOnly)
    }

    /// How much of it.
    pub const fn visibility(self) -> Visibility {
        match self {
            Sight::Oneself | Sight::Subscribed => Visibility::Full,
            Sight::StateOnly => Visibility::StateOnly,
            Sight::Blocked | Sight::NotSubscribed | Sight::Hidden => Visibility::Hidden,
        }
    }
}

/// What decides whether this viewer sees the account's presence.
pub fn sight(subject: &Record, viewer: AddressId, address: &Address) -> Sight {
    if viewer == subject.id {
        Sight::Oneself
    } else if !subject.roster.get(viewer).from() {
        Sight::NotSubscribed
    } else if subject.blocks(address) {
        Sight::Blocked
    } else {
        match subject.visibility(viewer) {
            Visibility::Full => Sight::Subscribed,
            Visibility::StateOnly => Sight::StateOnly,
            Visibility::Hidden => Sight::Hidden,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::account::Viewer;
    use crate::id::Position;
    use crate::roster::{Buddy, Half, Halves};
    use crate::time::Timestamp;

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

    // behaviour: admission.blocked, admission.buddy, admission.oneself, admission.policy, admission.requests, admission.one-answer, admission.quarantine, explain.admission
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
                                let blocks = blocked.map(|b| (Address::new(b).unwrap(), Timestamp(1)));
                                record.blocked.extend(blocks);
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
                                let (explained, facts) = explain(&record, &preferences, sender);
                                assert_eq!(explained, admit(&record, &preferences, sender, Class::Message));
                                // One fact decided: the last, which holds unless it is that nobody else is taken.
                                let held = |fact: &Fact| serde_json::to_value(fact).unwrap()["held"] == true;
                                let (last, others) = facts.split_last().unwrap();
                                assert!(!others.iter().any(held), "{facts:?}");
                                let refuses = explained != Ok(Admission::Admitted);
                                let blocks = matches!(last, Fact::Blocked { .. });
                                assert_eq!(held(last), refuses == blocks, "{facts:?}");
                            }
                        }
                    }
                }
            }
        }
    }

    // behaviour: presence.who-sees, presence.visibility
    #[test]
    fn only_confirmed_watchers_see() {
        let address = Address::account("them@example.org").unwrap();
        for relation in RELATIONS {
            let record = account(relation);
            let sees = matches!(relation, Relation::From | Relation::Both);
            assert_eq!(may_see(&record, THEM, &address), sees, "{relation:?}");
            let mut blocking = record;
            blocking.blocked.insert(address.clone(), Timestamp(1));
            assert!(!may_see(&blocking, THEM, &address), "blocked, {relation:?}");
            for visibility in [Visibility::Full, Visibility::StateOnly, Visibility::Hidden] {
                let mut choosy = account(relation);
                choosy.viewers.insert(THEM, Viewer { visibility, last_seen: Timestamp(1) });
                let expected = if sees { visibility } else { Visibility::Hidden };
                assert_eq!(sight(&choosy, THEM, &address).visibility(), expected, "{relation:?}");
                assert_eq!(may_see(&choosy, THEM, &address), expected != Visibility::Hidden);
            }
        }
        assert!(may_see(&account(Relation::Stranger), ME, &Address::account("me@example.org").unwrap()));
    }
}

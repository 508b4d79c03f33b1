//! What an engine owes its clients: a fold over what they asked it and what left it.
//!
//! What was answered has to be true from then on. What was asked and not answered may be true, wholly or not at all. So a
//! place has the values that it may have, and a pair of accounts the views that both may have of each other; an answer
//! leaves one of them.

pub mod aside;
pub mod invited;
mod left;
mod mail;
mod pairs;
mod places;

use self::invited::Invitations;
pub use self::left::Left;
pub use self::mail::{FIRST_EDIT, Fate, Mail, Sent, number_in, number_sent, text};
pub use self::pairs::roster_view;
use self::pairs::{edit, pair};
use self::places::Register;
use crate::facts::{Place, accepted};
use crate::handshake::View;
use crate::people::{COMES_AND_GOES, FORKS, REDIRECTS, Reader, User, address, wall};
use rosterkit::{AcceptedSenders, MessageId, Op, Position};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Nobody can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsure;

/// As long as it takes until what rules send on is there, when a disk failed.
const SENT_ON_AGAIN: u64 = 5_000;

/// As long as an opening takes to see to what was due.
const A_MOMENT: u64 = 1_500;

/// When an acknowledgement went in that is on disk whatever happens.
const SETTLED: u64 = u64::MAX;

/// What an engine owes.
#[derive(Clone, Default)]
pub struct Ledger {
    places: BTreeMap<Place, Register>,
    /// The views of the lower and the higher number, that there may be.
    pairs: BTreeMap<(User, User), Vec<(View, View)>>,
    lost_pairs: BTreeSet<(User, User)>,
    flying: Option<(User, User, Op)>,
    pub mails: BTreeMap<u32, Mail>,
    by_id: BTreeMap<MessageId, u32>,
    pub told: BTreeMap<(Reader, MessageId), Position>,
    pub acked: BTreeMap<(Reader, MessageId), u64>,
    pub highest: Position,
    /// Those that are there, and stay.
    pub accounts: BTreeSet<User>,
    admitted: BTreeSet<(User, User)>,
    pub invitations: Invitations,
    trouble: u64,
    /// In ms since the beginning; while time passes, what is due until then is done.
    pub now: u64,
    pub until: u64,
    pub aside: aside::Aside,
}

impl Ledger {
    /// What rules send on is admitted when it comes, which takes a while after a disk failed: what is set now may come first.
    fn overtake(&mut self) {
        let since = wall(self.trouble.saturating_sub(SENT_ON_AGAIN));
        if self.now > self.trouble + SENT_ON_AGAIN {
            return;
        }
        for mail in self.mails.values_mut() {
            let is_young = mail.receipt.is_none_or(|receipt| receipt.time >= since);
            if matches!(mail.sent.recipient, REDIRECTS | FORKS) && is_young {
                mail.fate = Fate::Unsure;
            }
        }
    }

    pub fn take(&mut self, left: &Left) {
        match left {
            Left::Tries(fact) => {
                self.register(fact.place).flying = Some(fact.value);
                self.overtake();
            }
            Left::Did(fact) => {
                let register = self.register(fact.place);
                register.flying = None;
                let value = Some(fact.value);
                register.may_be = match fact.place.only_rises() {
                    true => register.may_be.iter().map(|before| value.max(*before)).collect(),
                    false => [value].into(),
                };
            }
            Left::DidNot(fact) => self.register(fact.place).flying = None,
            Left::MayHaveDone(fact) => {
                let register = self.register(fact.place);
                register.flying = None;
                register.may_be.insert(Some(fact.value));
            }
            Left::LostSight(place) => self.register(*place).lost = true,
            Left::TriesEdit(owner, peer, op) => {
                self.flying = Some((*owner, *peer, *op));
                self.overtake();
            }
            Left::Edited(owner, peer, op, did) => {
                self.flying = None;
                let before = self.between(*owner, *peer);
                let after = before.iter().map(|views| edit(*views, owner < peer, *op));
                let mut views = match did {
                    Some(true) => after.collect(),
                    Some(false) => before,
                    None => before.iter().copied().chain(after).collect::<Vec<_>>(),
                };
                views.sort_unstable_by_key(|views| format!("{views:?}"));
                views.dedup();
                self.pairs.insert(pair(*owner, *peer), views);
            }
            Left::LostSightOf(a, b) => drop(self.lost_pairs.insert(pair(*a, *b))),
            Left::Sends(sent) => {
                let fate = self.fate(sent);
                let mail = Mail {
                    sent: Arc::clone(sent),
                    receipt: None,
                    id: None,
                    was_refused: false,
                    fate,
                    was_held: false,
                    gone_for: BTreeSet::new(),
                    texts: [u64::from(sent.number)].into(),
                };
                self.mails.insert(sent.number, mail);
            }
            Left::SendsAgain(number) => {
                let unanswered = self.mails.get(number).filter(|mail| mail.receipt.is_none());
                let fate = unanswered.map(|mail| (mail.fate, self.fate(&mail.sent)));
                if let (Some((then, now)), Some(mail)) = (fate, self.mails.get_mut(number))
                    && then != now
                {
                    mail.fate = Fate::Unsure;
                }
            }
            Left::Answered(number, receipt) => {
                self.highest = self.highest.max(receipt.position);
                self.by_id.insert(receipt.id, *number);
                if let Some(mail) = self.mails.get_mut(number) {
                    mail.receipt = Some(*receipt);
                    mail.id = Some(receipt.id);
                }
            }
            Left::TakenIn(number, id) => {
                self.by_id.insert(*id, *number);
                let Some(mail) = self.mails.get(number).filter(|mail| mail.id.is_none()) else { return };
                // It is admitted when it comes.
                let fate =
                    if mail.fate == Fate::Unsure { Fate::Unsure } else { self.fate(&Arc::clone(&mail.sent)) };
                if let Some(mail) = self.mails.get_mut(number) {
                    (mail.id, mail.fate) = (Some(*id), fate);
                }
            }
            Left::Refused(number) => {
                if let Some(mail) = self.mails.get_mut(number) {
                    mail.was_refused = true;
                }
            }
            Left::TriesAmend(number, text) | Left::Amended(number, text, None) => {
                if let Some(mail) = self.mails.get_mut(number) {
                    mail.texts.insert(*text);
                }
            }
            Left::Amended(number, text, Some(did)) => {
                if let Some(mail) = self.mails.get_mut(number) {
                    match did {
                        true => mail.texts = [*text].into(),
                        false => drop(mail.texts.remove(text)),
                    }
                }
            }
            Left::Told { reader, id, position, number } => {
                self.highest = self.highest.max(*position);
                self.told.entry((*reader, *id)).or_insert(*position);
                if let Some(number) = number {
                    self.by_id.entry(*id).or_insert(*number);
                }
            }
            Left::Acked { reader, id, at } => drop(self.acked.insert((*reader, *id), *at)),
            Left::Admits(owner, stranger) => {
                self.admitted.insert((*owner, *stranger));
                for mail in self.of_stranger(*owner, *stranger) {
                    (mail.fate, mail.was_held) = (Fate::Unsure, true);
                }
            }
            Left::Admitted(owner, stranger, did) => {
                let held = |mail: &&mut Mail| {
                    mail.was_held && mail.sent.recipient == *owner && mail.sent.sender == *stranger
                };
                for mail in self.mails.values_mut().filter(held) {
                    match did {
                        true => mail.fate = Fate::Comes,
                        false => mail.was_held = false,
                    }
                }
            }
            Left::Refuses(owner, stranger) => {
                self.of_stranger(*owner, *stranger).for_each(|mail| mail.fate = Fate::Unsure);
            }
            Left::Forgets(owner, peer) => {
                for mail in self.mails.values_mut() {
                    let with = |user: User| peer.is_none_or(|peer| peer == user);
                    let sent = mail.sent.sender == *owner && with(mail.sent.recipient);
                    // What a rule sends on comes from its sender.
                    if sent || mail.sent.reaches().contains(owner) && with(mail.sent.sender) {
                        mail.gone_for.insert(*owner);
                    }
                }
            }
            Left::Created(user) => drop(self.accounts.insert(*user)),
            Left::Gone => {
                for mail in self.mails.values_mut().filter(|mail| mail.sent.recipient == COMES_AND_GOES) {
                    mail.fate = Fate::Unsure;
                    mail.gone_for.insert(COMES_AND_GOES);
                }
            }
            Left::Saw(a, b, of_a, of_b) => {
                let views = if a < b { (*of_a, *of_b) } else { (*of_b, *of_a) };
                self.pairs.insert(pair(*a, *b), vec![views]);
                self.lost_pairs.remove(&pair(*a, *b));
            }
            Left::Trouble(at) => self.trouble = *at,
            // What was acknowledged before is on disk.
            Left::ShutDown => {
                let trouble = self.trouble;
                self.acked.values_mut().filter(|at| **at > trouble).for_each(|at| *at = SETTLED);
            }
            Left::Invitation(number, invited) => {
                self.invitations.0.insert(*number, invited.clone());
            }
            Left::Passes(until) => self.until = *until,
            Left::Clock(now) => (self.now, self.until) = (*now, *now),
            Left::Unclear(number) => {
                if let Some(mail) = self.mails.get_mut(number) {
                    mail.fate = Fate::Unsure;
                }
            }
            Left::Aside(owed) => self.aside.take(owed),
        }
    }

    fn of_stranger(&mut self, owner: User, stranger: User) -> impl Iterator<Item = &mut Mail> {
        self.mails.values_mut().filter(move |mail| {
            mail.sent.recipient == owner && mail.sent.sender == stranger && mail.fate == Fate::Waits
        })
    }

    /// Whether one account takes what another sends, when that is sure; `None` is: it waits.
    pub fn admits(&self, owner: User, sender: User) -> Result<Option<bool>, Unsure> {
        if owner == sender {
            return Ok(Some(true));
        }
        if self.value(Place::Blocked(owner, sender))? == Some(1) {
            return Ok(Some(false));
        }
        let policy = self.value(Place::Preferences(owner))?.map_or(AcceptedSenders::Everybody, accepted);
        let same_domain = address(owner).domain() == address(sender).domain();
        match policy {
            AcceptedSenders::Everybody | AcceptedSenders::Authenticated => return Ok(Some(true)),
            AcceptedSenders::SameDomain if same_domain => return Ok(Some(true)),
            _ => {}
        }
        let view = self.view(owner, sender)?;
        if view.to() || view.from() {
            return Ok(Some(true));
        }
        match policy {
            AcceptedSenders::Quarantine if self.admitted.contains(&(owner, sender)) => Err(Unsure),
            AcceptedSenders::Quarantine => Ok(None),
            _ => Ok(Some(false)),
        }
    }

    fn fate(&self, sent: &Sent) -> Fate {
        let reached = sent.reaches().into_iter().chain([sent.recipient]);
        let mut fates = reached.map(|user| self.admits(user, sent.sender));
        if sent.recipient == COMES_AND_GOES {
            return Fate::Unsure;
        }
        if sent.recipient < 4 && self.admits(sent.recipient, sent.sender) == Ok(None) {
            return Fate::Waits;
        }
        if fates.all(|fate| fate == Ok(Some(true))) { Fate::Comes } else { Fate::Unsure }
    }
}

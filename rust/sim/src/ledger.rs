//! What an engine owes its clients: a fold over what they asked it and what left it.
//!
//! What was answered has to be true from then on. What was asked and not answered may be true, wholly or not at all. So a
//! place has the values that it may have, and a pair of accounts the views that both may have of each other; an answer
//! leaves one of them.

pub mod aside;
pub mod invited;

use self::invited::{Invitations, Invited};
use crate::facts::{Fact, Place, accepted};
use crate::handshake::View;
use crate::people::{COMES_AND_GOES, FORKS, REDIRECTS, Reader, User, actor, address, user_of, wall};
use rosterkit::{
    AcceptedSenders, Answer, Body, ClientId, Command, Content, MessageId, Op, Position, Receipt, Send,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A message, as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub number: u32,
    pub sender: User,
    pub recipient: User,
    /// When it is of no use any more, in ms since the beginning.
    pub expires: Option<u64>,
    /// It is data, not text.
    pub is_data: bool,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
}

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

/// What is between a message and those it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It comes to all whom it reaches.
    Comes,
    /// It waits in quarantine.
    Waits,
    /// It may come or not; when it comes it is still the same.
    Unsure,
}

#[derive(Clone, Debug)]
pub struct Mail {
    pub sent: Arc<Sent>,
    pub receipt: Option<Receipt>,
    /// Once it is the engine's.
    pub id: Option<MessageId>,
    pub was_refused: bool,
    pub fate: Fate,
    /// It waited in quarantine until its sender was let in, or is to be.
    pub was_held: bool,
    /// Of whose history it may be gone.
    pub gone_for: BTreeSet<User>,
    /// The texts that it may have; 0 is none, its own is its number.
    pub texts: BTreeSet<u64>,
}

/// Nobody can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsure;

/// The values that a place may have.
#[derive(Clone, Debug, Default)]
struct Register {
    may_be: BTreeSet<Option<u64>>,
    flying: Option<u64>,
    lost: bool,
}

/// The number of the first text that an author put in place of another.
pub const FIRST_EDIT: u32 = 1_000;

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

impl Sent {
    pub fn content(&self) -> Content {
        let text = text(u64::from(self.number));
        if self.is_data {
            let bytes: Arc<[u8]> = text.into_bytes().into();
            let body = Body::Data { media_type: "application/octet-stream".into(), bytes };
            return Content { body, extensions: Arc::default(), reply_to: self.reply_to };
        }
        Content { reply_to: self.reply_to, ..Content::text(&text) }
    }

    pub fn client_id(&self) -> ClientId {
        ClientId::new(&format!("c{}", self.number)).expect("a client id")
    }

    pub fn command(&self) -> Command {
        Command::Send(Send {
            recipient: address(self.recipient),
            content: self.content(),
            client_id: Some(self.client_id()),
            expires: self.expires.map(wall),
        })
    }

    /// To whom it comes in the end.
    pub fn reaches(&self) -> Vec<User> {
        match self.recipient {
            REDIRECTS => vec![0],
            FORKS => vec![FORKS, 1],
            user => vec![user],
        }
    }
}

/// What a message of this number says.
pub fn text(number: u64) -> String {
    // Some are long: a row that takes several pages.
    let length = if number.is_multiple_of(13) { 9_000 } else { number as usize * 37 % 300 };
    format!("number {number} {}", "x".repeat(length))
}

/// The number of a message that says this.
pub fn number_in(content: &Content) -> Option<u64> {
    let said = match &content.body {
        Body::Text(text) => text.to_string(),
        Body::Data { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
    };
    let number = said.strip_prefix("number ")?.split(' ').next()?.parse().ok()?;
    (said == text(number)).then_some(number)
}

/// The same, of what is as it was sent: edits have higher numbers.
pub fn number_sent(content: &Content) -> Option<u32> {
    number_in(content).and_then(|number| u32::try_from(number).ok()).filter(|number| *number < FIRST_EDIT)
}

fn pair(a: User, b: User) -> (User, User) {
    (a.min(b), a.max(b))
}

impl Register {
    fn new(place: Place) -> Self {
        let first = matches!(place, Place::Blocked(..) | Place::Visibility(..)).then_some(0);
        Register { may_be: [first].into(), flying: None, lost: false }
    }

    fn allows(&self, place: Place, found: Option<u64>) -> bool {
        if self.lost || found.is_none() && place.may_be_unseen() {
            return true;
        }
        if place.only_rises() {
            let all = || self.may_be.iter().map(|value| value.unwrap_or(0));
            let most = all().chain(self.flying).max();
            return all().min() <= found && found <= most;
        }
        self.may_be.contains(&found) || self.flying.is_some() && self.flying == found
    }
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

    fn register(&mut self, place: Place) -> &mut Register {
        self.places.entry(place).or_insert_with(|| Register::new(place))
    }

    /// The value of a place, when there is only one that it can have.
    pub fn value(&self, place: Place) -> Result<Option<u64>, Unsure> {
        let fresh = Register::new(place);
        let register = self.places.get(&place).unwrap_or(&fresh);
        let mut may_be = register.may_be.iter();
        match (may_be.next(), may_be.next(), register.lost || register.flying.is_some()) {
            (Some(value), None, false) => Ok(*value),
            _ => Err(Unsure),
        }
    }

    fn between(&self, a: User, b: User) -> Vec<(View, View)> {
        self.pairs.get(&pair(a, b)).cloned().unwrap_or_else(|| vec![<(View, View)>::default()])
    }

    /// What the first believes of the two, when that is sure.
    pub fn view(&self, of: User, peer: User) -> Result<View, Unsure> {
        if self.lost_pairs.contains(&pair(of, peer))
            || self.flying.is_some_and(|(a, b, _)| pair(a, b) == pair(of, peer))
        {
            return Err(Unsure);
        }
        match self.between(of, peer).as_slice() {
            [(low, high)] => Ok(if of < peer { *low } else { *high }),
            _ => Err(Unsure),
        }
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

    /// The message that this id was given to.
    pub fn mail_of(&self, id: MessageId) -> Option<&Mail> {
        self.mails.get(self.by_id.get(&id)?)
    }

    /// Whether a reader has to get a message that was answered, if it has not taken it.
    pub fn owes(&self, mail: &Mail, reader: Reader, now: u64) -> bool {
        mail.id.is_some_and(|id| !self.acked.contains_key(&(reader, id)))
            && mail.fate == Fate::Comes
            && mail.sent.reaches().contains(&reader.user)
            && !mail.gone_for.contains(&reader.user)
            && mail.sent.expires.is_none_or(|expires| now < expires)
            // Who writes to oneself through no session is told; where it comes by a rule as well, that is one too many.
            && (mail.sent.sender != reader.user || mail.sent.recipient == reader.user)
    }

    /// Whether a message has expired, for at least as long as an opening takes to see it, and no client of the account has
    /// taken it. What was let out of quarantine a person has taken.
    pub fn is_over(&self, mail: &Mail, user: User, now: u64) -> bool {
        let taken = |id| Reader::of(user).iter().any(|reader| self.acked.contains_key(&(*reader, id)));
        mail.id.is_some_and(|id| !taken(id))
            && !mail.was_held
            && mail.sent.sender != user
            && mail.sent.reaches().contains(&user)
            && mail.sent.expires.is_some_and(|expires| expires + A_MOMENT <= now)
    }

    /// Whether a device has to get its copy of what its account sent otherwise.
    pub fn owes_copy(&self, mail: &Mail, reader: Reader) -> bool {
        mail.receipt.is_some_and(|receipt| !self.acked.contains_key(&(reader, receipt.id)))
            && reader.device.is_some()
            && mail.sent.sender == reader.user
            && mail.sent.recipient != reader.user
            && mail.sent.expires.is_none()
            && !mail.gone_for.contains(&reader.user)
    }

    /// Whether an acknowledgement is on disk for sure by now.
    pub fn is_settled(&self, reader: Reader, id: MessageId) -> bool {
        let acked = self.acked.get(&(reader, id));
        acked.is_some_and(|at| *at == SETTLED || self.now > at + 5_000 && self.trouble < *at)
    }

    /// The places of a machine's accounts.
    pub fn places(&self) -> Vec<Place> {
        self.places.keys().copied().collect()
    }

    /// What is found at a place is what may be there.
    pub fn check_place(&self, engine: &rosterkit::Engine, place: Place) -> Result<(), String> {
        let Some(register) = self.places.get(&place) else { return Ok(()) };
        let found = place.read(engine)?;
        if let (Place::Contact(_), Some(ends)) = (place, found)
            && ends <= self.now
        {
            return Err(format!("{place:?} has ended at {ends}, and is there at {}", self.now));
        }
        if register.allows(place, found) || self.has_ended(register, place, found) {
            return Ok(());
        }
        Err(format!("{place:?} is {found:?}, and may be {:?} or {:?}", register.may_be, register.flying))
    }

    /// Whether what has an end is not there, and may be over: an engine that was opened has looked a moment later.
    fn has_ended(&self, register: &Register, place: Place, found: Option<u64>) -> bool {
        let mut may_be = register.may_be.iter().flatten().copied().chain(register.flying);
        found.is_none()
            && matches!(place, Place::Contact(_))
            && may_be.any(|ends| ends <= self.until + A_MOMENT)
    }

    /// Whether a contact of somebody counts as being there, when that is sure.
    pub fn is_reached(&self, user: User) -> Result<bool, Unsure> {
        Ok(self.value(Place::Contact(user))?.is_some_and(|ends| ends > self.now))
    }

    /// The pairs that are followed.
    pub fn pairs(&self) -> Vec<(User, User)> {
        self.pairs.keys().filter(|pair| !self.lost_pairs.contains(*pair)).copied().collect()
    }

    /// What both believe of each other is what may be.
    pub fn check_pair(&self, engine: &rosterkit::Engine, (low, high): (User, User)) -> Result<(), String> {
        let found = (roster_view(engine, low, high)?, roster_view(engine, high, low)?);
        let mut may_be = self.between(low, high);
        if let Some((owner, peer, op)) = self.flying
            && pair(owner, peer) == (low, high)
        {
            let after: Vec<_> = may_be.iter().map(|views| edit(*views, owner < peer, op)).collect();
            may_be.extend(after);
        }
        if may_be.iter().any(|(low, high)| (low.shown(), high.shown()) == found) {
            return Ok(());
        }
        Err(format!("user{low} and user{high} are {found:?}, and may be {may_be:?}"))
    }
}

/// What one believes of another, out of its roster.
pub fn roster_view(engine: &rosterkit::Engine, of: User, peer: User) -> Result<View, String> {
    let read = Command::ReadRoster { since: Position::ZERO };
    match engine.call(&actor(of), read).map_err(|e| format!("the roster of user{of}: {e}"))? {
        Answer::Roster(roster) => {
            let buddy = roster.buddies.iter().find(|buddy| user_of(&buddy.address) == Some(peer));
            Ok(buddy.map_or(View::default(), |buddy| View {
                listed: buddy.listed,
                my_wish: buddy.halves.my_wish.set,
                my_grant: buddy.halves.my_grant.set,
                their_wish: buddy.halves.their_wish.set,
                their_grant: buddy.halves.their_grant.set,
            }))
        }
        answer => Err(format!("the roster of user{of} was answered {answer:?}")),
    }
}

/// An edit by one side, and what the other makes of it.
fn edit((low, high): (View, View), by_low: bool, op: Op) -> (View, View) {
    let (mine, theirs) = if by_low { (low, high) } else { (high, low) };
    let mut after = mine;
    after.act(op);
    let told = after != mine;
    after.listed = op != Op::Remove && (mine.listed || op != Op::Unsubscribed);
    let theirs = if told { theirs.after_theirs(op) } else { theirs };
    if by_low { (after, theirs) } else { (theirs, after) }
}

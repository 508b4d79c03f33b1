//! What the engine promises, said as naively as it can be: no shards, no queues with room, no residency, no positions
//! to compare, every set written out. It shares only the words of `rosterkit-core` with the engine, and what
//! two sides of a handshake believe with the simulation.

use rosterkit::Word;
use rosterkit::{
    AcceptedSenders, Address, DeviceName, ErrorKind, MessageId, Op, Position, SessionId, State, Visibility,
};
use rosterkit_sim::handshake::View;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many rows a session has in hand at once, when it has once had all there were; the rest waits in the log.
pub const LIVE: usize = 256;
/// The same, while it reads what waited for it.
const AHEAD: usize = 2_048;

/// An incarnation of an account, by its number.
pub type Who = usize;

#[derive(Default)]
pub struct Reference {
    pub accounts: Vec<Account>,
    pub log: Vec<Row>,
    pub sessions: BTreeMap<SessionId, Session>,
    /// How far one account has read what another sent, and how far that other was told so.
    read: BTreeMap<(Who, Who), Position>,
    displayed: BTreeMap<(Who, Who), Position>,
    shown: u64,
}

pub struct Account {
    pub address: Address,
    pub alive: bool,
    pub keep_history: bool,
    pub offline_storage: bool,
    pub accepted_senders: AcceptedSenders,
    pub admitted: BTreeSet<Who>,
    pub blocked: BTreeSet<Address>,
    /// Who does not see everything.
    pub viewers: BTreeMap<Who, Visibility>,
    pub roster: BTreeMap<Who, View>,
    /// The rows each device has done with.
    pub devices: BTreeMap<DeviceName, BTreeSet<usize>>,
    /// Rows nobody claimed, and who has each in hand.
    pub unclaimed: BTreeMap<usize, Option<SessionId>>,
    /// Rows of strangers on whom the account has not decided.
    pub quarantine: BTreeSet<usize>,
}

pub struct Row {
    /// Known once the engine told it.
    pub position: Option<Position>,
    pub id: Option<MessageId>,
    pub sender: Who,
    pub recipient: Who,
    /// None for a buddy request; of a message what it says now, of an amendment what it made it say.
    pub text: Option<String>,
    /// What it said before.
    pub earlier: Vec<String>,
    /// The message that it amends.
    pub amends: Option<usize>,
    pub device: Option<DeviceName>,
    pub session: Option<SessionId>,
    pub seen_by: SeenBy,
}

/// Which of the two accounts has a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeenBy {
    Both,
    /// It is in quarantine, or was refused there.
    Sender,
    /// It was admitted out of there.
    Recipient,
}

pub struct Session {
    pub who: Who,
    pub device: Option<DeviceName>,
    pub reads: bool,
    pub shows: Option<Shown>,
    pub queue: VecDeque<usize>,
    /// What was in its hands since it was attached.
    given: BTreeSet<usize>,
    /// How many rows may be in its hands.
    pub room: usize,
    pub handed: Vec<(u64, usize)>,
    pub failures: BTreeMap<usize, u8>,
}

#[derive(Clone)]
pub struct Shown {
    pub state: State,
    pub note: Option<String>,
    pub invisible: bool,
    pub priority: i8,
    pub since: u64,
}

impl Row {
    /// Its author took it back.
    pub fn is_retracted(&self) -> bool {
        self.text.as_deref() == Some("")
    }

    /// Whether this account has it.
    pub fn is_of(&self, who: Who) -> bool {
        self.sender == who && self.seen_by != SeenBy::Recipient
            || self.recipient == who && self.seen_by != SeenBy::Sender
    }

    /// Whether somebody may be shown this: what waits in a queue is as it was.
    pub fn has_said(&self, text: Option<&str>) -> bool {
        self.text.as_deref() == text || self.earlier.iter().any(|earlier| Some(earlier.as_str()) == text)
    }
}

impl Session {
    /// Whether it takes messages.
    pub fn takes(&self) -> bool {
        self.reads && self.shows.as_ref().is_none_or(|s| s.priority >= 0)
    }

    /// What it sent itself it is not told.
    pub fn sent(&self, id: SessionId, row: &Row) -> bool {
        row.sender == self.who
            && if self.device.is_some() { row.device == self.device } else { row.session == Some(id) }
    }
}

impl Reference {
    pub fn who(&self, address: &Address) -> Option<Who> {
        self.accounts.iter().position(|a| a.alive && a.address == *address)
    }

    fn sessions_of(&self, who: Who) -> Vec<SessionId> {
        self.sessions.iter().filter(|(_, s)| s.who == who).map(|(id, _)| *id).collect()
    }

    fn blocks(&self, owner: Who, peer: Who) -> bool {
        let address = &self.accounts[peer].address;
        let domain = Address::new(address.domain()).unwrap();
        self.accounts[owner].blocked.contains(address) || self.accounts[owner].blocked.contains(&domain)
    }

    fn view(&self, owner: Who, peer: Who) -> View {
        self.accounts[owner].roster.get(&peer).copied().unwrap_or_default()
    }

    // ---- messages -------------------------------------------------------------------------------------------

    /// Whether one account takes what another sends, now.
    fn hears(&self, recipient: Who, sender: Who) -> bool {
        let (account, view) = (&self.accounts[recipient], self.view(recipient, sender));
        let same_domain = || account.address.domain() == self.accounts[sender].address.domain();
        let accepted = match account.accepted_senders {
            AcceptedSenders::Everybody | AcceptedSenders::Authenticated => true,
            AcceptedSenders::SameDomain => same_domain(),
            AcceptedSenders::Nobody => false,
            AcceptedSenders::Quarantine => account.admitted.contains(&sender),
        };
        !self.blocks(recipient, sender) && (sender == recipient || view.to() || view.from() || accepted)
    }

    /// What a send is answered.
    pub fn word(&self, sender: Who, recipient: &Address) -> Result<Word, ErrorKind> {
        let recipient = self.who(recipient).ok_or(ErrorKind::NotFound)?;
        let account = &self.accounts[recipient];
        let (view, same) = (self.view(recipient, sender), sender == recipient);
        if self.quarantines(recipient, sender) {
            return Ok(Word::Stored);
        }
        if !self.hears(recipient, sender) {
            return Err(ErrorKind::Forbidden);
        }
        let takers: Vec<&Session> =
            self.sessions.values().filter(|s| s.who == recipient && s.takes()).collect();
        if takers.is_empty() && !account.offline_storage {
            return Err(ErrorKind::NotFound);
        }
        let visible = takers.iter().any(|s| s.shows.as_ref().is_none_or(|shown| !shown.invisible));
        let sees = same || view.from() && self.visibility(recipient, sender) != Visibility::Hidden;
        Ok(if visible && sees { Word::Delivered } else { Word::Stored })
    }

    /// Whether what this sender sends waits aside.
    pub fn quarantines(&self, recipient: Who, sender: Who) -> bool {
        self.accounts[recipient].accepted_senders == AcceptedSenders::Quarantine
            && !self.blocks(recipient, sender)
            && !self.hears(recipient, sender)
    }

    /// Whether this row, if it came now, would be held.
    pub fn is_held(&self, row: &Row) -> bool {
        row.seen_by == SeenBy::Sender
            || row.seen_by == SeenBy::Both
                && row.text.is_some()
                && self.quarantines(row.recipient, row.sender)
    }

    /// The rows in quarantine that came from this address.
    pub fn held(&self, recipient: Who, sender: &Address) -> Vec<usize> {
        let of = |number: &usize| {
            let row = &self.log[*number];
            row.recipient == recipient && self.accounts[row.sender].address == *sender
        };
        self.accounts[recipient].quarantine.iter().copied().filter(of).collect()
    }

    /// A row is on disk: who is there gets it.
    pub fn accept(&mut self, mut row: Row) {
        let number = self.log.len();
        let (sender, recipient, message) = (row.sender, row.recipient, row.text.is_some());
        if self.is_held(&row) {
            row.seen_by = SeenBy::Sender;
            if row.amends.is_none() {
                self.accounts[recipient].quarantine.insert(number);
            }
        }
        let seen_by = row.seen_by;
        // What a session sent to its own account it has.
        if seen_by != SeenBy::Sender && (sender != recipient || row.session.is_none()) {
            self.accounts[recipient].unclaimed.insert(number, None);
        }
        if let Some(id) = row.amends.and_then(|message| self.log[message].id) {
            for amended in self.log.iter_mut().filter(|amended| amended.id == Some(id)) {
                let before = std::mem::replace(&mut amended.text, row.text.clone());
                amended.earlier.extend(before);
            }
        }
        self.log.push(row);
        if seen_by != SeenBy::Sender {
            for id in self.sessions_of(recipient) {
                self.offer(id, number);
            }
        }
        if message && sender != recipient && seen_by != SeenBy::Recipient {
            for id in self.sessions_of(sender) {
                self.offer(id, number);
            }
        }
    }

    fn offer(&mut self, id: SessionId, number: usize) {
        self.queue(id, number);
        self.hold(id);
    }

    fn queue(&mut self, id: SessionId, number: usize) {
        if let Some(session) = self.sessions.get_mut(&id)
            && session.takes()
            && !session.sent(id, &self.log[number])
        {
            session.queue.push_back(number);
        }
    }

    /// The next rows a session can be given are in its hands, unless another has them.
    fn hold(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for number in session.queue.iter().take(session.room.saturating_sub(session.handed.len())) {
            if session.given.insert(*number)
                && let Some(holder) = self.accounts[session.who].unclaimed.get_mut(number)
            {
                holder.get_or_insert(id);
            }
        }
        if session.queue.iter().all(|number| session.given.contains(number)) {
            session.room = LIVE;
        }
    }

    /// The events up to `seq` were acknowledged.
    pub fn ack(&mut self, id: SessionId, seq: u64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let done: Vec<usize> = session.handed.iter().filter(|h| h.0 <= seq).map(|h| h.1).collect();
        session.handed.retain(|h| h.0 > seq);
        for number in done {
            self.done(id, number);
        }
        self.hold(id);
    }

    fn done(&mut self, id: SessionId, number: usize) {
        let session = &self.sessions[&id];
        let account = &mut self.accounts[session.who];
        account.unclaimed.remove(&number);
        if let Some(device) = &session.device {
            account.devices.get_mut(device).unwrap().insert(number);
        }
    }

    /// What was handed out comes again; what failed three times alone is parked.
    pub fn fail(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let alone = session.handed.len() == 1;
        for (_, number) in std::mem::take(&mut session.handed).into_iter().rev() {
            let failures = session.failures.entry(number).or_default();
            *failures += u8::from(alone);
            if *failures >= 3 {
                return self.done(id, number);
            }
            session.queue.push_front(number);
        }
    }

    // ---- sessions -------------------------------------------------------------------------------------------

    /// A session is there. The device's earlier one has ended.
    pub fn open(&mut self, id: SessionId, who: Who, device: Option<DeviceName>, reads: bool) {
        if let Some(name) = &device {
            let lowest = self.accounts[who].unclaimed.keys().next().copied();
            let passed = || (0..lowest.unwrap_or(self.log.len())).collect();
            self.accounts[who].devices.entry(name.clone()).or_insert_with(passed);
        }
        let session = Session {
            who,
            device,
            reads,
            shows: None,
            queue: VecDeque::new(),
            given: BTreeSet::new(),
            room: AHEAD,
            handed: Vec::new(),
            failures: BTreeMap::new(),
        };
        self.sessions.insert(id, session);
        self.attach(id);
    }

    /// A device gets what it has not done with, an anonymous session what nobody has.
    fn attach(&mut self, id: SessionId) {
        let session = &self.sessions[&id];
        if !session.takes() {
            return;
        }
        let account = &self.accounts[session.who];
        let owed: Vec<usize> = match &session.device {
            Some(device) => (0..self.log.len())
                .filter(|n| !account.devices[device].contains(n))
                .filter(|n| {
                    let row = &self.log[*n];
                    row.is_of(session.who) && (row.recipient == session.who || row.text.is_some())
                })
                .collect(),
            None => {
                account.unclaimed.iter().filter(|(_, holder)| holder.is_none()).map(|(n, _)| *n).collect()
            }
        };
        let (who, anonymous) = (session.who, session.device.is_none());
        for number in owed {
            if anonymous {
                self.accounts[who].unclaimed.insert(number, Some(id));
            }
            self.queue(id, number);
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.room = AHEAD;
        }
        self.hold(id);
    }

    /// A session is gone; what it had in hand goes to the oldest anonymous one that takes messages.
    pub fn close(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id) {
            self.pass_on(session.who, id);
        }
    }

    /// A device is forgotten; another one of its name did not send what it sent.
    pub fn retire(&mut self, who: Who, name: &DeviceName) {
        self.accounts[who].devices.remove(name);
        let its = |row: &&mut Row| row.sender == who && row.device.as_ref() == Some(name);
        self.log.iter_mut().filter(its).for_each(|row| row.device = None);
    }

    fn pass_on(&mut self, who: Who, dead: SessionId) {
        let heir = self.sessions.iter().find(|(_, s)| s.who == who && s.device.is_none() && s.takes());
        let heir = heir.map(|(id, _)| *id);
        let held: Vec<usize> = self.accounts[who]
            .unclaimed
            .iter_mut()
            .filter(|(_, holder)| **holder == Some(dead))
            .map(|(number, holder)| {
                *holder = None;
                *number
            })
            .collect();
        let Some(heir) = heir else { return };
        for number in held {
            let session = &self.sessions[&heir];
            if session.queue.contains(&number) || session.handed.iter().any(|h| h.1 == number) {
                self.accounts[who].unclaimed.insert(number, Some(heir));
            } else {
                self.offer(heir, number);
                // Before what a slow session has yet to read from the log.
                let session = self.sessions.get_mut(&heir).unwrap();
                let room = session.room.saturating_sub(session.handed.len()).min(session.queue.len());
                session.queue.make_contiguous()[room..].sort_unstable();
                self.hold(heir);
            }
        }
    }

    /// The store was opened again under running sessions: each is attached as if it were new.
    pub fn attach_all_again(&mut self) {
        for account in &mut self.accounts {
            account.unclaimed.values_mut().for_each(|holder| *holder = None);
        }
        for session in self.sessions.values_mut() {
            session.queue.clear();
            session.handed.clear();
            session.given.clear();
            session.failures.clear();
        }
        // Anonymous ones take what nobody has before devices read their part of the log.
        let (named, anonymous): (Vec<_>, Vec<_>) =
            self.sessions.iter().partition::<Vec<_>, _>(|(_, s)| s.device.is_some());
        let order: Vec<SessionId> = anonymous.iter().chain(&named).map(|(id, _)| **id).collect();
        order.into_iter().for_each(|id| self.attach(id));
    }

    /// Every session is gone at once.
    pub fn close_all(&mut self) {
        self.sessions.clear();
        // The next engine counts its sessions from the beginning.
        self.log.iter_mut().for_each(|row| row.session = None);
        for account in &mut self.accounts {
            account.unclaimed.values_mut().for_each(|holder| *holder = None);
        }
    }

    // ---- presence -------------------------------------------------------------------------------------------

    /// A session shows something, or nothing any more.
    pub fn show(&mut self, id: SessionId, shown: Option<Shown>) {
        self.shown += 1;
        let session = self.sessions.get_mut(&id).unwrap();
        let took = session.takes();
        session.shows = shown.map(|s| Shown { since: self.shown, ..s });
        match (took, session.takes()) {
            (false, true) => self.attach(id),
            (true, false) => {
                session.queue.clear();
                session.handed.clear();
                session.given.clear();
                let who = session.who;
                self.pass_on(who, id);
            }
            _ => {}
        }
    }

    fn aggregate(&self, who: Who) -> (State, Option<String>) {
        const ORDER: [State; 9] = [
            State::Busy,
            State::InMeeting,
            State::OnPhone,
            State::Chat,
            State::Online,
            State::BeBack,
            State::OutToLunch,
            State::Away,
            State::ExtendedAway,
        ];
        let seen = self.sessions.values().filter(|s| s.who == who);
        let shown: Vec<&Shown> = seen.filter_map(|s| s.shows.as_ref()).filter(|s| !s.invisible).collect();
        let best = ORDER.iter().find(|state| shown.iter().any(|s| s.state == **state));
        match best {
            None => (State::Offline, None),
            Some(best) => {
                let newest = shown.iter().filter(|s| s.state == *best).max_by_key(|s| s.since).unwrap();
                (*best, newest.note.clone())
            }
        }
    }

    /// What one account sees of another.
    pub fn sees(&self, viewer: Who, subject: Who) -> (State, Option<String>) {
        let may = viewer == subject || self.view(subject, viewer).from() && !self.blocks(subject, viewer);
        let visibility = if may { self.visibility(subject, viewer) } else { Visibility::Hidden };
        let (state, note) = self.aggregate(subject);
        match visibility {
            Visibility::Full => (state, note),
            Visibility::StateOnly => (state, None),
            Visibility::Hidden => (State::Offline, None),
        }
    }

    fn visibility(&self, subject: Who, viewer: Who) -> Visibility {
        self.accounts[subject].viewers.get(&viewer).copied().unwrap_or_default()
    }

    pub fn set_visibility(&mut self, owner: Who, viewer: &Address, to: Visibility) -> Result<(), ErrorKind> {
        let viewer = self.who(viewer).filter(|viewer| self.view(owner, *viewer).is_something());
        self.accounts[owner].viewers.insert(viewer.ok_or(ErrorKind::NotFound)?, to);
        Ok(())
    }

    // ---- roster ---------------------------------------------------------------------------------------------

    /// An edit, and what the other side makes of it.
    pub fn edit(&mut self, owner: Who, peer: &Address, op: Op) -> Result<(), ErrorKind> {
        let asks = matches!(op, Op::Add | Op::Subscribe);
        let Some(peer) = self.who(peer) else {
            return match (asks, self.former(owner, peer)) {
                (true, _) => Err(ErrorKind::NotFound),
                (false, Some(former)) if op == Op::Remove => {
                    self.accounts[owner].roster.remove(&former);
                    Ok(())
                }
                (false, _) => Ok(()),
            };
        };
        self.replace(owner, peer);
        if matches!(op, Op::Remove | Op::Update) && !self.accounts[owner].roster.contains_key(&peer) {
            return Err(ErrorKind::NotFound);
        }
        if peer == owner {
            return Err(ErrorKind::InvalidArgument);
        }
        let before = self.view(owner, peer);
        let mut mine = before;
        mine.act(op);
        let told = mine != before;
        mine.listed = op != Op::Remove && (before.listed || op != Op::Unsubscribed);
        if told || mine != before {
            self.put(owner, peer, mine);
        }
        if told {
            self.receive(owner, peer, op);
        }
        Ok(())
    }

    /// Who is on the roster by this address, and gone.
    fn former(&self, owner: Who, address: &Address) -> Option<Who> {
        let is_gone = |who: &&Who| !self.accounts[**who].alive && self.accounts[**who].address == *address;
        self.accounts[owner].roster.keys().find(is_gone).copied()
    }

    /// Who is there now takes the place of who was, with nothing between the two.
    fn replace(&mut self, owner: Who, peer: Who) {
        let address = self.accounts[peer].address.clone();
        let Some(former) = self.former(owner, &address).filter(|_| self.accounts[peer].alive) else {
            return;
        };
        let roster = &mut self.accounts[owner].roster;
        let listed = roster.remove(&former).is_some_and(|view| view.listed);
        roster.entry(peer).or_insert(View { listed, ..View::default() });
    }

    fn put(&mut self, owner: Who, peer: Who, view: View) {
        self.accounts[owner].roster.insert(peer, view);
        if !view.is_something() {
            self.accounts[owner].viewers.remove(&peer);
        }
    }

    /// The guest brings an invitation of the host's.
    pub fn redeem(&mut self, guest: Who, host: Who) -> Result<(), ErrorKind> {
        if guest == host {
            return Err(ErrorKind::InvalidArgument);
        }
        self.replace(guest, host);
        let before = self.view(guest, host);
        let mut mine = before;
        mine.act(Op::Add);
        let told = mine != before || mine.requested();
        mine.listed = true;
        self.put(guest, host, mine);
        if !told || self.blocks(host, guest) {
            return Ok(());
        }
        self.replace(host, guest);
        let mut after = self.view(host, guest).after_theirs(Op::Add);
        let is_let_in = after.asking();
        if is_let_in {
            after.act(Op::Add);
            after.listed = true;
        }
        self.put(host, guest, after);
        if is_let_in {
            self.receive(host, guest, Op::Add);
        }
        Ok(())
    }

    fn receive(&mut self, owner: Who, peer: Who, op: Op) {
        let ends = matches!(op, Op::Remove | Op::Unsubscribe | Op::Unsubscribed);
        if !ends && self.blocks(peer, owner) {
            return;
        }
        self.replace(peer, owner);
        let before = self.view(peer, owner);
        let after = before.after_theirs(op);
        self.put(peer, owner, after);
        if after.asking() && !before.asking() {
            self.accept(Row {
                position: None,
                id: None,
                sender: owner,
                recipient: peer,
                text: None,
                earlier: Vec::new(),
                amends: None,
                device: None,
                session: None,
                seen_by: SeenBy::Both,
            });
        }
    }

    /// The account is gone, and every buddy is told.
    pub fn delete(&mut self, who: Who) {
        self.sessions.retain(|_, session| session.who != who);
        self.accounts[who].alive = false;
        for (peer, view) in std::mem::take(&mut self.accounts[who].roster) {
            if view != (View { listed: view.listed, ..View::default() }) && self.accounts[peer].alive {
                self.receive(who, peer, Op::Remove);
            }
        }
    }

    // ---- history --------------------------------------------------------------------------------------------

    /// The account's messages, oldest first.
    pub fn history(&self, who: Who, peer: Option<&Address>) -> Vec<&Row> {
        let of = |row: &&Row| {
            let other = if row.sender == who { row.recipient } else { row.sender };
            row.text.is_some()
                && row.amends.is_none()
                && row.is_of(who)
                && peer.is_none_or(|peer| self.accounts[other].alive && self.accounts[other].address == *peer)
        };
        self.log.iter().filter(of).collect()
    }

    /// With each other incarnation of an account: its address, the latest text, and how much of theirs is unread.
    pub fn conversations(&self, who: Who) -> Vec<(Address, String, u32)> {
        let mut all: BTreeMap<Who, (String, u32)> = BTreeMap::new();
        for row in self.history(who, None) {
            let other = if row.sender == who { row.recipient } else { row.sender };
            let read = self.read.get(&(who, other)).copied().unwrap_or_default();
            let (text, unread) = all.entry(other).or_default();
            text.clone_from(row.text.as_ref().unwrap());
            // No more are counted.
            *unread = 1_000.min(*unread + u32::from(row.sender == other && row.position.unwrap() > read));
        }
        let named = |(other, (text, unread)): (Who, _)| (self.accounts[other].address.clone(), text, unread);
        all.into_iter().map(named).collect()
    }

    /// Somebody has read what another sent, up to there.
    pub fn has_read(&mut self, who: Who, peer: Who, upto: Position) {
        let told = who != peer && self.hears(who, peer);
        let read = self.read.entry((who, peer)).or_default();
        *read = upto.max(*read);
        if told {
            let displayed = self.displayed.entry((peer, who)).or_default();
            *displayed = upto.max(*displayed);
        }
    }

    /// How far a sender knows that somebody has read.
    pub fn displayed(&self, sender: Who, recipient: Who) -> Position {
        self.displayed.get(&(sender, recipient)).copied().unwrap_or_default()
    }
}

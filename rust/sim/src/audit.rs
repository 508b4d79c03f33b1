//! What must be true of an engine, asked through its own API: of one that was opened after a cut, and of one at rest.

use crate::facts::keeps_history;
use crate::ledger::{FIRST_EDIT, Fate, Ledger, Mail, number_in};
use crate::people::{COMES_AND_GOES, FORKS, REDIRECTS, Reader, User, actor, address, machine_of, user_of};
use crate::report::Coverage;
use rosterkit::{
    Anchor, Answer, Command, ConversationsRequest, Direction, Engine, EventBody, HistoryRequest, MessageId,
    Position, Session, SessionOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Everything.
    All,
    /// The newest, and some of the rest by seed.
    Some(u64),
}

/// An engine and what it owes.
pub struct Audit<'a> {
    pub engine: &'a Engine,
    pub machine: usize,
    pub ledger: &'a Ledger,
    /// What may be over by now.
    pub until: u64,
    pub depth: Depth,
    pub covered: &'a Coverage,
}

type Found = BTreeMap<MessageId, Position>;

impl Audit<'_> {
    /// Looks at everything that outlives an engine.
    pub fn run(&self) -> Result<(), String> {
        self.receipts()?;
        self.facts()?;
        self.histories()?;
        self.quarantines()?;
        self.aside(true)?;
        self.readers()?;
        self.invitations()?;
        self.positions()
    }

    /// Looks at what can be looked at while its sessions go on.
    pub fn running(&self) -> Result<(), String> {
        self.receipts()?;
        self.facts()?;
        self.histories()?;
        self.quarantines()?;
        self.aside(false)
    }

    /// Some of them, the latest first, or all.
    fn some<T>(&self, mut all: Vec<T>, newest: usize, others: usize) -> Vec<T> {
        let Depth::Some(seed) = self.depth else { return all };
        all.reverse();
        if all.len() > newest {
            let mut rest = all.split_off(newest);
            fastrand::Rng::with_seed(seed).shuffle(&mut rest);
            all.extend(rest.into_iter().take(others));
        }
        all
    }

    /// A repeat gets the first one's answer.
    fn receipts(&self) -> Result<(), String> {
        let answered = self.ledger.mails.values().filter(|mail| {
            mail.receipt.is_some()
                && machine_of(mail.sent.sender) == self.machine
                && mail.sent.expires.is_none_or(|expires| self.until < expires)
        });
        for mail in self.some(answered.collect(), 4, 4) {
            let again = self.engine.call(&actor(mail.sent.sender), mail.sent.command());
            match (&again, mail.receipt) {
                (Ok(Answer::Receipt(again)), Some(receipt)) if *again == receipt => {}
                _ => return Err(format!("{:?} had {:?}, and again {again:?}", mail.sent, mail.receipt)),
            }
            self.covered.add("delivery.client-id");
        }
        Ok(())
    }

    /// What is kept beside messages is what was answered, or was asked for since.
    fn facts(&self) -> Result<(), String> {
        let places = self
            .ledger
            .places()
            .into_iter()
            .filter(|place| machine_of(place.owner()) == self.machine && place.owner() != COMES_AND_GOES);
        for place in self.some(places.collect(), 0, 5) {
            self.ledger.check_place(self.engine, place)?;
            if let Some(sentence) = place.sentence() {
                self.covered.add(sentence);
            }
        }
        let here =
            |pair: &(User, User)| machine_of(pair.0) == self.machine && machine_of(pair.1) == self.machine;
        let pairs = self.ledger.pairs().into_iter().filter(here);
        for pair in self.some(pairs.collect(), 0, 2) {
            self.ledger.check_pair(self.engine, pair)?;
            self.covered.add("roster.converges");
        }
        Ok(())
    }

    fn users(&self) -> Vec<User> {
        self.ledger.accounts.iter().copied().filter(|user| machine_of(*user) == self.machine).collect()
    }

    /// A history has what the account sent and was sent, once, in order, as it says now.
    fn histories(&self) -> Result<(), String> {
        for user in self.some(self.users(), 0, 2) {
            let mut found: Found = BTreeMap::new();
            let mut senders: Vec<(Option<User>, Position)> = Vec::new();
            let mut after = Anchor::End;
            loop {
                let request =
                    HistoryRequest { peer: None, anchor: after, direction: Direction::Newer, limit: 1_000 };
                let page = match self.engine.call(&actor(user), Command::ReadHistory(request)) {
                    Ok(Answer::History(page)) => page,
                    other => return Err(format!("the history of user{user} was answered {other:?}")),
                };
                for message in &page.messages {
                    senders.push((user_of(&message.sender.bare()), message.position));
                    let before = found.insert(message.id, message.position);
                    if before.is_some() && message.sender.bare() != message.recipient.bare() {
                        return Err(format!("user{user} has {} twice in the history", message.id));
                    }
                    self.is_true(user, message.id, &message.content, message.position)?;
                }
                match page.messages.last() {
                    Some(last) if !page.complete => after = Anchor::Row(last.position),
                    _ => break,
                }
            }
            self.covered.add("history.pages");
            self.conversations(user, &senders)?;
            if !keeps_history(user) {
                continue;
            }
            for mail in self.ledger.mails.values() {
                let Some(id) = mail.id else { continue };
                let sent = mail.sent.sender == user;
                let got = mail.fate == Fate::Comes && mail.sent.reaches().contains(&user);
                let dated = mail.sent.expires.is_some_and(|expires| expires <= self.until);
                if (sent || got) && !dated && !mail.gone_for.contains(&user) && !found.contains_key(&id) {
                    return Err(format!("{:?} is not in the history of user{user}: {id}", mail.sent));
                }
            }
        }
        Ok(())
    }

    /// The conversations of an account are its history in short: with each peer as much is unread as they sent above what was
    /// read; and a page of one peer is that peer's.
    fn conversations(&self, user: User, senders: &[(Option<User>, Position)]) -> Result<(), String> {
        let all = ConversationsRequest { before: None, limit: 1_000 };
        let page = match self.engine.call(&actor(user), Command::ReadConversations(all)) {
            Ok(Answer::Conversations(page)) => page,
            other => return Err(format!("the conversations of user{user} were answered {other:?}")),
        };
        for one in &page.conversations {
            let Some(peer) = user_of(&one.peer).filter(|peer| *peer != user && *peer != COMES_AND_GOES)
            else {
                continue;
            };
            let theirs = || senders.iter().filter(|(sender, _)| *sender == Some(peer));
            let unread = theirs().filter(|(_, position)| *position > one.marks.read).count();
            if unread != one.unread as usize {
                return Err(format!(
                    "user{user} has {} unread of user{peer}, and {unread} by history",
                    one.unread
                ));
            }
            self.covered.add("conversations.unread");
            let (anchor, direction) = (Anchor::End, Direction::Newer);
            let request = HistoryRequest { peer: Some(one.peer.clone()), anchor, direction, limit: 1_000 };
            match self.engine.call(&actor(user), Command::ReadHistory(request)) {
                Ok(Answer::History(with)) => {
                    let got =
                        with.messages.iter().filter(|m| user_of(&m.sender.bare()) == Some(peer)).count();
                    let strange = with
                        .messages
                        .iter()
                        .find(|m| ![&m.sender.bare(), &m.recipient.bare()].contains(&&one.peer));
                    if with.complete && got != theirs().count() || strange.is_some() {
                        return Err(format!(
                            "user{user} has {got} of user{peer} in a page of theirs: {strange:?}"
                        ));
                    }
                    self.covered.add("history.by-peer");
                }
                other => {
                    return Err(format!("the history of user{user} with user{peer} was answered {other:?}"));
                }
            }
        }
        Ok(())
    }

    /// What waits in quarantine is there, and stays there.
    fn quarantines(&self) -> Result<(), String> {
        for user in self.users() {
            let waits = |mail: &&Mail| {
                let dated = mail.sent.expires.is_some_and(|expires| expires <= self.until);
                mail.fate == Fate::Waits && mail.sent.recipient == user && mail.id.is_some() && !dated
            };
            let expected: Vec<&Mail> = self.ledger.mails.values().filter(waits).collect();
            if expected.is_empty() {
                continue;
            }
            let read = Command::ReadQuarantined { after: Position::ZERO, limit: 1_000 };
            let page = match self.engine.call(&actor(user), read) {
                Ok(Answer::History(page)) => page,
                other => return Err(format!("the quarantine of user{user} was answered {other:?}")),
            };
            for mail in expected {
                if page.messages.iter().all(|message| Some(message.id) != mail.id) {
                    return Err(format!("{:?} is to wait in quarantine, and does not", mail.sent));
                }
                let is_local = machine_of(mail.sent.sender) == self.machine;
                self.covered.add(if is_local { "quarantine.durable" } else { "quarantine.relayed" });
                self.covered.add("admission.quarantine");
                self.covered.add("quarantine.read");
            }
        }
        Ok(())
    }

    /// Who was there for one step finds what they may find.
    fn aside(&self, may_take: bool) -> Result<(), String> {
        for owed in self.some(self.ledger.aside.owed(may_take, self.until), 0, 3) {
            owed.check(self.engine)?;
            owed.sentences.iter().for_each(|sentence| self.covered.add(sentence));
        }
        Ok(())
    }

    /// What is shown is what was sent, or what its author made of it.
    fn is_true(
        &self,
        user: User,
        id: MessageId,
        content: &rosterkit::Content,
        position: Position,
    ) -> Result<(), String> {
        let number = number_in(content);
        if let Some(mail) = self.ledger.mail_of(id) {
            let says = number.unwrap_or(0);
            if !mail.texts.contains(&says) {
                return Err(format!("user{user} sees {id} say {says}, and it may say {:?}", mail.texts));
            }
            if mail.texts.iter().any(|text| *text != u64::from(mail.sent.number)) {
                self.covered.add("amend.history");
            }
            if mail.was_refused {
                return Err(format!("user{user} sees {id}, which was refused: {:?}", mail.sent));
            }
        } else if let Some(mail) = number.and_then(|n| self.ledger.mails.get(&u32::try_from(n).ok()?)) {
            if mail.was_refused {
                return Err(format!("user{user} sees {:?}, which was refused", mail.sent));
            }
            if let Some(receipt) = mail.receipt {
                return Err(format!("{:?} has two ids, {id} and {receipt:?}", mail.sent));
            }
        } else if number.is_some_and(|number| number > 0 && number < u64::from(FIRST_EDIT)) {
            return Err(format!("user{user} sees {id} at {position:?}, which nobody sent: {number:?}"));
        }
        Ok(())
    }

    /// Every device, and who comes without a name, gets what it is owed, in order.
    fn readers(&self) -> Result<(), String> {
        for user in self.some(self.users(), 0, 3) {
            for reader in Reader::of(user) {
                let got = drain(self.engine, reader)?;
                self.reader(reader, &got)?;
            }
        }
        Ok(())
    }

    fn reader(&self, reader: Reader, got: &[(MessageId, Position)]) -> Result<(), String> {
        if !got.is_sorted_by_key(|(_, position)| *position) {
            return Err(format!("{reader:?} got them out of order: {got:?}"));
        }
        self.covered.add("delivery.offline-messages");
        let ids: BTreeSet<MessageId> = got.iter().map(|(id, _)| *id).collect();
        // Who writes to oneself through a rule has it twice, at two places.
        let places: BTreeSet<Position> = got.iter().map(|(_, position)| *position).collect();
        if places.len() != got.len() {
            return Err(format!("{reader:?} got one twice: {got:?}"));
        }
        for (id, position) in got {
            if let Some(before) = self.ledger.told.get(&(reader, *id)) {
                if before != position {
                    return Err(format!("{id} has moved for {reader:?}, from {before:?} to {position:?}"));
                }
                self.covered.add("delivery.redelivery");
            }
            if self.ledger.is_settled(reader, *id) {
                return Err(format!("{reader:?} got {id} again, long after it took it"));
            }
            if self
                .ledger
                .mail_of(*id)
                .is_some_and(|mail| mail.fate == Fate::Waits && mail.sent.recipient == reader.user)
            {
                return Err(format!("{reader:?} got {id}, which is to wait in quarantine"));
            }
        }
        for mail in
            self.ledger.mails.values().filter(|mail| self.ledger.is_over(mail, reader.user, self.until))
        {
            if mail.id.is_some_and(|id| ids.contains(&id)) {
                return Err(format!("{reader:?} got {:?}, which nobody took in time", mail.sent));
            }
            self.covered.add("expiry.undelivered");
        }
        for mail in self.ledger.mails.values().filter(|mail| self.ledger.owes_copy(mail, reader)) {
            if mail.receipt.is_some_and(|receipt| !ids.contains(&receipt.id)) {
                return Err(format!("{reader:?} has no copy of {:?}: {:?}", mail.sent, mail.receipt));
            }
            self.covered.add("delivery.copies");
        }
        for mail in self.ledger.mails.values().filter(|mail| self.ledger.owes(mail, reader, self.until)) {
            if mail.id.is_some_and(|id| !ids.contains(&id)) {
                let why = self.explain(mail, reader.user);
                return Err(format!("{:?} is lost for {reader:?}: {:?}; {why}", mail.sent, mail.receipt));
            }
            self.covered.add(match mail.sent.recipient {
                REDIRECTS => "ruled.redirect",
                FORKS => "ruled.fork",
                _ if mail.was_held => "quarantine.admit",
                _ if reader.device.is_some() => "delivery.devices",
                // Nobody took it, so it does not count as taken.
                _ => "delivery.claims",
            });
            if mail.sent.recipient == REDIRECTS || mail.sent.recipient == FORKS {
                self.covered.add("ruled.crash");
            }
        }
        Ok(())
    }

    /// What an engine itself says of a message that was lost.
    fn explain(&self, mail: &Mail, user: User) -> String {
        let anchor = Anchor::End;
        let request = HistoryRequest { peer: None, anchor, direction: Direction::Older, limit: 1_000 };
        let page = match self.engine.call(&actor(user), Command::ReadHistory(request)) {
            Ok(Answer::History(page)) => page,
            other => return format!("{other:?}"),
        };
        match page.messages.iter().find(|message| Some(message.id) == mail.id) {
            Some(found) => {
                let answer = self.engine.call(&actor(user), Command::ExplainDelivery(found.position));
                format!("user{user} is told {answer:?}")
            }
            None => format!("it is not in the history of user{user}"),
        }
    }

    /// Invitations, now and then: they are used up by that.
    fn invitations(&self) -> Result<(), String> {
        if matches!(self.depth, Depth::Some(seed) if seed % 4 > 0) {
            return Ok(());
        }
        self.ledger.invitations.check(self.engine, self.machine, self.until, self.covered)
    }

    /// What is sent now stands above everything that was ever shown.
    fn positions(&self) -> Result<(), String> {
        let Some(user) = self.users().first().copied() else { return Ok(()) };
        let send = rosterkit::Send::text(&address(user), "to oneself");
        match self.engine.call(&actor(user), Command::Send(send)) {
            Ok(Answer::Receipt(receipt)) if receipt.position > self.ledger.highest => Ok(()),
            other => Err(format!("behind {:?} comes {other:?}", self.ledger.highest)),
        }
    }
}

/// A session of a reader.
pub fn session(engine: &Engine, reader: Reader) -> rosterkit::Result<Session> {
    let options =
        SessionOptions { device: reader.device_name(), reads_messages: true, ..SessionOptions::default() };
    engine.open_session(&address(reader.user), options)
}

/// Reads and acknowledges everything that a reader is owed: ids and places.
pub fn drain(engine: &Engine, reader: Reader) -> Result<Vec<(MessageId, Position)>, String> {
    let session = session(engine, reader).map_err(|e| format!("a session for {reader:?}: {e}"))?;
    let mut got = Vec::new();
    loop {
        let events = session.next_events(1_000, Duration::ZERO).map_err(|e| format!("{reader:?}: {e}"))?;
        let Some(last) = events.last() else { return Ok(got) };
        session.ack(last.seq);
        for event in events {
            if let EventBody::Message(message) = event.body {
                got.push((message.id, message.position));
            }
        }
    }
}

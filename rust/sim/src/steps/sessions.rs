//! Sessions that come, read and go; hosts that take, fail and vanish.

use super::Random;
use crate::host::{Host, Manner};
use crate::ledger::{Fate, Left, number_sent};
use crate::people::{Reader, address, user_of};
use crate::world::{Came, Client, Machine, Shows, Step, World};
use rosterkit::{Answer, Consumer, EventBody, Session, SessionOptions, SetPresence, State};
use std::sync::Arc;
use std::time::Duration;

impl World {
    pub(super) fn open(&mut self, machine: usize, random: &mut Random) -> Step {
        let user = self.here(machine, random);
        let readers = Reader::of(user);
        let reader = readers[random.usize(..readers.len())];
        let vanishes = reader.device.is_none() && random.u8(0..5) == 0;
        let host = (!vanishes && reader.device.is_none() && random.u8(0..3) == 0).then(|| {
            let manner = [Manner::Takes, Manner::Fails, Manner::Calls][random.usize(..3)];
            let Machine { engine, disk, .. } = &self.machines[machine];
            let host = |engine| Host::new(manner, engine, reader, disk, &self.clock);
            engine.as_ref().map(|engine| Arc::new(host(engine)))
        });
        let host = host.flatten();
        let consumer = match &host {
            Some(host) => Consumer::Listener(Arc::clone(host) as Arc<_>),
            None => Consumer::Pull,
        };
        let options = SessionOptions {
            device: reader.device_name(),
            lease_ms: vanishes.then_some(60_000),
            reads_messages: true,
            consumer,
            ..SessionOptions::default()
        };
        let session = match self.engine(machine)?.open_session(&address(user), options) {
            Ok(session) if !self.machines[machine].disk.is_off() => session,
            Ok(_) => return Ok(()),
            Err(error) => {
                self.history.say(format_args!("{error}"));
                let came = self.came(machine, Err(error))?;
                return self.has_failed(machine, "a session", &came);
            }
        };
        let mut client = Client { host, ..Client::new(reader, session) };
        if vanishes {
            // It shows itself, and is never heard of again.
            let shown = client.session.set_presence(SetPresence::state(State::Online));
            let came = self.came(machine, shown.map(|()| Answer::Done))?;
            if !matches!(came, Came::Done(_)) {
                return Ok(());
            }
            let order = self.number();
            client.shows = Some(Shows { state: State::Online, note: None, until: None, order });
            client.ends_at = Some(self.now + 60_000);
        }
        self.come(machine, client)
    }

    /// A session is there. A newer one of a device takes over.
    pub(super) fn come(&mut self, machine: usize, client: Client) -> Step {
        let reader = client.reader;
        if let Some(device) = reader.device {
            let clients = &mut self.machines[machine].clients;
            let old =
                clients.iter().find(|(_, c)| c.reader.user == reader.user && c.reader.device == Some(device));
            if let Some(old) = old.map(|(number, _)| *number)
                && let Some(old) = clients.remove(&old)
            {
                let events = old.session.next_events(10_000, Duration::ZERO).unwrap_or_default();
                let ended = |event: &rosterkit::Event| {
                    matches!(event.body, EventBody::Ended(rosterkit::EndReason::Replaced))
                };
                if !events.iter().any(ended) {
                    return Err(format!("a session of {reader:?} goes on beside its successor: {events:?}"));
                }
                self.covered.add("session.device-taken-over");
            }
        }
        let number = self.number();
        self.machines[machine].clients.insert(number, client);
        Ok(())
    }

    pub(super) fn any_client(&mut self, machine: usize, random: &mut Random) -> Option<u32> {
        let clients = &self.machines[machine].clients;
        let here: Vec<u32> =
            clients.iter().filter(|(_, c)| c.ends_at.is_none()).map(|(number, _)| *number).collect();
        (!here.is_empty()).then(|| here[random.usize(..here.len())])
    }

    pub(super) fn close(&mut self, machine: usize, random: &mut Random) -> Step {
        self.collect()?;
        if let Some(number) = self.any_client(machine, random)
            && let Some(client) = self.machines[machine].clients.remove(&number)
        {
            client.host.iter().for_each(|host| host.vanish());
            if random.bool() {
                client.session.close();
            }
        }
        Ok(())
    }

    pub(super) fn read(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some(number) = self.any_client(machine, random) else { return self.open(machine, random) };
        let max = random.usize(1..24);
        let does = random.u8(0..10);
        if self.machines[machine].clients[&number].host.is_some() {
            self.engine(machine)?.advance(0).ok();
            return Ok(());
        }
        if !self.take_events(machine, number, max)? {
            return Ok(());
        }
        let Some(client) = self.machines[machine].clients.get_mut(&number) else { return Ok(()) };
        match does {
            0 => {
                // What failed three times alone is parked, and no longer owed: nobody fails that often here.
                client.in_hand.clear();
                client.session.hand_back();
            }
            1 | 2 => {}
            _ => self.acknowledge(machine, number),
        }
        Ok(())
    }

    /// Takes what a session is told. False when it has ended.
    pub(super) fn take_events(&mut self, machine: usize, number: u32, max: usize) -> Result<bool, String> {
        let Some(client) = self.machines[machine].clients.get(&number) else { return Ok(false) };
        let (session, reader): (Session, Reader) = (client.session.clone(), client.reader);
        let events = match session.next_events(max, Duration::ZERO) {
            Ok(events) => events,
            Err(error) => {
                self.history.say(format_args!("{reader:?}: {error}"));
                self.machines[machine].clients.remove(&number);
                return Ok(false);
            }
        };
        if self.machines[machine].disk.is_off() {
            return Ok(false);
        }
        let mut lefts = Vec::new();
        let Some(client) = self.machines[machine].clients.get_mut(&number) else { return Ok(false) };
        let mut is_over = false;
        let mut replies = Vec::new();
        for event in &events {
            self.history.say(format_args!("{reader:?} {event:?}"));
            match &event.body {
                EventBody::Message(message) => {
                    client.in_hand.insert(message.id, self.now);
                    let sent = number_sent(&message.content).map(|number| (number, message.content.reply_to));
                    replies.extend(sent);
                    let number = number_sent(&message.content);
                    lefts.push(Left::Told { reader, id: message.id, position: message.position, number });
                }
                EventBody::Presence { subject, presence } => {
                    if let Some(user) = user_of(subject) {
                        let note = presence.note.as_ref().map(|note| note.to_string());
                        client.saw.insert(user, (presence.state, note));
                    }
                }
                EventBody::RosterChanged { buddy, .. } => {
                    client.roster.buddies.insert(buddy.address.clone(), (**buddy).clone());
                }
                EventBody::Query { query, .. } => client.asked.push(*query),
                EventBody::QueryAnswered { query, body } => client.answered.push((*query, body.clone())),
                EventBody::Resync => client.is_behind = true,
                EventBody::Ended(_) => is_over = true,
                _ => {}
            }
        }
        for (number, reply_to) in replies {
            let mails = &self.machines[machine].ledger.mails;
            if let Some(mail) = mails.get(&number).filter(|mail| mail.sent.reply_to != reply_to) {
                return Err(format!("{:?} came as an answer to {reply_to:?}", mail.sent));
            }
            self.covered.add("message.reply");
        }
        for left in lefts {
            self.check_told(machine, &left, true)?;
            self.note(machine, left);
        }
        if is_over {
            self.machines[machine].clients.remove(&number);
        }
        Ok(!is_over)
    }

    /// What a session is told was sent to it, and stands where it stood before.
    pub(super) fn check_told(&self, machine: usize, left: &Left, is_now: bool) -> Step {
        let Left::Told { reader, id, position, number } = left else { return Ok(()) };
        let ledger = &self.machines[machine].ledger;
        if let Some(before) = ledger.told.get(&(*reader, *id))
            && before != position
        {
            return Err(format!("{id} has moved for {reader:?}, from {before:?} to {position:?}"));
        }
        let mail = number.and_then(|number| ledger.mails.get(&number));
        // What was told before comes again; and a listener may have been told any time since it was looked at last.
        let is_new = is_now && !ledger.told.contains_key(&(*reader, *id));
        if is_new && mail.is_some_and(|mail| ledger.is_over(mail, reader.user, self.now)) {
            return Err(format!("{reader:?} was told {mail:?} too late, at {}", self.now));
        }
        if let Some(mail) = mail
            && mail.sent.sender != reader.user
            && !mail.sent.reaches().contains(&reader.user)
        {
            return Err(format!("{reader:?} was told {:?}, which is not for them", mail.sent));
        }
        if let Some(mail) = mail.filter(|mail| mail.fate == Fate::Waits) {
            if mail.sent.recipient == reader.user {
                return Err(format!("{reader:?} was told {:?}, which is to wait in quarantine", mail.sent));
            }
            self.covered.add("quarantine.unseen");
        }
        if let Some(mail) = mail
            && mail.was_refused
        {
            return Err(format!("{reader:?} was told {:?}, which was refused", mail.sent));
        }
        Ok(())
    }

    pub(super) fn acknowledge(&mut self, machine: usize, number: u32) {
        self.notice(machine);
        let now = self.now;
        let Some(client) = self.machines[machine].clients.get_mut(&number) else { return };
        client.session.ack(u64::MAX);
        let (reader, ids) = (client.reader, std::mem::take(&mut client.in_hand));
        for (id, came) in ids {
            let at = self.machines[machine].ledger.acknowledged(came, now);
            self.note(machine, Left::Acked { reader, id, at });
        }
    }

    /// What listeners were given since the last time.
    pub(crate) fn collect(&mut self) -> Step {
        for machine in 0..self.machines.len() {
            let clients = &self.machines[machine].clients;
            let given: Vec<Left> =
                clients.values().filter_map(|client| Some(client.host.as_ref()?.take())).flatten().collect();
            for left in given {
                self.history.say(format_args!("{left:?}"));
                self.check_told(machine, &left, false)?;
                self.machines[machine].ledger.take(&left);
            }
        }
        Ok(())
    }
}

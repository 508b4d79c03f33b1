//! Observers: of each buddy and each conversation the newest, and nobody is there because of them.

use super::Random;
use crate::world::{Step, World};
use rosterkit::{
    Answer, Command, DeviceName, EventBody, Send, SessionOptions, SetPresence, State, Status, Word,
};

/// What an observer is told of a buddy: who they are to the account, what they show, and their conversation's latest text
/// and how much of it is unread.
#[derive(Debug, Default, PartialEq)]
struct Told {
    status: Vec<Status>,
    shows: Vec<State>,
    latest: Vec<(String, u32)>,
    marks: usize,
}

impl World {
    /// Somebody has two observers and no session; a buddy writes and shows this and that.
    pub(super) fn observe_at_length(&mut self, machine: usize, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        let [somebody, buddy] = self.guests(machine)?;
        self.befriend_guests(machine, &somebody, &buddy)?;
        buddy.shows(State::Online)?;
        somebody.session.close();
        let device = Some(DeviceName::new("widget").map_err(|error| error.to_string())?);
        let plain = SessionOptions { observes: true, ..SessionOptions::default() };
        let with_device = SessionOptions { device, ..plain.clone() };
        let mut observers = Vec::new();
        for options in [plain, with_device] {
            observers.push(self.session_of(machine, &somebody.address, options)?);
        }
        self.advance(1_500)?;
        let snapshot = Told {
            status: vec![Status::Confirmed],
            shows: vec![State::Online],
            latest: Vec::new(),
            marks: 1,
        };
        for observer in &observers {
            self.compare_observer(machine, observer, &buddy.address, &snapshot)?;
        }
        let mut sent = 0;
        for _ in 0..random.usize(1..4) {
            let state = [State::Busy, State::Away, State::Chat][random.usize(..3)];
            let mut latest = Vec::new();
            let count = random.usize(1..6);
            let mut commands = Vec::new();
            for _ in 0..count {
                sent += 1;
                latest = vec![(format!("text {sent}"), sent)];
                commands.push((
                    buddy.actor(),
                    Command::Send(Send::text(&somebody.address, &format!("text {sent}"))),
                ));
            }
            for result in self.at_once(machine, commands)? {
                match result {
                    Ok(Answer::Receipt(receipt)) if receipt.outcome == Word::Stored => {}
                    other => {
                        return Err(format!(
                            "nobody but observers is there, and a send was answered {other:?}"
                        ));
                    }
                }
            }
            let changes = random.usize(0..4);
            for _ in 0..changes {
                let note = Some(format!("note {}", self.number()));
                let shown = SetPresence { note, ..SetPresence::state(state) };
                buddy.ask(Command::SetPresence(shown))?;
            }
            self.advance(2_000)?;
            let shows = if changes > 0 { vec![state] } else { Vec::new() };
            let expected = Told { status: Vec::new(), shows, latest, marks: 0 };
            for observer in &observers {
                self.compare_observer(machine, observer, &buddy.address, &expected)?;
            }
            self.covered.add("observers.newest-wins");
        }
        match buddy.ask(Command::ReadPresence(somebody.address.clone()))? {
            Answer::Presence(shown) if shown.state == State::Offline => {}
            other => return Err(format!("only observers are there, and {} is {other:?}", somebody.address)),
        }
        self.covered.add("observers.not-there");
        // What the observers were told of is still to be taken, by whoever comes.
        let reads = self.session_of(machine, &somebody.address, SessionOptions::default())?;
        let messages = self.told(machine, &reads)?;
        let messages = messages.iter().filter(|body| matches!(body, EventBody::Message(_))).count();
        if messages != sent as usize {
            return Err(format!("{sent} were sent while observers were there, and {messages} came"));
        }
        self.covered.add("observers.own-device");
        Ok(())
    }

    fn compare_observer(
        &self,
        machine: usize,
        observer: &rosterkit::Session,
        buddy: &rosterkit::Address,
        expected: &Told,
    ) -> Step {
        let mut told = Told::default();
        for body in self.told(machine, observer)? {
            match body {
                EventBody::RosterChanged { buddy: one, status } if one.address == *buddy => {
                    told.status.push(status)
                }
                EventBody::Presence { subject, presence } if subject == *buddy => {
                    told.shows.push(presence.state)
                }
                EventBody::ConversationChanged(one) if one.peer == *buddy => {
                    let text = one.latest.content.as_text().unwrap_or_default().to_owned();
                    told.latest.push((text, one.unread));
                }
                EventBody::SnapshotEnd => told.marks += 1,
                // Its own account's presence.
                EventBody::Presence { subject, presence }
                    if subject == *observer.account() && presence.state == State::Offline => {}
                other => return Err(format!("an observer was told {other:?}")),
            }
        }
        if told != *expected {
            return Err(format!("{} was told {told:?}, not {expected:?}", observer.account()));
        }
        Ok(())
    }
}

//! Questions, and what must be true of the answers.

use super::Random;
use crate::audit::Depth;
use crate::facts::{Place, content, visibility};
use crate::hosting::hosted;
use crate::ledger::{Mail, Unsure};
use crate::people::{ORDINARY, User, actor, address, machine_of, wall};
use crate::world::{Came, Machine, Step, World};
use rosterkit::{
    Answer, Body, ChatState, Command, ConversationsRequest, ErrorKind, EventBody, HistoryRequest, Position,
    Receipt, SearchRequest, SessionOptions, Visibility,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl World {
    pub(super) fn look(&mut self, machine: usize, random: &mut Random) -> Step {
        self.machines[machine].disk.heal();
        self.let_recover(machine)?;
        self.advance(1_500)?;
        if self.machines[machine].disk.is_off() {
            return Ok(());
        }
        self.audit(machine, Depth::Some(random.u64(..))).running()
    }

    /// Questions that change nothing, whatever the disk does meanwhile.
    pub(super) fn ask(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((user, other)) = self.two(machine, random) else { return Ok(()) };
        match random.u8(0..9) {
            0 => return self.read_file_of(machine, user, other),
            1 => return self.explain(machine, user, random),
            _ => {}
        }
        let ask = match random.u8(0..6) {
            0 => Command::ReadConversations(ConversationsRequest { before: None, limit: 10 }),
            1 => Command::SearchHistory(SearchRequest {
                text: "NUMBER".into(),
                peer: None,
                before: None,
                limit: 20,
            }),
            2 => Command::ExplainPresence { viewer: address(other) },
            3 => Command::ExplainAdmission { sender: address(other) },
            4 => Command::ListFiles { prefix: String::new() },
            _ => Command::Typing { recipient: address(other), state: ChatState::Composing },
        };
        let came = self.call(machine, &actor(user), ask)?;
        match &came {
            Came::Done(Answer::Found(found)) => {
                let has_it = |message: &rosterkit::Message| {
                    message.content.as_text().is_some_and(|text| text.to_uppercase().contains("NUMBER"))
                };
                let newest_first = found.messages.is_sorted_by(|a, b| a.position > b.position);
                if !found.messages.iter().all(has_it) || !newest_first {
                    return Err(format!("a search found {:?}", found.messages));
                }
                self.covered.add("history.search");
            }
            Came::Done(Answer::Conversations(page)) => {
                if !page.conversations.is_sorted_by(|a, b| a.position > b.position) {
                    return Err("conversations are not the latest first".into());
                }
                self.covered.add("conversations.pages");
            }
            Came::Done(Answer::Explanation(json)) if json.contains("verdict") => {
                let expected = match self.machines[machine].ledger.admits(user, other) {
                    Ok(Some(true)) => "admitted",
                    Ok(Some(false)) => "forbidden",
                    Ok(None) => "quarantined",
                    Err(Unsure) => return Ok(()),
                };
                if !json.contains(&format!(r#""verdict":"{expected}""#)) {
                    return Err(format!("user{other} is {expected} by user{user}, and explained by {json}"));
                }
                self.check_facts(machine, user, other, json)?;
                self.covered.add("explain.admission");
            }
            _ => {}
        }
        self.has_failed(machine, "a question", &came)
    }

    /// Another account's public files can be read by who is not blocked, and nothing else of it.
    fn read_file_of(&mut self, machine: usize, reader: User, owner: User) -> Step {
        let read = |path: &str| Command::ReadFile { owner: Some(address(owner)), path: path.into() };
        match self.call(machine, &actor(reader), read("private/number-1"))? {
            Came::Done(answer) => return Err(format!("user{reader} read what is private: {answer:?}")),
            Came::Unknown => return Ok(()),
            Came::Not(_) => {}
        }
        let ledger = &self.machines[machine].ledger;
        let (blocked, value) =
            (ledger.value(Place::Blocked(owner, reader)), ledger.value(Place::File(owner, 0)));
        let came = self.call(machine, &actor(reader), read("public/number-0"))?;
        let (Ok(blocked), Ok(value)) = (blocked, value) else { return Ok(()) };
        let expected = if blocked == Some(1) { None } else { value };
        match came {
            Came::Done(Answer::File(bytes)) if expected.is_some_and(|value| content(value) == bytes) => {}
            Came::Not(error) if error.kind == ErrorKind::NotFound && expected.is_none() => {}
            Came::Not(error) if matches!(error.kind, ErrorKind::Storage { .. }) => {}
            Came::Unknown => {}
            Came::Done(_) => {
                return Err(format!("user{reader} read another file of user{owner} than {expected:?}"));
            }
            Came::Not(error) => {
                return Err(format!("user{reader} could not read {expected:?} of user{owner}: {error}"));
            }
        }
        self.covered.add("files.public");
        Ok(())
    }

    /// An account learns what became of what it sent.
    fn explain(&mut self, machine: usize, user: User, random: &mut Random) -> Step {
        let mails = self.machines[machine].ledger.mails.values();
        let sent: Vec<Receipt> = mails
            .filter(|mail| {
                mail.sent.sender == user && mail.gone_for.is_empty() && mail.sent.expires.is_none()
            })
            .filter_map(|mail| mail.receipt)
            .collect();
        let Some(receipt) = random.choice(&sent) else { return Ok(()) };
        let explain = Command::ExplainDelivery(receipt.position);
        match self.call(machine, &actor(user), explain)? {
            Came::Done(Answer::Explanation(json)) if !json.contains(&receipt.id.to_string()) => {
                Err(format!("{receipt:?} is explained by {json}"))
            }
            // Where nothing is kept it may be gone.
            Came::Not(error) if user != 2 && error.kind == ErrorKind::NotFound => {
                Err(format!("{receipt:?} is not explained: {error}"))
            }
            _ => {
                self.covered.add("explain.delivery");
                Ok(())
            }
        }
    }

    /// A session asks another: it is answered by who may be seen, and by nobody else.
    pub(super) fn query(&mut self, machine: usize, random: &mut Random) -> Step {
        self.machines[machine].disk.heal();
        self.let_recover(machine)?;
        let clients = self.machines[machine].clients.iter();
        let pulled: Vec<u32> = clients
            .filter(|(_, c)| c.host.is_none() && c.ends_at.is_none())
            .map(|(number, _)| *number)
            .collect();
        let (asks, answers) = (random.choice(&pulled).copied(), random.choice(&pulled).copied());
        let (Some(asks), Some(answers)) = (asks, answers.filter(|answers| Some(*answers) != asks)) else {
            return self.open(machine, random);
        };
        // What was asked before is nobody's concern any more.
        for number in [asks, answers] {
            if !self.take_all(machine, number)? {
                return Ok(());
            }
            if let Some(client) = self.machines[machine].clients.get_mut(&number) {
                client.asked.clear();
                client.answered.clear();
            }
        }
        let clients = &self.machines[machine].clients;
        let (Some(asking), Some(asked)) = (clients.get(&asks), clients.get(&answers)) else { return Ok(()) };
        let (viewer, subject) = (asking.reader.user, asked.reader.user);
        let ledger = &self.machines[machine].ledger;
        let sees = match (
            ledger.view(subject, viewer),
            ledger.value(Place::Blocked(subject, viewer)),
            ledger.value(Place::Visibility(subject, viewer)),
        ) {
            _ if viewer == subject => true,
            (Ok(view), Ok(blocked), Ok(visible)) => {
                view.from() && blocked != Some(1) && visible.map(visibility) != Some(Visibility::Hidden)
            }
            _ => return Ok(()),
        };
        let sees = sees && (asked.shows.is_some() && !asked.is_invisible || viewer == subject);
        let body = Body::Text("what is it?".into());
        let query = match asking.session.query(&asked.session.address(), body) {
            Ok(query) => query,
            Err(error) => {
                self.history.say(format_args!("{error}"));
                return Ok(());
            }
        };
        if !self.take_all(machine, answers)? {
            return Ok(());
        }
        let Some(asked) = self.machines[machine].clients.get_mut(&answers) else { return Ok(()) };
        let came = asked.asked.pop();
        if viewer != subject && came.is_some() != sees {
            return Err(format!("user{viewer} asks user{subject}, whom they see: {sees}; it came: {came:?}"));
        }
        let answer = came.map(|_| Body::Text("it is this".into()));
        if let Some(came) = came {
            let session = asked.session.clone();
            session
                .answer_query(came, answer.clone())
                .map_err(|error| format!("an answer was refused: {error}"))?;
            self.covered.add("queries.answered");
        } else {
            self.covered.add("queries.nobody");
        }
        if !self.take_all(machine, asks)? {
            return Ok(());
        }
        let Some(asking) = self.machines[machine].clients.get_mut(&asks) else { return Ok(()) };
        let told = asking.answered.pop();
        if told != Some((query, answer.clone())) {
            return Err(format!(
                "user{viewer} asked user{subject}, and is told {told:?} instead of {answer:?}"
            ));
        }
        Ok(())
    }

    /// Takes and acknowledges everything that a session is told. False when it has ended.
    pub(super) fn take_all(&mut self, machine: usize, number: u32) -> Result<bool, String> {
        self.engine(machine)?.advance(0).map_err(|error| error.to_string())?;
        for _ in 0..3 {
            if !self.take_events(machine, number, 1_000)? {
                return Ok(false);
            }
            self.acknowledge(machine, number);
        }
        Ok(true)
    }

    /// An observer is told what there is: the conversations and buddies that a question would be answered with.
    pub(super) fn observe(&mut self, machine: usize, random: &mut Random) -> Step {
        self.machines[machine].disk.heal();
        self.let_recover(machine)?;
        let user = self.here(machine, random);
        let options = SessionOptions { observes: true, ..SessionOptions::default() };
        let observer = match self.engine(machine)?.open_session(&address(user), options) {
            Ok(observer) => observer,
            Err(error) => {
                let came = self.came(machine, Err(error))?;
                return self.has_failed(machine, "an observer", &came);
            }
        };
        self.advance(1_500)?;
        let events = observer.next_events(10_000, Duration::ZERO).map_err(|error| error.to_string())?;
        observer.close();
        let (mut conversations, mut buddies, mut is_whole) = (BTreeMap::new(), BTreeSet::new(), false);
        for event in &events {
            match &event.body {
                EventBody::ConversationChanged(one) => {
                    conversations.insert(one.peer.clone(), (one.latest.id, one.unread));
                }
                EventBody::RosterChanged { buddy, .. } => drop(buddies.insert(buddy.address.clone())),
                EventBody::SnapshotEnd => is_whole = true,
                EventBody::Message(_) => return Err("an observer took a message".into()),
                _ => {}
            }
        }
        let all = ConversationsRequest { before: None, limit: 1_000 };
        let page = self.call(machine, &actor(user), Command::ReadConversations(all))?;
        let roster = self.call(machine, &actor(user), Command::ReadRoster { since: Position::ZERO })?;
        let (Came::Done(Answer::Conversations(page)), Came::Done(Answer::Roster(roster))) = (page, roster)
        else {
            return Ok(());
        };
        let expected: BTreeMap<_, _> =
            page.conversations.into_iter().map(|one| (one.peer, (one.latest.id, one.unread))).collect();
        if !is_whole || conversations != expected {
            return Err(format!(
                "an observer of user{user} was told {conversations:?}, whole {is_whole}: {expected:?}"
            ));
        }
        let expected: BTreeSet<_> = roster.buddies.into_iter().map(|buddy| buddy.address).collect();
        if buddies != expected {
            return Err(format!("an observer of user{user} was told of {buddies:?}, who are {expected:?}"));
        }
        self.covered.add("observers.snapshot");
        Ok(())
    }

    /// What became of a message that was given to the link stands in its sender's history.
    pub(super) fn check_outcome(&self, from: &Machine, receipt: Receipt, mail: &Mail) -> Step {
        if mail.gone_for.contains(&mail.sent.sender) || mail.sent.sender == 2 {
            return Ok(());
        }
        let Some(engine) = &from.engine else { return Ok(()) };
        let anchor = rosterkit::Anchor::Row(Position(receipt.position.0 - 1));
        let request = HistoryRequest { peer: None, anchor, direction: rosterkit::Direction::Newer, limit: 1 };
        match engine.call(&actor(mail.sent.sender), Command::ReadHistory(request)) {
            Ok(Answer::History(page)) => match page.messages.first() {
                Some(message) if message.id == receipt.id && message.outcome.is_some() => {
                    self.covered.add("relay.outcome");
                    Ok(())
                }
                other => Err(format!("nobody says what became of {:?}: {other:?}", mail.sent)),
            },
            other => Err(format!("the history of user{} was answered {other:?}", mail.sent.sender)),
        }
    }

    /// Everything goes into a file of another format, and another engine makes the same of it.
    pub(super) fn export(&mut self, machine: usize, _: &mut Random) -> Step {
        self.machines[machine].disk.heal();
        self.let_recover(machine)?;
        self.advance(1_500)?;
        let directory = crate::world::folder().map_err(|e| e.to_string())?;
        let path = directory.path().join("export.xml");
        let engine = self.engine(machine)?;
        engine.export_xep0227(&path).map_err(|error| format!("an export: {error}"))?;
        let options = rosterkit::EngineOptions::hosting(hosted(machine));
        let store = rosterkit::store::memory::MemoryStore::new();
        let other = rosterkit::Engine::open_virtual(store, options, 1, wall(self.now));
        let other = other.map_err(|error| format!("an engine for an export: {error}"))?;
        other
            .import_xep0227(&path, |_| Ok(()))
            .map_err(|error| format!("an export that does not come in: {error}"))?;
        for user in ORDINARY.into_iter().filter(|user| machine_of(*user) == machine) {
            let buddies = |engine: &rosterkit::Engine| -> Result<BTreeMap<_, _>, String> {
                let read = Command::ReadRoster { since: Position::ZERO };
                match engine.call(&actor(user), read) {
                    Ok(Answer::Roster(roster)) => Ok(roster
                        .buddies
                        .into_iter()
                        .filter(|buddy| buddy.listed)
                        .map(|buddy| (buddy.address.clone(), (buddy.name.clone(), buddy.status())))
                        .collect()),
                    other => Err(format!("a roster was answered {other:?}")),
                }
            };
            let (here, there) = (buddies(self.engine(machine)?)?, buddies(&other)?);
            if here != there {
                return Err(format!("user{user} has {there:?} out of an export, and {here:?}"));
            }
            for place in [Place::Card(user), Place::File(user, 0), Place::File(user, 1)] {
                let (here, there) = (place.read(self.engine(machine)?)?, place.read(&other)?);
                if here != there {
                    return Err(format!("{place:?} is {there:?} out of an export, and {here:?}"));
                }
            }
            let blocked = |engine: &rosterkit::Engine| match engine.call(&actor(user), Command::ReadBlocked) {
                Ok(Answer::Blocked(mut all)) => {
                    all.sort();
                    Ok(all)
                }
                other => Err(format!("who is blocked was answered {other:?}")),
            };
            if blocked(self.engine(machine)?)? != blocked(&other)? {
                return Err(format!("user{user} blocks others out of an export"));
            }
        }
        for sentence in ["export.round-trip", "import.xep0227", "import.blocked"] {
            self.covered.add(sentence);
        }
        Ok(())
    }

    pub(super) fn wait(&mut self, _: usize, random: &mut Random) -> Step {
        let millis = match random.u8(0..10) {
            0..5 => random.u64(1..1_500),
            5..8 => random.u64(1_500..8_000),
            8 => random.u64(60_000..200_000),
            _ => random.u64(600_000..2_000_000),
        };
        self.advance(millis)?;
        for machine in 0..self.machines.len() {
            self.check_ended(machine)?;
        }
        Ok(())
    }
}

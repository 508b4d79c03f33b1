//! Sends: one, a repeat, many, several under way together.

use crate::run::{Drive, Live, Past, Run, Step, address};
use rosterkit::{
    Actor, Address, Answer, ClientId, Command, Content, ErrorKind, Position, Receipt, Send, SessionId,
    SessionOptions,
};
use rosterkit_promises::mortal::Fate;
use rosterkit_promises::reference::{LIVE, Row, SeenBy, Who};
use std::collections::BTreeMap;
use std::time::Duration;

impl Run {
    pub(crate) fn next_text(&mut self) -> String {
        self.sent += 1;
        format!("message {}", self.sent)
    }

    /// A send of an account, perhaps from a session, under a client id of its own.
    pub(crate) fn send(&mut self, fate: Fate) -> Step {
        let Some((sender, from)) = self.any_account() else { return Ok(()) };
        let recipient = self.any_user();
        // What a session claims by sending to itself may be lost with the process, too.
        let session = if self.dying { None } else { self.session_of(sender) };
        let text = self.next_text();
        let expected = self.model.word(sender, &recipient);
        let send = || Send {
            recipient: recipient.clone(),
            content: Content::text(&text),
            client_id: Some(ClientId::new(&text).unwrap()),
            expires: None,
        };
        let actor = Actor { account: from.clone(), session };
        self.store.decide(fate);
        let mut result = self.engine().call(&actor, Command::Send(send()));
        if fate == Fate::Dead {
            // Nobody heard the answer; the next engine is asked.
            self.restart_from_death()?;
            let actor = Actor { account: from.clone(), session: None };
            result = self.engine().call(&actor, Command::Send(send()));
        }
        let met = self.met(fate);
        while matches!(&result, Err(error) if matches!(error.kind, ErrorKind::Storage { .. })) {
            result = self.engine().call(&actor, Command::Send(send()));
        }
        self.say(format!("{from} {session:?} to {recipient}: {text}: {result:?}"));
        match (result, expected) {
            (Ok(Answer::Receipt(receipt)), expected) => {
                // After a failure the sessions that were there at the first attempt may be gone.
                if fate == Fate::Written && expected != Ok(receipt.outcome) {
                    return Err(format!("answered {:?} instead of {expected:?}", receipt.outcome));
                }
                self.past.push(Past {
                    sender,
                    recipient: recipient.clone(),
                    text: text.clone(),
                    client_id: text.clone(),
                    receipt,
                });
                let row = self.row(sender, session, &recipient, text, receipt);
                match met {
                    Some(Fate::WrittenUnknown) => {
                        // It was there when the sessions were attached again.
                        self.accept(row)?;
                        self.model.attach_all_again();
                        self.absorb(Vec::new())
                    }
                    Some(Fate::Lost) => {
                        self.model.attach_all_again();
                        self.absorb(vec![row])
                    }
                    _ => self.absorb(vec![row]),
                }
            }
            (Err(error), Err(kind)) if error.kind == kind => Ok(()),
            (Err(error), _) if fate == Fate::Dead && error.kind == ErrorKind::NotFound => Ok(()),
            (other, expected) => Err(format!("answered {other:?} instead of {expected:?}")),
        }
    }

    pub(crate) fn row(
        &self,
        sender: Who,
        session: Option<SessionId>,
        to: &Address,
        text: String,
        receipt: Receipt,
    ) -> Row {
        Row {
            position: Some(receipt.position),
            id: Some(receipt.id),
            sender,
            recipient: self.model.who(to).unwrap(),
            text: Some(text),
            earlier: Vec::new(),
            amends: None,
            device: session.and_then(|s| self.model.sessions.get(&s)?.device.clone()),
            session,
            seen_by: SeenBy::Both,
        }
    }

    /// A repeat is answered as the first was; the same id for something else is refused.
    pub(crate) fn repeat(&mut self) -> Step {
        if self.past.is_empty() {
            return Ok(());
        }
        let past = &self.past[self.random.usize(..self.past.len())];
        if !self.model.accounts[past.sender].alive {
            return Ok(());
        }
        let same = self.random.bool();
        let content = if same { Content::text(&past.text) } else { Content::text("something else") };
        let client_id = Some(ClientId::new(&past.client_id).unwrap());
        let send = Send { recipient: past.recipient.clone(), content, client_id, expires: None };
        let result = self.engine().send(&self.model.accounts[past.sender].address, send);
        match result {
            Ok(receipt) if same && receipt == past.receipt => Ok(()),
            Err(error) if !same && error.kind == ErrorKind::Conflict => Ok(()),
            other => Err(format!("a repeat of {}, the same {same}, was answered {other:?}", past.text)),
        }
    }

    /// More than fits into a session's queue.
    pub(crate) fn send_many(&mut self) -> Step {
        // Rarely: it takes as long as many others together.
        if self.random.u8(..8) > 0 {
            return self.read();
        }
        let Some((sender, from)) = self.any_account() else { return Ok(()) };
        let Some((_, to)) = self.any_account() else { return Ok(()) };
        if self.model.word(sender, &to).is_err() {
            return Ok(());
        }
        let texts: Vec<String> = (0..LIVE + 50).map(|_| self.next_text()).collect();
        self.say(format!("{from} to {to}: {} to {}", texts[0], texts[texts.len() - 1]));
        self.submit(sender, &from, texts.into_iter().map(|text| (to.clone(), text)).collect())
    }

    /// Sends that are under way together, to different accounts, with changes between them and a session opened.
    pub(crate) fn send_at_once(&mut self) -> Step {
        let Some((sender, from)) = self.any_account() else { return Ok(()) };
        let mut sends = Vec::new();
        for _ in 0..self.random.usize(2..6) {
            let Some((_, to)) = self.any_account() else { continue };
            if self.model.word(sender, &to).is_ok() {
                let text = self.next_text();
                sends.push((to, text));
            }
        }
        self.say(format!("{from}: {sends:?}"));
        self.submit(sender, &from, sends)
    }

    pub(crate) fn submit(&mut self, sender: Who, from: &Address, sends: Vec<(Address, String)>) -> Step {
        let actor = Actor { account: from.clone(), session: None };
        let mut commands: Vec<(Actor, Command)> = Vec::new();
        let mut places = Vec::new();
        for (to, text) in &sends {
            // A change of either end, or of somebody else, that makes no difference to any of them.
            if let (0, Some((_, account))) = (self.random.u8(..4), self.any_account()) {
                let (address, blocked) = (address("nobody@example.org"), self.random.bool());
                commands.push((Actor { account, session: None }, Command::Block { address, blocked }));
            }
            let (recipient, content) = (to.clone(), Content::text(text));
            places.push(commands.len());
            commands.push((
                actor.clone(),
                Command::Send(Send { recipient, content, client_id: None, expires: None }),
            ));
        }
        // A session that comes while they are under way gets each of them once, however it falls. Only where nobody
        // else takes them is it sure who has them in hand; and of one that had to wait for a change, or on threads for a
        // processor, it is not sure of which of its own account's sends it gets a copy: those that were written before
        // it came are not owed to it.
        let waits = self.drive == Drive::Threads || places.len() < commands.len();
        let newcomer = sends.last().map(|(to, _)| to.clone()).filter(|to| {
            let who = self.model.who(to);
            self.model.sessions.values().all(|s| Some(s.who) != who) && !(waits && who == Some(sender))
        });
        if let Some(to) = &newcomer {
            let options = SessionOptions { reads_messages: true, ..Default::default() };
            commands.push((Actor { account: to.clone(), session: None }, Command::OpenSession(options)));
        }
        let tickets = self.engine().submit(commands).map_err(|e| e.to_string())?;
        let mut answers = BTreeMap::new();
        self.eventually(|run| {
            for answered in run.engine().next_answers(10_000, Duration::ZERO).map_err(|e| e.to_string())? {
                answers.insert(answered.ticket, answered.result);
            }
            if answers.len() == tickets.len() { Ok(()) } else { Err("tickets without an answer".into()) }
        })?;
        let mut rows = Vec::new();
        let mut last = Position::ZERO;
        for (place, (to, text)) in places.into_iter().zip(&sends) {
            let receipt = match &answers[&tickets[place]] {
                Ok(Answer::Receipt(receipt)) => *receipt,
                // Without storage it depends on whether the newcomer is there yet.
                Err(error) if error.kind == ErrorKind::NotFound => continue,
                other => return Err(format!("{text} was answered {other:?}")),
            };
            rows.push((to.clone(), self.row(sender, None, to, text.clone(), receipt)));
            if newcomer.as_ref() == Some(to) {
                last = last.max(receipt.position);
            }
        }
        // The newcomer is taken to be there before the first: what it is owed is the same.
        let mut came = None;
        if let (Some(to), Some(ticket)) = (newcomer, tickets.last()) {
            let Ok(Answer::Session(session)) = &answers[ticket] else {
                return Err(format!("opening was answered {:?}", answers[ticket]));
            };
            let who = self.model.who(&to).unwrap();
            self.model.open(session.id(), who, None, true);
            self.say(format!("{to} came: session {}", session.id().0));
            self.live
                .insert(session.id(), Live { session: session.clone(), host: None, seen: BTreeMap::new() });
            came = Some(session.id()).filter(|_| self.drive == Drive::Threads);
        }
        self.absorb(rows.into_iter().map(|(_, row)| row).collect())?;
        came.map_or(Ok(()), |id| self.take_in_hand(id))
    }
}

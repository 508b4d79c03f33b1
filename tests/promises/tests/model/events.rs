//! What is told: taken into the model in the order of the log, compared, acknowledged, failed.

use crate::listeners::Manner;
use crate::run::{Run, Step};
use rosterkit::{Amendment, Event, EventBody, SessionId};
use rosterkit_promises::reference::Row;
use std::sync::Arc;
use std::time::Duration;

impl Run {
    /// Takes what was accepted, and what listeners answered meanwhile, into the model in the order of the log; and
    /// compares what listeners took with what they were owed.
    pub(crate) fn absorb(&mut self, mut rows: Vec<Row>) -> Step {
        self.wait_for_replies(&rows)?;
        self.replies_into(&mut rows);
        rows.sort_by_key(|row| row.position);
        for row in rows {
            self.accept(row)?;
        }
        let listened: Vec<SessionId> =
            self.live.iter().filter(|(_, l)| l.host.is_some()).map(|(id, _)| *id).collect();
        listened.into_iter().try_for_each(|id| self.compare_listener(id))
    }

    /// Until every listener that answers has answered what it was owed already and what these rows bring.
    pub(crate) fn wait_for_replies(&mut self, rows: &[Row]) -> Step {
        self.eventually(|run| {
            for (id, live) in &run.live {
                let Some(host) = live.host.as_ref().filter(|h| h.manner == Manner::Answers) else { continue };
                let session = &run.model.sessions[id];
                let new = rows
                    .iter()
                    .filter(|row| session.reads && !session.sent(*id, row) && !run.model.is_held(row));
                let owed = session.queue.iter().map(|number| &run.model.log[*number]);
                for row in owed.chain(new).filter(|row| row.recipient == session.who) {
                    let text = row.text.as_deref().filter(|_| row.amends.is_none()).unwrap_or("re ");
                    let position = row.position.unwrap_or_default();
                    if !text.starts_with("re ") && !host.has_answered(position) {
                        return Err(format!("the listener of session {} did not answer {text}", id.0));
                    }
                }
            }
            Ok(())
        })
    }

    pub(crate) fn accept(&mut self, row: Row) -> Step {
        let position = row.position.unwrap();
        if position <= self.highest {
            return Err(format!("{position:?} was given again, {:?} was told before", self.highest));
        }
        self.highest = position;
        self.model.accept(row);
        Ok(())
    }

    pub(crate) fn replies_into(&mut self, rows: &mut Vec<Row>) {
        let mut replies = Vec::new();
        for live in self.live.values() {
            if let Some(host) = &live.host {
                replies.extend(host.take_replies().into_iter().map(|r| (live.session.account().clone(), r)));
            }
        }
        for (from, reply) in replies {
            let Some(sender) = self.model.who(&from) else { continue };
            // A row that comes again, or to another session, is answered once.
            if self.model.log.iter().chain(&*rows).any(|row| row.position == Some(reply.receipt.position)) {
                continue;
            }
            self.trace.push(format!("{from} replied to {}: {}: {:?}", reply.to, reply.text, reply.receipt));
            rows.push(self.row(sender, None, &reply.to, reply.text, reply.receipt));
        }
    }

    /// A listener took what it was owed, in order.
    pub(crate) fn compare_listener(&mut self, id: SessionId) -> Step {
        let host = Arc::clone(self.live[&id].host.as_ref().unwrap());
        self.eventually(|run| {
            for event in host.take() {
                if run.take_event(id, &event)? {
                    run.model.ack(id, event.seq);
                }
            }
            if run.model.sessions[&id].queue.is_empty() || host.stands() {
                return Ok(());
            }
            Err(format!("the listener of session {} did not get what it is owed", id.0))
        })
    }

    /// Compares an event with the model. True when it is a row that is to be acknowledged. What differs here will not
    /// be right later.
    pub(crate) fn take_event(&mut self, id: SessionId, event: &Event) -> Result<bool, String> {
        let result = self.compare_event(id, event);
        if let Err(difference) = &result {
            self.broken.get_or_insert_with(|| difference.clone());
        }
        result
    }

    pub(crate) fn compare_event(&mut self, id: SessionId, event: &Event) -> Result<bool, String> {
        let (position, sender, text) = match &event.body {
            EventBody::Message(m) => (m.position, m.sender.bare(), m.content.as_text().map(str::to_owned)),
            EventBody::Amended(amended) => {
                let text = match &amended.amendment {
                    Amendment::Edit(content) => content.as_text().map(str::to_owned),
                    Amendment::Retract => Some(String::new()),
                };
                (amended.position, amended.sender.bare(), text)
            }
            EventBody::BuddyRequest { position, sender, .. } => (*position, sender.bare(), None),
            EventBody::Presence { subject, presence } => {
                let note = presence.note.as_deref().map(str::to_owned);
                self.take_presence(id, subject, (presence.state, note))?;
                return Ok(false);
            }
            EventBody::Ended(reason) => return Err(format!("session {} ended: {reason:?}", id.0)),
            _ => return Ok(false),
        };
        let session = self.model.sessions.get_mut(&id).unwrap();
        let Some(number) = session.queue.pop_front() else {
            return Err(format!("session {} got {:?}, and was owed nothing", id.0, event.body));
        };
        session.handed.push((event.seq, number));
        let row = &mut self.model.log[number];
        let known = *row.position.get_or_insert(position);
        let from = &self.model.accounts[row.sender].address;
        let amended = matches!(event.body, EventBody::Amended(_));
        let same = (known, from, row.amends.is_some()) == (position, &sender, amended);
        if !same || !row.has_said(text.as_deref()) {
            return Err(format!(
                "session {} got {:?} instead of {from} {known:?} {:?}",
                id.0, event.body, row.text
            ));
        }
        if row.text.is_none() {
            self.highest = self.highest.max(position);
        }
        Ok(true)
    }

    pub(crate) fn read(&mut self) -> Step {
        let Some(id) = self.any_session(false) else { return Ok(()) };
        let max = [1, 3, 1_000][self.random.usize(..3)];
        self.read_some(id, max)
    }

    /// Reads up to so many events, and at least one row when one is owed.
    pub(crate) fn read_some(&mut self, id: SessionId, max: usize) -> Step {
        self.eventually(|run| {
            let rows = run.read_once(id, max)?.1;
            let model = &run.model.sessions[&id];
            if rows == 0 && !model.queue.is_empty() && model.handed.len() < model.room {
                let owed = &run.model.log[model.queue[0]];
                let owed = format!("{:?} {:?}", owed.position, owed.text);
                return Err(format!("session {} is owed {owed} and got nothing", id.0));
            }
            Ok(())
        })
    }

    /// Reads until there is nothing more: after a failure events come one by one.
    pub(crate) fn read_all(&mut self, id: SessionId) -> Step {
        self.read_some(id, 10_000)?;
        while self.read_once(id, 10_000)?.0 > 0 {}
        Ok(())
    }

    /// Says how many events there were, and how many of them were rows.
    pub(crate) fn read_once(&mut self, id: SessionId, max: usize) -> Result<(usize, usize), String> {
        let events = self.live[&id].session.next_events(max, Duration::ZERO).map_err(|e| e.to_string())?;
        if !events.is_empty() {
            self.say(format!("session {} read {} events", id.0, events.len()));
        }
        let mut rows = 0;
        for event in &events {
            rows += usize::from(self.take_event(id, event)?);
        }
        Ok((events.len(), rows))
    }

    pub(crate) fn acknowledge(&mut self) -> Step {
        let Some(id) = self.any_session(false) else { return Ok(()) };
        let handed = &self.model.sessions[&id].handed;
        if handed.is_empty() {
            return Ok(());
        }
        let (seq, _) = handed[self.random.usize(..handed.len())];
        self.live[&id].session.ack(seq);
        self.say(format!("session {} up to {seq}", id.0));
        self.model.ack(id, seq);
        Ok(())
    }

    pub(crate) fn fail(&mut self) -> Step {
        let Some(id) = self.any_session(false) else { return Ok(()) };
        if self.model.sessions[&id].handed.is_empty() {
            return Ok(());
        }
        // Slots in the consumer's hands would count as part of the batch: all that is there is read first.
        let last = self.model.sessions[&id].handed.len() == 1;
        self.say(format!("session {}, one alone {last}", id.0));
        self.live[&id].session.fail();
        self.model.fail(id);
        Ok(())
    }
}

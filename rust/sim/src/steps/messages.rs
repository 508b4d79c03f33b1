//! What clients send, repeat and amend.

use super::Random;
use crate::facts::{Place, visibility};
use crate::ledger::{FIRST_EDIT, Fate, Left, Sent, text};
use crate::people::{
    COMES_AND_GOES, FORKS, ORDINARY, REDIRECTS, Reader, User, actor, address, machine_of, wall,
};
use crate::world::{Came, Client, Step, World};
use rosterkit::{
    Amend, Amendment, Answer, Command, Content, ErrorKind, MessageId, SessionOptions, Visibility, Word,
};
use rosterkit_core::refusal::Refusal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl World {
    pub(super) fn send(&mut self, machine: usize, random: &mut Random) -> Step {
        let count = if random.bool() { 1 } else { random.usize(2..9) };
        let mut sends = Vec::new();
        for _ in 0..count {
            let everybody = if self.is_pair { 9 } else { 7 };
            let (mut sender, recipient) = (self.here(machine, random), random.usize(..everybody));
            // Rules send it on to somebody else than its sender, who has it already.
            if (recipient == REDIRECTS || recipient == FORKS) && sender < 2 {
                sender += 2;
            }
            let expires = (random.u8(0..8) == 0 && recipient < REDIRECTS && recipient != sender)
                .then(|| self.now + random.u64(20_000..4_000_000));
            let sent = Arc::new(Sent {
                number: self.number(),
                sender,
                recipient,
                expires,
                is_data: random.u8(0..10) == 0,
                reply_to: if random.u8(0..5) == 0 { self.any_known(machine, random) } else { None },
            });
            self.note(machine, Left::Sends(Arc::clone(&sent)));
            let to = machine_of(recipient);
            if to != machine {
                self.note(to, Left::Sends(Arc::clone(&sent)));
            }
            sends.push(sent);
        }
        self.submit(machine, &sends)
    }

    /// The id of some message that was answered.
    fn any_known(&self, machine: usize, random: &mut Random) -> Option<MessageId> {
        let mails = self.machines[machine].ledger.mails.values();
        let known: Vec<MessageId> = mails.filter_map(|mail| mail.id).collect();
        random.choice(&known).copied()
    }

    /// What cannot be sent is refused, and nothing of it is kept.
    pub(super) fn send_badly(&mut self, machine: usize, random: &mut Random) -> Step {
        let sender = self.here(machine, random);
        let to = |recipient: &str| rosterkit::Address::new(recipient).expect("an address");
        let plain = |recipient| rosterkit::Send::text(&recipient, "nothing of this is kept");
        let (send, kinds, sentence): (_, &[ErrorKind], _) = match random.u8(0..4) {
            0 => {
                let long = rosterkit::Send::text(&address(0), &"x".repeat(70_000));
                (
                    long,
                    &[ErrorKind::LimitExceeded { retry_after_ms: None }, ErrorKind::InvalidArgument],
                    "delivery.size-limit",
                )
            }
            1 => {
                let past = rosterkit::Send { expires: Some(wall(0)), ..plain(address(0)) };
                (past, &[ErrorKind::InvalidArgument], "expiry.past")
            }
            2 => (
                plain(to("nobody@example.org")),
                &[ErrorKind::NotFound, ErrorKind::Forbidden],
                "delivery.not-found",
            ),
            _ => (plain(to("somebody@example.com")), &[ErrorKind::Unreachable], "delivery.not-found"),
        };
        if machine != 0 && kinds.contains(&ErrorKind::NotFound) {
            // That is another machine's to say.
            return Ok(());
        }
        match self.call(machine, &actor(sender), Command::Send(send.clone()))? {
            Came::Done(answer) => Err(format!("{send:?} was taken: {answer:?}")),
            Came::Not(error) if kinds.contains(&error.kind) => {
                self.covered.add(sentence);
                Ok(())
            }
            Came::Not(error) if matches!(error.kind, ErrorKind::Storage { .. }) => Ok(()),
            Came::Not(error) => Err(format!("{send:?} was refused otherwise: {error}")),
            Came::Unknown => Ok(()),
        }
    }

    /// Many at once, so that one commit takes them all.
    pub(super) fn submit(&mut self, machine: usize, sends: &[Arc<Sent>]) -> Step {
        let mut commands: Vec<_> = sends.iter().map(|sent| (actor(sent.sender), sent.command())).collect();
        // Somebody comes while they are under way: a session of theirs that is there already is replaced then.
        let here = |user: &User| machine_of(*user) == machine && ORDINARY.contains(user);
        let comes = sends.iter().map(|sent| sent.recipient).find(here).filter(|_| sends.len() > 3);
        let comes = comes.and_then(|user| Reader::of(user).first().copied());
        if let Some(reader) = comes {
            let device = reader.device_name();
            let options = SessionOptions { device, reads_messages: true, ..SessionOptions::default() };
            commands.push((actor(reader.user), Command::OpenSession(options)));
        }
        let mut tickets = match self.engine(machine)?.submit(commands) {
            Ok(tickets) => tickets,
            Err(_) if self.machines[machine].disk.is_off() => return Ok(()),
            Err(error) => return Err(format!("submitting: {error}")),
        };
        let mut newcomer = comes.and_then(|reader| Some((tickets.pop()?, reader)));
        let mut open: BTreeMap<_, _> = tickets.into_iter().zip(sends).collect();
        for _ in 0..40 {
            let answers = match self.engine(machine)?.next_answers(usize::MAX, Duration::ZERO) {
                Ok(answers) => answers,
                Err(_) if self.machines[machine].disk.is_off() => return Ok(()),
                Err(error) => return Err(format!("answers: {error}")),
            };
            let is_newcomer = |ticket| newcomer.filter(|(of, _)| *of == ticket);
            for answered in &answers {
                if let (Some((_, reader)), Ok(Answer::Session(session))) =
                    (is_newcomer(answered.ticket), &answered.result)
                    && !self.machines[machine].disk.is_off()
                {
                    newcomer = None;
                    self.come(machine, Client::new(reader, session.clone()))?;
                    break;
                }
            }
            let answers: Vec<_> =
                answers.into_iter().filter_map(|a| Some((open.remove(&a.ticket)?, a.result))).collect();
            for (sent, result) in answers {
                self.history.say(format_args!("{} {result:?}", sent.number));
                self.answered(machine, sent, result)?;
            }
            if open.is_empty() || self.machines[machine].disk.is_off() {
                return Ok(());
            }
            self.let_recover(machine)?;
        }
        Err(format!("{} sends were never answered", open.len()))
    }

    pub(super) fn answered(
        &mut self,
        machine: usize,
        sent: &Arc<Sent>,
        result: rosterkit::Result<Answer>,
    ) -> Step {
        if self.machines[machine].disk.is_off() {
            return Ok(());
        }
        let is_local = machine_of(sent.recipient) == machine;
        let admits = self.machines[machine].ledger.admits(sent.recipient, sent.sender);
        match result {
            Ok(Answer::Receipt(receipt)) => {
                if is_local && admits == Ok(Some(false)) && sent.recipient != COMES_AND_GOES {
                    return Err(format!("{sent:?} was taken, and is to be refused: {receipt:?}"));
                }
                self.check_word(machine, sent, receipt.outcome)?;
                if admits == Ok(Some(true)) {
                    self.cover_taken(machine, sent);
                }
                self.note(machine, Left::Answered(sent.number, receipt));
            }
            Ok(other) => return Err(format!("{sent:?} was answered {other:?}")),
            Err(error) => match error.kind {
                ErrorKind::Storage { outcome_unknown: true } | ErrorKind::Misuse => {
                    let now = self.now;
                    self.note(machine, Left::Trouble(now));
                }
                ErrorKind::Storage { .. } => {
                    let now = self.now;
                    self.note(machine, Left::Trouble(now));
                    self.note(machine, Left::Refused(sent.number));
                }
                ErrorKind::Forbidden if is_local && admits != Ok(Some(true)) => {
                    if error.details != Refusal::Forbidden.to_string() {
                        return Err(format!("{sent:?} was refused by saying more: {error}"));
                    }
                    self.covered.add("admission.one-answer");
                    if admits == Ok(Some(false)) {
                        let blocked = Place::Blocked(sent.recipient, sent.sender);
                        let is_blocked = self.machines[machine].ledger.value(blocked) == Ok(Some(1));
                        self.covered.add(if is_blocked { "admission.blocked" } else { "admission.policy" });
                    }
                    self.note(machine, Left::Refused(sent.number));
                }
                ErrorKind::NotFound if sent.recipient == COMES_AND_GOES => {
                    self.covered.add("delivery.not-found");
                    self.note(machine, Left::Refused(sent.number));
                }
                ErrorKind::Forbidden if sent.recipient == REDIRECTS || sent.recipient == COMES_AND_GOES => {
                    self.note(machine, Left::Refused(sent.number));
                }
                _ => return Err(format!("{sent:?} was refused: {error}")),
            },
        }
        Ok(())
    }

    /// `Queued` is for a relay; `Delivered` says that somebody is there, to who may see that alone.
    fn check_word(&self, machine: usize, sent: &Sent, word: Word) -> Step {
        let is_local = machine_of(sent.recipient) == machine;
        if is_local == (word == Word::Queued) {
            return Err(format!("{sent:?} was answered {word:?}"));
        }
        if !is_local {
            self.covered.add("relay.queued");
            return Ok(());
        }
        let ledger = &self.machines[machine].ledger;
        let visible = ledger.value(Place::Visibility(sent.recipient, sent.sender));
        let (Ok(view), Ok(visible)) = (ledger.view(sent.recipient, sent.sender), visible) else {
            return Ok(());
        };
        let is_hidden = visible.map(visibility) == Some(Visibility::Hidden);
        if sent.sender != sent.recipient && (!view.from() || is_hidden) {
            if word == Word::Delivered {
                return Err(format!("{sent:?} was answered {word:?}, and its sender sees nobody: {view:?}"));
            }
            self.covered.add("delivery.unseen");
        }
        Ok(())
    }

    /// A client that does not know what became of its sends asks again.
    pub(super) fn repeat(&mut self, machine: usize, random: &mut Random) -> Step {
        let ledger = &self.machines[machine].ledger;
        let known: Vec<Arc<Sent>> = ledger
            .mails
            .values()
            .filter(|mail| machine_of(mail.sent.sender) == machine && !mail.was_refused)
            .filter(|mail| mail.sent.expires.is_none_or(|expires| expires > self.now + 60_000))
            .map(|mail| Arc::clone(&mail.sent))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        for _ in 0..3 {
            let sent = &known[random.usize(..known.len())];
            let before = self.machines[machine].ledger.mails.get(&sent.number).and_then(|mail| mail.receipt);
            self.note(machine, Left::SendsAgain(sent.number));
            let result = self.engine(machine)?.call(&actor(sent.sender), sent.command());
            self.history.say(format_args!("{} {result:?}", sent.number));
            if let (Ok(Answer::Receipt(again)), Some(before)) = (&result, before)
                && *again != before
                && !self.machines[machine].disk.is_off()
            {
                return Err(format!("{sent:?} had {before:?}, and again {again:?}"));
            }
            if before.is_some() {
                self.covered.add("delivery.client-id");
                self.came(machine, result)?;
            } else {
                // That it cannot be asked says nothing of the first time.
                match result {
                    // It may be the answer to the first try, which was admitted by what was so then.
                    Ok(Answer::Receipt(receipt)) if !self.machines[machine].disk.is_off() => {
                        self.note(machine, Left::Answered(sent.number, receipt));
                    }
                    result => drop(self.came(machine, result)?),
                }
                self.let_recover(machine)?;
            }
        }
        let sent = &known[random.usize(..known.len())];
        if self.machines[machine].ledger.mails.get(&sent.number).is_some_and(|mail| mail.receipt.is_some()) {
            let mut other = rosterkit::Send::text(&address(sent.recipient), "another one");
            other.client_id = Some(sent.client_id());
            match self.call(machine, &actor(sent.sender), Command::Send(other))? {
                Came::Not(error) if error.kind == ErrorKind::Conflict => {
                    self.covered.add("delivery.client-id-conflict");
                }
                Came::Done(answer) => return Err(format!("{sent:?} became another one: {answer:?}")),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn amend(&mut self, machine: usize, random: &mut Random) -> Step {
        let mails = &self.machines[machine].ledger.mails;
        let own: Vec<(Arc<Sent>, MessageId)> = mails
            .values()
            .filter(|mail| machine_of(mail.sent.sender) == machine && mail.fate == Fate::Comes)
            .filter(|mail| mail.sent.recipient < REDIRECTS && mail.gone_for.is_empty())
            .filter(|mail| mail.sent.expires.is_none())
            .filter_map(|mail| Some((Arc::clone(&mail.sent), mail.receipt?.id)))
            .collect();
        if own.is_empty() {
            return Ok(());
        }
        let (sent, message_id) = &own[random.usize(..own.len())];
        let value = if random.u8(0..4) == 0 { 0 } else { u64::from(FIRST_EDIT + self.number()) };
        let amendment = match value {
            0 => Amendment::Retract,
            value => Amendment::Edit(Content::text(&text(value))),
        };
        let amend =
            Amend { recipient: address(sent.recipient), message_id: *message_id, amendment, client_id: None };
        self.note(machine, Left::TriesAmend(sent.number, value));
        let to = machine_of(sent.recipient);
        if to != machine {
            self.note(to, Left::TriesAmend(sent.number, value));
        }
        let came = self.call(machine, &actor(sent.sender), Command::Amend(amend))?;
        let was_retracted =
            self.machines[machine].ledger.mails.get(&sent.number).is_some_and(|mail| mail.texts.contains(&0));
        let did = match came {
            Came::Done(_) => Some(true),
            Came::Unknown => None,
            Came::Not(error) => match error.kind {
                ErrorKind::Storage { .. } => Some(false),
                ErrorKind::Conflict if was_retracted => {
                    self.covered.add("amend.author");
                    Some(false)
                }
                // Where history is off it may be gone; a stranger by now may be refused.
                ErrorKind::NotFound if sent.sender == 2 => Some(false),
                ErrorKind::Forbidden => Some(false),
                _ => return Err(format!("an amendment of {sent:?} was refused: {error}")),
            },
        };
        if value == 0 && did == Some(false) && was_retracted {
            // It says nothing already, or will not by this: either way that may be so.
            return Ok(());
        }
        self.note(machine, Left::Amended(sent.number, value, did));
        Ok(())
    }
}

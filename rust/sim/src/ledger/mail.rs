//! Messages: what their clients know of them, and to whom they are owed.

use super::{A_MOMENT, Ledger, SETTLED};
use crate::people::{FORKS, REDIRECTS, Reader, User, address, wall};
use rosterkit::{Body, ClientId, Command, Content, MessageId, Receipt, Send};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The number of the first text that an author put in place of another.
pub const FIRST_EDIT: u32 = 1_000;

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

impl Ledger {
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

    /// What is noted of an acknowledgement that goes in now, of what came then. When a disk has failed in between it may come
    /// again, and what is acknowledged then is another delivery of it.
    pub fn acknowledged(&self, came: u64, now: u64) -> u64 {
        if came > self.trouble { now } else { 0 }
    }

    /// Whether an acknowledgement is on disk for sure by now.
    pub fn is_settled(&self, reader: Reader, id: MessageId) -> bool {
        let acked = self.acked.get(&(reader, id));
        acked.is_some_and(|at| *at == SETTLED || self.now > at + 5_000 && self.trouble < *at)
    }
}

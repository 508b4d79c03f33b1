//! Explanations: the facts that decided on a presence, an admission or a delivery, as JSON for whoever owns the account.
//!
//! Each asks the code that decides. They change nothing, and name what only the account may know: its sessions, its
//! rules' doing, whom it blocks. An account's sender gets of a message what a sender may learn.

use super::{Resident, Shard};
use crate::answers::ReplyTo;
use crate::command::Answer;
use crate::error::Result;
use crate::messages::{Fetch, RowAddresses};
use rosterkit_core::address::Address;
use rosterkit_core::admission::{self, Admission, Sender};
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::presence::Presence;
use rosterkit_core::refusal::Refusal;
use rosterkit_core::registration::RegistrationKind;
use rosterkit_core::row::{Amended, Kind, Outcome, Row, Ruled, Side, Word};
use serde::Serialize;

/// Why a viewer sees what they see.
#[derive(Serialize)]
struct PresenceExplained<'a> {
    viewer: &'a str,
    /// What they see.
    shown: Shown<'a>,
    because: admission::Sight,
    /// What the account shows to who may see it.
    account: Shown<'a>,
    /// Where that comes from.
    sessions: Vec<SessionShows<'a>>,
    /// They count where no session shows anything.
    contacts: Vec<&'a str>,
}

#[derive(Serialize)]
struct Shown<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

#[derive(Serialize)]
struct SessionShows<'a> {
    instance: &'a str,
    /// `None`: it is not online.
    state: Option<&'static str>,
    invisible: bool,
    priority: i8,
    until_ms: Option<i64>,
}

/// Whether a sender is taken.
#[derive(Serialize)]
struct AdmissionExplained<'a> {
    sender: &'a str,
    verdict: &'static str,
    facts: Vec<admission::Fact>,
}

/// What became of a message, as one of its two accounts may know it.
#[derive(Serialize)]
struct DeliveryExplained<'a> {
    position: u64,
    message_id: String,
    sender: &'a str,
    recipient: &'a str,
    time_ms: i64,
    /// What its sender was answered.
    answer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amended: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<Received<'a>>,
}

/// What its recipient knows besides.
#[derive(Serialize)]
struct Received<'a> {
    /// What a rule of theirs did with it.
    ruled: Option<&'static str>,
    /// How often rules had sent it on before it came.
    hops: u8,
    place: &'static str,
    /// Of each named device, whether it has done with it.
    devices: &'a [(String, bool)],
}

/// What the shard knows of a row before it is read.
pub(crate) struct Known {
    quarantined: bool,
    unclaimed: bool,
    devices: Vec<(String, bool)>,
}

impl Shard {
    /// Why a viewer sees of the account what they see.
    pub(super) fn explain_presence(&self, id: AddressId, viewer: (AddressId, &Address), reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let because = admission::sight(&resident.record, viewer.0, viewer.1);
        let account = shown(&resident.shown);
        let seen = because.visibility().of(&resident.shown);
        let sessions = resident.sessions.iter().filter_map(|session| self.sessions.get(session));
        let explained = PresenceExplained {
            viewer: viewer.1.as_str(),
            shown: shown(&seen),
            because,
            account,
            sessions: sessions
                .map(|attached| SessionShows {
                    instance: &attached.instance,
                    state: attached.contribution().map(|shows| shows.state.as_str()),
                    invisible: attached.contribution().is_some_and(|shows| shows.invisible),
                    priority: attached.contribution().map_or(0, |shows| shows.priority),
                    until_ms: attached.contribution().and_then(|shows| shows.until).map(|until| until.0),
                })
                .collect(),
            contacts: (resident.registrations(RegistrationKind::Contact, self.now.wall))
                .map(|contact| contact.name.as_str())
                .collect(),
        };
        reply.answer(json(&explained));
    }

    /// Whether the account would take a message of this sender now, and why.
    pub(super) fn explain_admission(&self, id: AddressId, sender: (AddressId, &Address), reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let asked = Sender { id: sender.0, address: sender.1, hosted: self.hosts(sender.1) };
        let (admission, facts) = admission::explain(&resident.record, &resident.preferences, asked);
        let verdict = match admission {
            Ok(Admission::Admitted) => "admitted",
            Ok(Admission::Quarantined) => "quarantined",
            Err(_) => "forbidden",
        };
        reply.answer(json(&AdmissionExplained { sender: sender.1.as_str(), verdict, facts }));
    }

    /// What became of a message of the account, of either side.
    pub(super) fn explain_delivery(&mut self, id: AddressId, position: Position, reply: ReplyTo) {
        if let Some(resident) = self.residents.get(&id) {
            let known = resident.known_of(position);
            self.fetch(Fetch::ExplainDelivery { account: id, position, known, reply });
        }
    }
}

impl Resident {
    fn known_of(&self, position: Position) -> Known {
        let has_it = |number| self.progress.cursor(number).is_some_and(|cursor| cursor.position >= position);
        let devices = self.record.devices.iter();
        Known {
            quarantined: self.quarantined.as_ref().is_some_and(|held| held.contains(position)),
            unclaimed: self.unclaimed.contains(position),
            devices: devices.map(|d| (d.name.as_str().to_owned(), has_it(d.number))).collect(),
        }
    }
}

/// What is said of a row that was read for one of its accounts.
pub(crate) fn delivery(
    account: AddressId,
    row: Option<&(Row, RowAddresses)>,
    known: &Known,
) -> Result<Answer> {
    let of = |entry: &rosterkit_core::row::Entry| entry.sender == account || entry.recipient == account;
    let message = row.filter(|(row, _)| matches!(row.entry.kind, Kind::Message(_)) && of(&row.entry));
    let Some((row, addresses)) = message else {
        return Err(Refusal::NotFound("the account has no message at that position".into()).into());
    };
    let entry = &row.entry;
    let is_left = row.sides.needed_by(Side::Recipient) || row.sides.in_history_of(Side::Recipient);
    let received = (entry.recipient == account).then(|| Received {
        ruled: entry.ruled.map(|ruled| match ruled {
            Ruled::Stored => "stored",
            Ruled::Discarded => "discarded",
            Ruled::Redirected => "redirected",
        }),
        hops: entry.hops,
        place: match () {
            () if known.quarantined => "quarantine",
            () if entry.admitted_as.is_some() => "admitted",
            () if known.unclaimed => "unclaimed",
            // Refused, discarded, expired; or claimed where no history is kept.
            () if !is_left => "gone",
            () => "claimed",
        },
        devices: &known.devices,
    });
    json(&DeliveryExplained {
        position: row.position.0,
        message_id: entry.message_id.to_string(),
        sender: addresses.sender.as_str(),
        recipient: addresses.recipient.as_str(),
        time_ms: entry.time.0,
        answer: match entry.word {
            Word::Delivered => "delivered",
            Word::Stored => "stored",
            Word::Queued => "queued",
        },
        outcome: entry.outcome.as_ref().map(|outcome| match outcome {
            Outcome::Relayed => "relayed",
            Outcome::Failed { .. } => "failed",
            Outcome::Expired => "expired",
        }),
        amended: entry.amended.map(|amended| match amended {
            Amended::Edited(_) => "edited",
            Amended::Retracted(_) => "retracted",
        }),
        expires_ms: entry.expires.map(|expires| expires.0),
        received,
    })
}

fn shown(presence: &Presence) -> Shown<'_> {
    Shown { state: presence.state.as_str(), note: presence.note.as_deref() }
}

fn json(explained: &impl Serialize) -> Result<Answer> {
    // Nothing in an explanation has no form in JSON.
    Ok(Answer::Explanation(serde_json::to_string(explained).unwrap_or_default()))
}

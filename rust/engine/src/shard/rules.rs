//! What rules decide, and what follows from it.
//!
//! Rules are applied when a message is decided, after admission and before the fork, and again when nobody has taken it for
//! a time. What they do besides is done when the message is on disk.

use super::change::{After, Changing};
use super::sending_on::forwarding;
use super::{Resident, Shard, Work};
use crate::answers::ReplyTo;
use crate::command::{RosterEdit, Send};
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostEvent;
use crate::messages::{FoundPeer, Job, RowAddresses, Settling, Signal};
use crate::relay::outbox::DeliveryKey;
use rosterkit_core::address::Address;
use rosterkit_core::delivery::fork;
use rosterkit_core::id::{AddressId, ClientId};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::registration::RegistrationKind;
use rosterkit_core::roster::Op;
use rosterkit_core::row::{Entry, Kind, Outcome, Row, Ruled, Side, Sides, Word};
use rosterkit_core::rules::{self, EffectKind, Facts, Levels, LocalTime, Method, Stage, Verdict, evaluate};
use rosterkit_core::write::{Due, Forward, OWN, Write};
use std::sync::Arc;

/// What was decided on a message.
pub(super) struct Decided {
    pub(super) word: Word,
    pub(super) ruled: Option<Ruled>,
    /// It is a stranger's: it waits until the account decides on them.
    pub(super) is_quarantined: bool,
    pub(super) then: Consequences,
}

/// What follows when it is on disk.
#[derive(Default)]
pub(crate) struct Consequences {
    pub(super) forwards: Vec<Forward>,
    effects: Vec<Effect>,
    /// After so many seconds rules look at it again, if nobody has taken it.
    due: Option<u32>,
}

/// What a rule does beside deciding what becomes of a message.
enum Effect {
    SendIm { to: Address, text: Arc<str> },
    Remember { group: String },
    Url { rule: String, url: Arc<str> },
    Push { rule: String, text: Arc<str> },
}

/// A message, as rules are asked about it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) sender: AddressId,
    pub(super) from: &'a Address,
    pub(super) request_uri: &'a Address,
    pub(super) entry: &'a Entry,
}

impl Decided {
    pub(super) fn plain(word: Word) -> Self {
        Decided { word, ruled: None, is_quarantined: false, then: Consequences::default() }
    }

    /// Kept aside. The word is the same whoever is there.
    pub(super) fn quarantined() -> Self {
        Decided { is_quarantined: true, ..Decided::plain(Word::Stored) }
    }

    /// What the row is to its recipient, beside what preferences say.
    pub(super) fn sides(&self, sides: Sides, entry: &Entry) -> Sides {
        match self.ruled {
            // What is done to a message in quarantine is done with it.
            _ if self.is_quarantined && matches!(entry.kind, Kind::Amendment { .. }) => {
                sides.cleared(Side::Recipient)
            }
            _ if self.is_quarantined => sides.quarantined(true),
            Some(Ruled::Discarded | Ruled::Redirected) => sides.cleared(Side::Recipient),
            _ => sides,
        }
    }

    /// What is written with the row.
    pub(super) fn writes(&self, recipient: AddressId, entry: &Entry) -> Vec<Write> {
        let forwards = self.then.forwards.iter().cloned().map(Write::Forward);
        let due = self.then.due.map(|seconds| Write::Due {
            position: OWN,
            recipient,
            time: after_seconds(entry, seconds),
            what: Due::Rules(seconds),
        });
        forwards.chain(due).collect()
    }
}

fn after_seconds(entry: &Entry, seconds: u32) -> rosterkit_core::time::Timestamp {
    rosterkit_core::time::Timestamp(entry.time.0.saturating_add(i64::from(seconds) * 1_000))
}

impl Shard {
    // ---- deciding -------------------------------------------------------------------------------------------

    /// The rules in force for an account; `None` when there are none.
    pub(super) fn levels<'a>(&'a self, resident: &'a Resident) -> Option<Levels<'a>> {
        let server = self.domains.rules.as_deref();
        let domain = self.domains.domains.get(resident.record.address.domain());
        let domain = domain.and_then(|domain| domain.rules.as_deref());
        let account = resident.rules.as_deref();
        (server.is_some() || domain.is_some() || account.is_some()).then_some(Levels {
            server,
            domain,
            account,
            no_answer_ms: u64::MAX,
        })
    }

    pub(super) fn facts<'a>(&'a self, resident: &'a Resident, asked: Asked<'a>) -> Facts<'a> {
        let now = self.now.wall;
        let registrations = resident.registrations(RegistrationKind::Contact, now).count();
        Facts {
            method: Method::Message,
            request_uri: asked.request_uri,
            from: asked.from,
            from_name: None,
            to: &resident.record.address,
            authenticated: self.hosts(asked.from),
            presence: resident.shown.state,
            registrations: registrations as u32,
            local: LocalTime::at(now, resident.preferences.utc_offset_minutes),
            body: match &asked.entry.kind {
                Kind::Message(content) => content.as_text(),
                _ => None,
            },
            buddy: resident.record.roster.get(asked.sender).confirmed(),
            hops: asked.entry.hops,
        }
    }

    /// Decides on a message that was admitted.
    pub(super) fn decide(&self, resident: &Resident, asked: Asked<'_>, with_rules: bool) -> Result<Decided> {
        let limits = &self.shared.options.limits;
        let plainly = || {
            limits.check_unclaimed(&resident.unclaimed, asked.sender, asked.entry.size())?;
            let may_see = asked.sender == resident.id() || self.shows_to(resident, asked.sender);
            fork::word(
                &resident.preferences,
                may_see,
                self.takers(resident),
                resident.contacts(self.now.wall),
            )
        };
        let is_message = matches!(asked.entry.kind, Kind::Message(_)) && asked.sender != resident.id();
        let Some(levels) = self.levels(resident).filter(|_| with_rules && is_message) else {
            return Ok(Decided::plain(plainly()?));
        };
        let facts = self.facts(resident, asked);
        let mut then = Consequences::default();
        let verdict = evaluate(&levels, Stage::Immediate, &facts);
        if let Some(decided) = then.take(&verdict, plainly)? {
            return Ok(Decided { then, ..decided });
        }
        then.due = match verdict.next.map(|due| due.stage) {
            Some(Stage::AfterDelay { seconds }) => Some(seconds),
            _ => None,
        };
        let anybody = self.takers(resident).any(|taker| taker.takes());
        if !anybody && resident.contacts(self.now.wall) == 0 {
            let verdict = evaluate(&levels, Stage::NoAnswer, &facts);
            if let Some(decided) = then.take(&verdict, plainly)? {
                then.due = None;
                return Ok(Decided { then, ..decided });
            }
        }
        match plainly() {
            Ok(word) => Ok(Decided { then, ..Decided::plain(word) }),
            Err(refusal) => {
                then.due = None;
                let verdict = evaluate(&levels, Stage::Failure, &facts);
                match then.take(&verdict, || Ok(Word::Stored))? {
                    // What is kept all the same is what could not be kept.
                    Some(decided) if decided.ruled != Some(Ruled::Stored) => Ok(Decided { then, ..decided }),
                    _ => Err(refusal.into()),
                }
            }
        }
    }

    fn takers<'a>(&'a self, resident: &'a Resident) -> impl Iterator<Item = fork::Taker<'a>> {
        resident.sessions.iter().filter_map(|s| self.sessions.get(s)).map(|attached| attached.as_taker())
    }

    // ---- once it is on disk ---------------------------------------------------------------------------------

    /// What rules decided beside, of a message that is there now.
    pub(super) fn follow(
        &mut self,
        id: AddressId,
        row: &Arc<Row>,
        addresses: &RowAddresses,
        then: Consequences,
    ) {
        let Consequences { forwards, effects, due } = then;
        if let Some(seconds) = due {
            self.due_at(after_seconds(&row.entry, seconds));
        }
        for forward in forwards {
            let forward = Forward { position: row.position, ..forward };
            self.send_on(Box::new(forwarding(row, addresses, id, forward)));
        }
        for (number, effect) in effects.into_iter().enumerate() {
            self.take_effect(row, addresses, number, effect);
        }
    }

    fn take_effect(&mut self, row: &Row, addresses: &RowAddresses, number: usize, effect: Effect) {
        let account = addresses.recipient.bare();
        match effect {
            Effect::SendIm { to, text } => {
                // The same rule says the same once, whatever is repeated.
                let client_id = ClientId::new(&format!("rule {} {number}", row.entry.message_id)).ok();
                let send = Send { client_id, ..Send::text(&to, &text) };
                let mut sending = super::Sending::from(send);
                sending.hops = row.entry.hops.saturating_add(1);
                let work = Work::Send { session: None, send: Box::new(sending), reply: ReplyTo::nobody() };
                self.work(account, work);
            }
            Effect::Remember { group } => {
                let peer = addresses.sender.bare();
                self.work(account, Work::Remember { peer, group });
            }
            Effect::Url { rule, url } => {
                let message_id = row.entry.message_id;
                self.shared.host.put(HostEvent::OpenUrl { account, rule, url, message_id });
            }
            Effect::Push { rule, text } => {
                let message_id = row.entry.message_id;
                self.shared.host.put(HostEvent::RulePush { account, rule, text, message_id });
            }
        }
    }

    /// The sender is put into a group of the roster.
    pub(super) fn remember(&mut self, id: AddressId, peer: Address, group: &str, found: FoundPeer) {
        let mut groups = found.buddy.as_ref().map(|buddy| buddy.groups.to_vec()).unwrap_or_default();
        if !groups.iter().any(|there| **there == *group) {
            groups.push(group.into());
        }
        let groups = Some(groups.iter().map(|group| group.to_string()).collect());
        let edit = RosterEdit { groups, ..RosterEdit::new(&peer, Op::Update) };
        self.decide_edit(id, edit, found, ReplyTo::nobody());
    }

    // ---- after a delay --------------------------------------------------------------------------------------

    /// Nobody has taken a message for so long that rules are to look at it again.
    pub(super) fn rules_due(&mut self, id: AddressId, seconds: u32, row: Arc<Row>, addresses: RowAddresses) {
        let done = Write::DueDone { position: row.position, what: Due::Rules(seconds) };
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let levels = self.levels(resident).filter(|_| resident.unclaimed.contains(row.position));
        let Some(levels) = levels else {
            return self.write(Job::Lazy { writes: vec![done] });
        };
        let asked = Asked {
            sender: row.entry.sender,
            from: &addresses.sender,
            request_uri: &addresses.recipient,
            entry: &row.entry,
        };
        let facts = self.facts(resident, asked);
        let verdict = evaluate(&levels, Stage::AfterDelay { seconds }, &facts);
        let mut then = Consequences::default();
        let (mut writes, mut rejected) = (vec![done], None);
        let taken = match then.take(&verdict, || Ok(Word::Stored)) {
            Ok(decided) => matches!(
                decided.and_then(|decided| decided.ruled),
                Some(Ruled::Discarded | Ruled::Redirected)
            ),
            Err(error) => {
                rejected = Some(Arc::from(error.details));
                true
            }
        };
        if let (false, Some(rules::Due { stage: Stage::AfterDelay { seconds }, .. })) = (taken, verdict.next)
        {
            let time = after_seconds(&row.entry, seconds);
            let what = Due::Rules(seconds);
            writes.push(Write::Due { position: row.position, recipient: id, time, what });
        }
        then.forwards.iter_mut().for_each(|forward| forward.position = row.position);
        writes.extend(then.forwards.iter().cloned().map(Write::Forward));
        if taken {
            writes.push(Write::ClearSide { position: row.position, side: Side::Recipient });
        }
        let looked = Box::new(Looked { row, addresses, taken, rejected, then });
        self.change(id, Changing { record: None, after: After::RulesLooked(looked) }, writes);
    }

    /// What rules made of a message that nobody took is on disk.
    pub(super) fn rules_looked(&mut self, id: AddressId, looked: Looked) {
        let Looked { row, addresses, taken, rejected, then } = looked;
        if taken {
            self.take_away(id, row.position);
        } else {
            self.look_for_due();
        }
        if let Some(reason) = rejected
            && self.hosts(&addresses.sender)
        {
            let delivery = DeliveryKey {
                recipient: id,
                sender: row.entry.sender,
                position: row.position,
                message_id: row.entry.message_id,
            };
            let slot = addresses.sender.slot();
            let outcome = Outcome::Failed { reason };
            let settling = Settling { delivery, addresses: addresses.clone(), outcome };
            self.signal(slot, Signal::Outcome(Box::new(settling)));
        }
        self.follow(id, &row, &addresses, then);
    }
}

/// A message that nobody took, and what rules made of it.
pub(crate) struct Looked {
    row: Arc<Row>,
    addresses: RowAddresses,
    taken: bool,
    rejected: Option<Arc<str>>,
    then: Consequences,
}

impl Consequences {
    pub(super) fn is_empty(&self) -> bool {
        self.forwards.is_empty() && self.effects.is_empty() && self.due.is_none()
    }

    /// Takes over what rules say. `None` when the message goes on as if there were none.
    fn take(
        &mut self,
        verdict: &Verdict<'_>,
        plainly: impl Fn() -> std::result::Result<Word, Refusal>,
    ) -> Result<Option<Decided>> {
        for effect in &verdict.effects {
            let rule = || format!("{}: {}", effect.by.level, effect.by.name);
            match effect.kind {
                EffectKind::ForkTo(targets) => self.send_to(targets, false),
                EffectKind::SendIm(im) => self
                    .effects
                    .push(Effect::SendIm { to: im.to.address().clone(), text: im.text.as_str().into() }),
                EffectKind::Remember(group) => {
                    self.effects.push(Effect::Remember { group: group.as_str().into() });
                }
                EffectKind::SendUrl(url) => {
                    self.effects.push(Effect::Url { rule: rule(), url: url.as_str().into() });
                }
                EffectKind::SendPush(text) => {
                    self.effects.push(Effect::Push { rule: rule(), text: text.as_str().into() });
                }
                // A person wrote the line: above `debug` only that there was one.
                EffectKind::Log(line) => {
                    tracing::info!(level = %effect.by.level, place = effect.by.place, "a rule writes to the log");
                    tracing::debug!(line = line.as_str(), "a rule writes to the log");
                }
            }
        }
        let ruled = match verdict.outcome {
            rules::Outcome::Continue => return Ok(None),
            rules::Outcome::Reject(text) => return Err(Error::new(ErrorKind::Forbidden, text)),
            rules::Outcome::Redirect(targets) => {
                self.send_to(targets, true);
                return Ok(Some(Decided { ruled: Some(Ruled::Redirected), ..Decided::plain(Word::Stored) }));
            }
            rules::Outcome::Store => Ruled::Stored,
            rules::Outcome::Discard => Ruled::Discarded,
        };
        // What was discarded is answered as if it had not been.
        let word = match (ruled, plainly()) {
            (Ruled::Stored, Err(refusal)) => return Err(refusal.into()),
            (Ruled::Stored, Ok(_)) | (_, Err(_)) => Word::Stored,
            (_, Ok(word)) => word,
        };
        Ok(Some(Decided { ruled: Some(ruled), ..Decided::plain(word) }))
    }

    fn send_to(&mut self, targets: &rules::Targets, redirects: bool) {
        let forward =
            |target: &rules::Target| Forward { position: OWN, target: target.address().clone(), redirects };
        self.forwards.extend(targets.as_slice().iter().map(forward));
    }
}

//! Changes: what alters the durable half of an account. While one is on its way to the disk the account takes no
//! other input; when it fails it is dropped, and memory is as it was.

use super::later::DISK_FAILED_MS;
use super::rules::Looked;
use super::strangers::OnStranger;
use super::{Consequences, Gate, Ring, Shard, Waiting, Work};
use crate::answers::ReplyTo;
use crate::command::{Answer, Command, HistoryRequest, SessionOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EndReason, EventBody};
use crate::messages::{BuddiesFor, Fetch, FoundPeer, Job, RowAddresses, Signal};
use crate::queue::Slot;
use crate::readers::history_query;
use crate::relay::Settlement;
use rosterkit_core::account::{Progress, Record};
use rosterkit_core::address::Address;
use rosterkit_core::id::{AddressId, DeviceNumber, Position};
use rosterkit_core::preferences::{Overrides, Preferences};
use rosterkit_core::presence::Visibility;
use rosterkit_core::refusal::Refusal;
use rosterkit_core::roster::{self, Buddy, Op};
use rosterkit_core::row::Row;
use rosterkit_core::rules::RuleSet;
use rosterkit_core::write::{OWN, Pending, Write};
use rosterkit_store::Loaded;
use std::sync::Arc;

/// A change under way.
pub(crate) struct Changing {
    /// The account as it will be.
    pub(crate) record: Option<Arc<Record>>,
    pub(crate) after: After,
}

/// What follows when it is on disk.
pub(crate) enum After {
    Created {
        reply: ReplyTo,
    },
    Deleted {
        pending: Vec<Pending>,
        reply: ReplyTo,
    },
    /// An edit of one's own roster.
    RosterEdited {
        buddy: Box<Buddy>,
        pending: Option<Box<Pending>>,
        reply: ReplyTo,
    },
    /// A signal of somebody else's changed the roster.
    RosterReceived {
        buddy: Box<Buddy>,
        /// When it was answered at once.
        pending: Option<Box<Pending>>,
        origin: RowAddresses,
        /// When a relay brought it.
        taken: Option<(Settlement, ReplyTo)>,
        /// Else it is pending, and comes again when this cannot be written.
        came: Option<Box<Pending>>,
    },
    /// A signal of one's own was said anew.
    RosterRenewed {
        buddy: Box<Buddy>,
        pending: Box<Pending>,
        /// What was superseded, and by which version: it comes again when this cannot be written.
        came: Box<(Pending, Position)>,
    },
    /// Messages that a relay brought.
    MessagesTaken {
        origin: RowAddresses,
        /// What rules decided beside, for each row.
        then: Vec<Consequences>,
        settlements: Vec<Settlement>,
        reply: ReplyTo,
    },
    /// Who sees the account is another.
    Blocked {
        reply: ReplyTo,
        /// The viewer that it was set for, and what they saw before; else it was blocks.
        viewer: Option<(AddressId, Visibility)>,
    },
    PreferencesSet {
        reply: ReplyTo,
    },
    Registered {
        reply: ReplyTo,
    },
    Invited {
        answer: Box<Answer>,
        reply: ReplyTo,
    },
    FileChanged {
        reply: ReplyTo,
    },
    /// What was on its way to an account before it decides on a stranger is installed.
    QuarantineFilled {
        command: Box<Command>,
        reply: ReplyTo,
    },
    /// A stranger was admitted, or refused.
    StrangerDecided(Box<OnStranger>),
    RulesSet {
        rules: Option<Arc<RuleSet>>,
        reply: ReplyTo,
    },
    /// Rules looked at a message that nobody took.
    RulesLooked(Box<Looked>),
    DeviceAdded {
        number: DeviceNumber,
        progress: Progress,
        options: Box<SessionOptions>,
        reply: ReplyTo,
    },
    DeviceRetired {
        progress: Progress,
        reply: ReplyTo,
    },
}

impl Changing {
    fn into_reply(self) -> Option<ReplyTo> {
        match self.after {
            After::Created { reply }
            | After::Deleted { reply, .. }
            | After::RosterEdited { reply, .. }
            | After::Blocked { reply, .. }
            | After::PreferencesSet { reply }
            | After::RulesSet { reply, .. }
            | After::Registered { reply }
            | After::Invited { reply, .. }
            | After::FileChanged { reply }
            | After::DeviceAdded { reply, .. }
            | After::DeviceRetired { reply, .. }
            | After::QuarantineFilled { reply, .. }
            | After::MessagesTaken { reply, .. } => Some(reply),
            After::StrangerDecided(decided) => Some(decided.reply),
            After::RosterReceived { taken, .. } => taken.map(|(_, reply)| reply),
            After::RosterRenewed { .. } | After::RulesLooked(_) => None,
        }
    }

    /// Nobody knows whether it is on disk.
    pub(crate) fn answer_unknown(self) {
        if let Some(reply) = self.into_reply() {
            reply.answer(Err(Error::outcome_unknown()));
        }
    }
}

impl Shard {
    /// Sends a change to the writer and closes the gate until it is installed.
    pub(super) fn change(&mut self, id: AddressId, changing: Changing, writes: Vec<Write>) {
        if let Some(resident) = self.residents.get_mut(&id) {
            resident.gate = Gate::Changing(Box::new(changing));
            self.write(Job::Change { account: id, writes });
        }
    }

    /// A change is on disk, or is not.
    pub(super) fn install_change(&mut self, id: AddressId, result: Result<(Position, Vec<Arc<Row>>)>) {
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let Gate::Changing(changing) = std::mem::replace(&mut resident.gate, Gate::Open) else {
            return;
        };
        match result {
            Ok((position, rows)) => {
                self.mark = self.mark.max(rows.last().map_or(position, |row| row.position));
                self.install(id, position, &rows, *changing);
            }
            Err(error) => {
                let created = matches!(changing.after, After::Created { .. });
                self.change_failed(*changing, &error);
                if created {
                    self.uncreate(id, &error);
                }
            }
        }
        self.continue_gate(id);
    }

    /// Whoever waits for a change is told that it is not on disk. What nobody waits for comes again, while the disk may take
    /// it then.
    fn change_failed(&mut self, changing: Changing, error: &Error) {
        let may_pass = error.may_pass();
        match changing.after {
            After::RosterReceived { came: Some(pending), .. } if may_pass => {
                let slot = pending.recipient.slot();
                self.signal_later(DISK_FAILED_MS, slot, Signal::Pending(pending));
            }
            After::RosterRenewed { came, .. } if may_pass => {
                let (pending, known) = *came;
                let (slot, pending) = (pending.origin_address.slot(), Box::new(pending));
                self.signal_later(DISK_FAILED_MS, slot, Signal::Superseded { pending, known });
            }
            After::RulesLooked(_) if may_pass => self.due_again(),
            after => match (Changing { record: None, after }).into_reply() {
                Some(reply) => reply.answer(Err(error.clone())),
                None => tracing::error!(%error, "a change waits for the file to be mended"),
            },
        }
    }

    fn install(&mut self, id: AddressId, position: Position, rows: &[Arc<Row>], changing: Changing) {
        let Changing { record, after } = changing;
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let before = Arc::clone(&resident.record);
        if let Some(mut record) = record {
            if record.roster_version == OWN {
                Arc::make_mut(&mut record).roster_version = position;
            }
            resident.record = record;
        }
        match after {
            After::Created { reply } => reply.answer(Ok(Answer::Done)),
            After::Deleted { pending, reply } => {
                self.forget_account(id, pending, position);
                reply.answer(Ok(Answer::Done));
            }
            After::RosterEdited { mut buddy, pending, reply } => {
                buddy.place(position);
                self.roster_changed(id, &before, *buddy);
                reply.answer(Ok(Answer::Done));
                self.send_pending(pending, position);
            }
            After::RosterReceived { mut buddy, pending, origin, taken, came: _ } => {
                for row in rows {
                    self.install_for_recipient(id, row, &origin);
                }
                buddy.place(position);
                self.roster_changed(id, &before, *buddy);
                self.send_pending(pending, position);
                if let Some((settlement, reply)) = taken {
                    reply.answer(Ok(Answer::Received(vec![settlement])));
                }
            }
            After::RosterRenewed { mut buddy, pending, came: _ } => {
                buddy.place(position);
                self.roster_changed(id, &before, *buddy);
                self.send_pending(Some(pending), position);
            }
            After::MessagesTaken { origin, then, settlements, reply } => {
                for (row, then) in rows.iter().zip(then) {
                    self.install_for_recipient(id, row, &origin);
                    self.follow(id, row, &origin, then);
                }
                reply.answer(Ok(Answer::Received(settlements)));
            }
            After::QuarantineFilled { command, reply } => self.look_at_held(id, command, reply),
            After::StrangerDecided(decided) => self.stranger_decided(id, *decided, rows),
            After::Blocked { reply, viewer } => {
                match viewer {
                    Some(changed) => self.viewer_changed(id, changed),
                    None => self.block_list_changed(id),
                }
                self.look_up_sight(id, Some(reply));
            }
            After::PreferencesSet { reply } => {
                self.adopt_preferences(id);
                reply.answer(Ok(Answer::Done));
                self.sweep(id);
            }
            After::Registered { reply } => {
                reply.answer(Ok(Answer::Done));
                self.registrations_changed(id);
            }
            After::FileChanged { reply } => self.file_changed(id, reply),
            After::Invited { answer, reply } => reply.answer(Ok(*answer)),
            After::RulesSet { rules, reply } => {
                resident.rules = rules;
                reply.answer(Ok(Answer::Done));
            }
            After::RulesLooked(looked) => self.rules_looked(id, *looked),
            After::DeviceAdded { number, progress, options, reply } => {
                // Acknowledgements that came meanwhile are not undone: only the new cursor is taken over.
                resident.progress.cursors.extend(progress.cursor(number));
                self.mark_dirty(id);
                self.attach(id, Some(number), *options, reply);
            }
            After::DeviceRetired { progress, reply } => {
                resident.progress.cursors.retain(|c| progress.cursor(c.device).is_some());
                self.mark_dirty(id);
                reply.answer(Ok(Answer::Done));
                self.sweep(id);
            }
        }
    }

    fn send_pending(&mut self, pending: Option<Box<Pending>>, position: Position) {
        if let Some(mut pending) = pending {
            pending.place(position);
            self.signal(pending.recipient.slot(), Signal::Pending(pending));
        }
    }

    // ---- reading before changing ----------------------------------------------------------------------------

    /// Closes the gate until this is read.
    pub(super) fn fetch_first(&mut self, id: AddressId, work: Work, fetch: Fetch) {
        if let Some(resident) = self.residents.get_mut(&id) {
            resident.gate = Gate::Fetching(Box::new(work));
            self.fetch(fetch);
        }
    }

    /// The work that waited for something to be read, with the gate open again.
    pub(super) fn take_fetching(&mut self, id: AddressId) -> Option<Work> {
        let resident = self.residents.get_mut(&id)?;
        match std::mem::replace(&mut resident.gate, Gate::Open) {
            Gate::Fetching(work) => Some(*work),
            other => {
                resident.gate = other;
                None
            }
        }
    }

    /// Takes up what waits, unless something closed the gate again.
    pub(super) fn continue_gate(&mut self, id: AddressId) {
        if self.residents.get(&id).is_some_and(|r| matches!(r.gate, Gate::Open)) {
            self.open_gate(id);
        }
    }

    /// A peer was looked up for an edit or for somebody's signal.
    pub(super) fn take_peer(&mut self, id: AddressId, result: Result<FoundPeer>) {
        let Some(work) = self.take_fetching(id) else {
            return;
        };
        match (work, result) {
            (work, Err(error)) => self.cannot(work, &error),
            (Work::Pending(pending), Ok(peer)) => self.receive(id, *pending, peer),
            (Work::Parcel { parcel, reply }, Ok(peer)) => self.take_roster_signal(id, *parcel, peer, reply),
            (Work::Remember { peer: address, group }, Ok(peer)) => self.remember(id, address, &group, peer),
            (Work::Superseded { pending, known }, Ok(peer)) => self.renew_signal(id, *pending, known, peer),
            (Work::Command { session, command, reply }, Ok(peer)) => match *command {
                Command::Roster(edit)
                    if matches!(edit.op, Op::Remove | Op::Update) && peer.buddy.is_none() =>
                {
                    let what = format!("{} is not on the roster", edit.peer.bare());
                    reply.answer(Err(Refusal::NotFound(what).into()));
                }
                Command::Roster(edit) => self.decide_edit(id, edit, peer, reply),
                Command::SetVisibility { viewer, visibility } => {
                    self.set_visibility(id, (&viewer, visibility), &peer, reply);
                }
                Command::ExplainRules { sender, text } => {
                    self.explain_rules(id, (peer.id, &sender), &text, reply);
                }
                Command::ExplainPresence { viewer } => {
                    self.explain_presence(id, (peer.id, &viewer.bare()), reply);
                }
                Command::ExplainAdmission { sender } => {
                    self.explain_admission(id, (peer.id, &sender.bare()), reply);
                }
                Command::MarkRead { peer: address, upto } => {
                    self.mark_read(id, session, (&address, upto), &peer, reply);
                }
                _ => reply.answer(Err(Error::internal("a peer was read for nothing"))),
            },
            (work, Ok(_)) => self.cannot(work, &Error::internal("a peer was read for nothing")),
        }
        self.continue_gate(id);
    }

    // ---- accounts -------------------------------------------------------------------------------------------

    pub(super) fn create_account(
        &mut self,
        id: AddressId,
        address: Address,
        reply: ReplyTo,
        waiting: Box<Waiting>,
    ) {
        if !self.hosts(&address) {
            let what = format!("the domain {} is not hosted here", address.domain());
            reply.answer(Err(Refusal::NotFound(what).into()));
            return self.absent(&address, Some(id), waiting);
        }
        let record = Arc::new(Record::new(id, address.clone()));
        let writes = vec![Write::Address { id, address }, Write::AccountCreated(Arc::clone(&record))];
        let loaded = Loaded {
            record,
            progress: Progress::default(),
            unclaimed: Vec::new(),
            quarantined: Vec::new(),
            last: Position::ZERO,
            rules: None,
        };
        self.reside(loaded, waiting);
        if let Some(resident) = self.residents.get_mut(&id) {
            resident.ring = Ring::Known(Default::default());
        }
        self.change(id, Changing { record: None, after: After::Created { reply } }, writes);
    }

    /// The account could not be made: whatever waited for it finds none, or the one that was there first.
    fn uncreate(&mut self, id: AddressId, error: &Error) {
        let Some(resident) = self.residents.remove(&id) else {
            return;
        };
        let address = &resident.record.address;
        self.accounts.remove(address);
        for work in resident.waiting.into_iter().flat_map(|waiting| waiting.0) {
            match error.kind {
                // An import made it meanwhile.
                ErrorKind::Conflict => self.work(address.clone(), work),
                _ => self.cannot(work, error),
            }
        }
    }

    pub(super) fn delete_account(&mut self, id: AddressId, reply: ReplyTo) {
        let work = Work::Command { session: None, command: Box::new(Command::DeleteAccount), reply };
        self.fetch_first(id, work, Fetch::Buddies { account: id, purpose: BuddiesFor::Deletion });
    }

    pub(super) fn take_buddies(&mut self, id: AddressId, purpose: BuddiesFor, result: Result<Vec<Buddy>>) {
        match purpose {
            BuddiesFor::Snapshot(session) => return self.take_snapshot(id, session, result),
            BuddiesFor::Sight => return self.take_sight(id, result),
            BuddiesFor::Deletion => {}
        }
        let Some(Work::Command { reply, .. }) = self.take_fetching(id) else {
            return;
        };
        match result {
            Ok(buddies) => self.decide_deletion(id, &buddies, reply),
            Err(error) => reply.answer(Err(error)),
        }
        self.continue_gate(id);
    }

    /// Every buddy is told, by a signal that outlives the account.
    fn decide_deletion(&mut self, id: AddressId, buddies: &[Buddy], reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let address = resident.record.address.clone();
        let pending: Vec<Pending> = buddies
            .iter()
            .filter_map(|buddy| {
                let at = self.stamp(&address, &buddy.address, buddy.halves);
                Some(Pending {
                    position: OWN,
                    origin: id,
                    origin_address: address.clone(),
                    recipient: buddy.address.clone(),
                    signal: roster::farewell(buddy, at)?,
                })
            })
            .collect();
        let mut writes = vec![Write::AccountDeleted(id)];
        writes.extend(pending.iter().cloned().map(Write::Pend));
        self.change(id, Changing { record: None, after: After::Deleted { pending, reply } }, writes);
    }

    fn forget_account(&mut self, id: AddressId, pending: Vec<Pending>, position: Position) {
        // It leaves memory first: an account that ends its last session is idle, and would leave by itself.
        let Some(resident) = self.residents.remove(&id) else {
            return;
        };
        let address = resident.record.address.clone();
        self.accounts.remove(&address);
        for session in resident.sessions {
            self.end_session(session, EndReason::AccountDeleted);
        }
        self.sweep_deleted(id, resident.in_flight.len(), position);
        for pending in pending {
            self.send_pending(Some(Box::new(pending)), position);
        }
        // What waited finds no account; a creation among it makes a new one.
        for work in resident.waiting.into_iter().flat_map(|waiting| waiting.0) {
            self.work(address.clone(), work);
        }
    }

    // ---- preferences and blocking ---------------------------------------------------------------------------

    pub(super) fn preferences_of(&self, record: &Record) -> Preferences {
        let server = self.shared.options.preferences;
        match self.domains.domains.get(record.address.domain()) {
            Some(domain) => server.under(&domain.overrides).under(&record.overrides),
            None => server.under(&record.overrides),
        }
    }

    /// What is in force for an account in memory may be another.
    pub(super) fn adopt_preferences(&mut self, id: AddressId) {
        let Some(record) = self.residents.get(&id).map(|resident| Arc::clone(&resident.record)) else {
            return;
        };
        let preferences = self.preferences_of(&record);
        if let Some(resident) = self.residents.get_mut(&id)
            && resident.preferences != preferences
        {
            resident.preferences = preferences;
            resident.to_sweep = resident.last;
            self.tell_sessions(id, Slot::Preferences, &EventBody::PreferencesChanged);
            self.look_at_retention(id);
        }
    }

    pub(super) fn set_preferences(&mut self, id: AddressId, overrides: Overrides, reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let mut record = (*resident.record).clone();
        let unknown = std::mem::take(&mut record.overrides.unknown);
        record.overrides = Overrides { unknown, ..overrides };
        let record = Arc::new(record);
        let writes = vec![Write::Account(Arc::clone(&record))];
        self.change(id, Changing { record: Some(record), after: After::PreferencesSet { reply } }, writes);
    }

    pub(super) fn block(&mut self, id: AddressId, address: Address, blocked: bool, reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let address = address.bare();
        let mut record = (*resident.record).clone();
        let changed = match blocked {
            true => !record.blocks_exactly(&address),
            false => record.blocked.remove(&address).is_some(),
        };
        if blocked && changed {
            record.blocked.insert(address, resident.last_seen(self.now.wall));
        }
        if !changed {
            return reply.answer(Ok(Answer::Done));
        }
        let record = Arc::new(record);
        let writes = vec![Write::Account(Arc::clone(&record))];
        self.change(
            id,
            Changing { record: Some(record), after: After::Blocked { reply, viewer: None } },
            writes,
        );
    }

    // ---- queries the reader answers -------------------------------------------------------------------------

    pub(super) fn read_history(&mut self, id: AddressId, request: HistoryRequest, reply: ReplyTo) {
        match history_query(id, request) {
            Ok((query, peer)) => self.fetch(Fetch::History { query, peer, reply }),
            Err(error) => reply.answer(Err(error)),
        }
    }
}

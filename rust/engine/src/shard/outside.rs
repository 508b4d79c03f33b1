//! Presence and chat states to and from outside.
//!
//! Of each account in memory with buddies outside it is known who they are and what they last showed. Nothing of it is
//! written: whoever connects asks anew, and what nobody has told is unknown.

use super::presence::{MAX_EXTENSIONS_BYTES, MAX_NOTE_BYTES};
use super::{Deadline, Residency, Shard};
use crate::relay::Notice;
use crate::relay::queue::RelayQueue;
use rosterkit_core::account::Record;
use rosterkit_core::address::Address;
use rosterkit_core::admission::sight;
use rosterkit_core::content::ChatState;
use rosterkit_core::id::{AddressId, SessionId};
use rosterkit_core::presence::{Presence, State, Visibility};
use rosterkit_core::roster::Buddy;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// How long what outside buddies showed holds without a connection.
const HOLDS_MS: u64 = 90_000;

/// The outside buddies of an account in memory.
pub(super) type OutsideBuddies = FxHashMap<Address, OutsideBuddy>;

/// One of them.
pub(super) struct OutsideBuddy {
    id: AddressId,
    /// The account sees them.
    to: bool,
    /// How much they see of the account.
    sees: Visibility,
    /// What they last showed.
    presence: Presence,
}

impl Shard {
    // ---- who they are -----------------------------------------------------------------------------------------

    /// The account's buddies were read: who of them is outside. Who was blocked, or is not any more, sees it.
    pub(super) fn learn_outside(&mut self, id: AddressId, record: &Record, buddies: &[Buddy]) {
        let mut before = self.outside.remove(&id).unwrap_or_default();
        let mut now = OutsideBuddies::default();
        let mut changed = Vec::new();
        for buddy in buddies.iter().filter(|buddy| !self.hosts(&buddy.address)) {
            let sees = sight(record, buddy.peer, &buddy.address).visibility();
            let was = before.remove(&buddy.address);
            if was.as_ref().is_some_and(|was| was.sees != sees) {
                changed.push((buddy.address.clone(), sees));
            }
            let presence = was.map_or_else(Presence::unknown, |was| was.presence);
            let to = buddy.halves.to();
            now.insert(buddy.address.clone(), OutsideBuddy { id: buddy.peer, to, sees, presence });
        }
        if !now.is_empty() {
            self.outside.insert(id, Box::new(now));
        }
        for (watcher, sees) in changed {
            self.tell_outside_watcher(id, &watcher, sees);
        }
    }

    /// What is between the account and an outside peer changed.
    pub(super) fn outside_changed(&mut self, id: AddressId, record: &Record, buddy: &Buddy) {
        let (to, sees) = (buddy.halves.to(), sight(record, buddy.peer, &buddy.address).visibility());
        let known = self.outside.entry(id).or_default();
        let entry = known.entry(buddy.address.clone()).or_insert_with(|| OutsideBuddy {
            id: buddy.peer,
            to: false,
            sees: Visibility::Hidden,
            presence: Presence::unknown(),
        });
        let (was_to, saw) = (entry.to, entry.sees);
        (entry.to, entry.sees) = (to, sees);
        if saw != sees {
            self.tell_outside_watcher(id, &buddy.address, sees);
        }
        if to && !was_to {
            self.probe_outside(id, &buddy.address);
        }
        if was_to && !to {
            self.show_outside(id, &buddy.address, Presence::offline());
        }
    }

    // ---- out --------------------------------------------------------------------------------------------------

    /// The account's aggregate changed.
    pub(super) fn tell_outside(&self, id: AddressId, subject: &Address, before: &Presence, now: &Presence) {
        let Some(known) = self.outside.get(&id) else {
            return;
        };
        for (watcher, buddy) in known.iter() {
            let (was, is) = (buddy.sees.of(before), buddy.sees.of(now));
            if was != is {
                self.send_presence(subject, watcher, is);
            }
        }
    }

    fn tell_outside_watcher(&self, id: AddressId, watcher: &Address, sees: Visibility) {
        if let Some(resident) = self.residents.get(&id) {
            self.send_presence(&resident.record.address, watcher, sees.of(&resident.shown));
        }
    }

    fn send_presence(&self, subject: &Address, watcher: &Address, presence: Presence) {
        let (subject, watcher) = (subject.clone(), watcher.clone());
        self.notify_outside(&watcher.clone(), Notice::Presence { subject, watcher, presence });
    }

    /// Asks an outside buddy what they show.
    pub(super) fn probe_outside(&self, id: AddressId, subject: &Address) {
        if let Some(resident) = self.residents.get(&id) {
            let (watcher, subject) = (resident.record.address.clone(), subject.clone());
            self.notify_outside(&subject.clone(), Notice::Probe { watcher, subject });
        }
    }

    pub(super) fn send_typing_outside(&self, sender: &Address, recipient: &Address, state: ChatState) {
        let (sender, recipient) = (sender.clone(), recipient.bare());
        self.notify_outside(&recipient.clone(), Notice::Typing { sender, recipient, state });
    }

    /// How much somebody outside sees of an account.
    pub(super) fn seen_outside(&self, id: AddressId, watcher: &Address) -> Visibility {
        let buddy = self.outside.get(&id).and_then(|known| known.get(watcher));
        buddy.map_or(Visibility::Hidden, |buddy| buddy.sees)
    }

    pub(super) fn notify_outside(&self, to: &Address, notice: Notice) {
        if let Some(relay) = self.shared.relays.serving(to.domain()) {
            relay.put_notice(notice);
        }
    }

    // ---- in ---------------------------------------------------------------------------------------------------

    /// What a relay brings that nobody keeps. Presence and typing never load an account.
    pub(super) fn take_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Presence { subject, watcher, presence } => {
                let note = presence.note.as_ref().map_or(0, |note| note.len());
                let fits = note <= MAX_NOTE_BYTES && presence.extensions.len() <= MAX_EXTENSIONS_BYTES;
                if let Some(id) = self.here(&watcher).filter(|_| fits) {
                    self.show_outside(id, &subject.bare(), presence);
                }
            }
            Notice::Probe { watcher, subject } => {
                let (watcher, subject) = (watcher.bare(), subject.bare());
                let shown = self.here(&subject).and_then(|id| {
                    let buddy = self.outside.get(&id)?.get(&watcher)?;
                    Some(buddy.sees.of(&self.residents.get(&id)?.shown))
                });
                self.send_presence(&subject, &watcher, shown.unwrap_or_else(Presence::offline));
            }
            Notice::Typing { sender, recipient, state } => {
                let (sender, recipient) = (sender.bare(), recipient.bare());
                // Of a stranger it says nothing that anybody waits for.
                let known = self.here(&recipient).and_then(|id| self.outside.get(&id));
                if let Some(id) = known.and_then(|known| known.get(&sender)).map(|buddy| buddy.id) {
                    self.take_typing((id, &sender, false), &recipient, state);
                }
            }
        }
    }

    fn here(&self, account: &Address) -> Option<AddressId> {
        match self.accounts.get(&account.bare()) {
            Some(Residency::Here(id)) => Some(*id),
            _ => None,
        }
    }

    /// An outside buddy shows something else: the account's sessions are told, if it may be seen.
    fn show_outside(&mut self, id: AddressId, subject: &Address, presence: Presence) {
        let Some(buddy) = self.outside.get_mut(&id).and_then(|known| known.get_mut(subject)) else {
            return;
        };
        let ended = !buddy.to && presence.state == State::Offline;
        if !buddy.to && !ended || buddy.presence == presence {
            return;
        }
        buddy.presence = if ended { Presence::unknown() } else { presence.clone() };
        let peer = buddy.id;
        self.take_presence(peer, subject, &presence, &[id]);
    }

    /// What an outside buddy showed.
    pub(super) fn shown_outside(&self, id: AddressId, subject: &Address) -> Presence {
        let buddy = self.outside.get(&id).and_then(|known| known.get(subject));
        buddy.filter(|buddy| buddy.to).map_or_else(Presence::unknown, |buddy| buddy.presence.clone())
    }

    // ---- connections come and go ------------------------------------------------------------------------------

    /// A relay has a connection: its buddies are asked and told.
    pub(super) fn outside_is_back(&mut self, relay: &Arc<RelayQueue>) {
        self.away.remove(&relay.id);
        for (id, known) in &self.outside {
            let Some(resident) = self.residents.get(id) else {
                continue;
            };
            let watches = resident.sessions.iter().any(|session| self.is_online(session));
            for (address, buddy) in known.iter().filter(|(address, _)| relay.covers(address.domain())) {
                if buddy.to && watches {
                    self.probe_outside(*id, address);
                }
                if buddy.sees != Visibility::Hidden {
                    self.send_presence(&resident.record.address, address, buddy.sees.of(&resident.shown));
                }
            }
        }
    }

    /// Whether a relay with a connection serves the address, this one or another.
    fn is_connected(&self, address: &Address) -> bool {
        self.shared.relays.serving(address.domain()).is_some_and(|relay| relay.epoch().is_some())
    }

    fn is_online(&self, session: &SessionId) -> bool {
        self.sessions.get(session).is_some_and(|attached| attached.sees_presence())
    }

    /// A relay lost its connection. What its buddies showed holds for a while.
    pub(super) fn outside_is_away(&mut self, relay: Arc<RelayQueue>) {
        let (id, due) = (relay.id, self.now.tick.after(HOLDS_MS));
        self.away.insert(id, (due, relay));
        self.schedule(due, Deadline::OutsideIsAway(id));
    }

    /// It held for long enough: nobody knows what they show.
    pub(super) fn outside_is_unknown(&mut self, relay: u64) {
        match self.away.get(&relay) {
            // It came back and went away again since.
            Some((due, _)) if *due > self.now.tick => {
                let due = *due;
                return self.schedule(due, Deadline::OutsideIsAway(relay));
            }
            _ => {}
        }
        let Some((_, relay)) = self.away.remove(&relay) else {
            return;
        };
        let unknown: Vec<(AddressId, Address)> = self
            .outside
            .iter()
            .flat_map(|(id, known)| known.iter().map(move |(address, buddy)| (*id, address, buddy)))
            .filter(|(_, address, buddy)| buddy.to && relay.covers(address.domain()))
            .filter(|(_, address, _)| !self.is_connected(address))
            .map(|(id, address, _)| (id, address.clone()))
            .collect();
        for (id, address) in unknown {
            self.show_outside(id, &address, Presence::unknown());
        }
    }
}

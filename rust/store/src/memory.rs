//! A store in memory, on plain maps: for tests, and a second opinion on what the trait means.
//!
//! Opening it again finds the data: it lives as long as the [`MemoryStore`]. Nothing is lost, nothing fails.

use crate::values::encode_row;
use crate::{
    Anchor, Checkpointer, CommitError, Direction, DueRow, Facts, FileInfo, Head, HistoryPage, HistoryQuery,
    Item, Loaded, Opened, Reader, Store, StoreError, StoredRows, UnclaimedRow, Writer,
};
use rosterkit_core::account::{Progress, Record};
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::id::{AddressId, ClientId, Position};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::preferences::Overrides;
use rosterkit_core::roster::Buddy;
use rosterkit_core::row::{Kind, Row, Side, Sides};
use rosterkit_core::rules::RuleSet;
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{
    ClientIdEntry, Credential, DELIVERIES_ARE_KNOWN_MS, Due, File, Forward, Pending, RulesOf, Write,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many positions are reserved at once.
const RESERVE: u64 = 1 << 20;

/// A store in memory.
#[derive(Default)]
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
}

#[derive(Clone, Default)]
struct Data {
    reserved: u64,
    log: BTreeMap<Position, Row>,
    addresses: BTreeMap<AddressId, (Address, bool)>,
    accounts: BTreeMap<AddressId, Arc<Record>>,
    progress: BTreeMap<AddressId, Progress>,
    buddies: BTreeMap<(AddressId, AddressId), Buddy>,
    domains: BTreeMap<String, (Domain, Overrides)>,
    unswept: BTreeSet<AddressId>,
    pending: BTreeMap<(Position, Address), Pending>,
    client_ids: BTreeMap<(AddressId, Position), ClientIdEntry>,
    outbox: BTreeSet<Position>,
    marks: BTreeMap<(AddressId, AddressId), Marks>,
    due: BTreeMap<(Position, Due), (Timestamp, AddressId)>,
    quarantine: BTreeSet<(AddressId, Position)>,
    forwards: BTreeMap<(Position, Address), bool>,
    rules: BTreeMap<RulesOf, Arc<RuleSet>>,
    seen: BTreeMap<u64, Position>,
    sent: Position,
    file_generation: u64,
    deliveries: BTreeMap<(AddressId, AddressId, Arc<str>), Timestamp>,
    credentials: BTreeMap<(AddressId, String), Credential>,
    files: BTreeMap<(AddressId, String), File>,
}

/// The first of these rows.
fn stored<'a>(rows: impl Iterator<Item = &'a Row>, limit: usize, max_bytes: usize) -> StoredRows {
    let mut found = StoredRows::of(&Path::new("memory").into());
    for row in rows {
        let Row { position, sides, entry } = row;
        let head =
            Head { position: *position, sender: entry.sender, recipient: entry.recipient, sides: *sides };
        found.push(head, &encode_row(*position, entry));
        if found.heads().len() >= limit || found.size() >= max_bytes {
            break;
        }
    }
    found
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        let store = MemoryStore::default();
        // Two of them are two, also in one process.
        static OPENED: AtomicU64 = AtomicU64::new(1);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        lock(&store.data).file_generation = u64::from(std::process::id()) << 32 | number;
        Arc::new(store)
    }
}

impl Store for MemoryStore {
    fn open(&self) -> Result<Opened, StoreError> {
        let mut data = lock(&self.data);
        let highest = data.log.keys().next_back().map_or(0, |p| p.0);
        let reserved = if planted(Bug::PositionGivenAgain) { 0 } else { data.reserved };
        let first = reserved.max(highest + 1);
        data.reserved = first + RESERVE;
        let facts = Facts {
            file_generation: data.file_generation,
            sent: data.sent,
            first_position: Position(first),
            next_serial: data.addresses.keys().next_back().map_or(1, |id| id.serial() + 1),
            domains: data.domains.values().cloned().collect(),
            unswept: data.unswept.iter().copied().collect(),
            rules: data
                .rules
                .iter()
                .filter(|(owner, _)| !matches!(owner, RulesOf::Account(_)))
                .map(|(owner, rules)| (owner.clone(), Arc::clone(rules)))
                .collect(),
        };
        let part = || Part { data: Arc::clone(&self.data) };
        Ok(Opened {
            writer: Box::new(part()),
            reader: Box::new(part()),
            checkpointer: Box::new(part()),
            facts,
        })
    }
}

/// Every part is the same here.
struct Part {
    data: Arc<Mutex<Data>>,
}

fn lock(data: &Mutex<Data>) -> MutexGuard<'_, Data> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Checkpointer for Part {
    fn wal_pages(&mut self) -> Result<u64, CommitError> {
        Ok(0)
    }

    fn checkpoint_if_due(&mut self) -> Result<bool, CommitError> {
        Ok(true)
    }

    fn empty_log(&mut self) -> Result<bool, CommitError> {
        Ok(true)
    }
}

impl Writer for Part {
    fn reserved(&self) -> Position {
        Position(lock(&self.data).reserved)
    }

    fn commit(&mut self, items: &[Item]) -> Result<(), CommitError> {
        let mut data = lock(&self.data);
        // All or nothing: written into a copy of what an item can change and be refused for.
        let mut next = data.clone();
        for (number, item) in items.iter().enumerate() {
            for write in &item.writes {
                next.apply(write).map_err(|source| CommitError::Item { item: number, source })?;
            }
        }
        let highest = next.log.keys().next_back().map_or(0, |p| p.0);
        if items.is_empty() || highest + RESERVE / 2 >= next.reserved {
            next.reserved = next.reserved.max(highest + 1) + RESERVE;
        }
        *data = next;
        Ok(())
    }

    fn index(&mut self, _all: bool) -> Result<bool, CommitError> {
        Ok(false)
    }
}

impl Data {
    fn apply(&mut self, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::Append(row) => {
                if self.log.insert(row.position, (**row).clone()).is_some() {
                    return Err(StoreError::Refused("the position is taken"));
                }
                if row.entry.is_queued() && row.sides.needed_by(Side::Recipient) {
                    self.outbox.insert(row.position);
                    self.sent = self.sent.max(row.position);
                }
                if row.sides.is_quarantined() {
                    self.quarantine.insert((row.entry.recipient, row.position));
                }
                if let Some(expires) = row.entry.expires {
                    self.due.insert((row.position, Due::Expiry), (expires, row.entry.recipient));
                }
            }
            Write::Amend { position, amendment, time } => {
                let admitted_as = self.log.get(position).and_then(|row| row.entry.admitted_as);
                for position in [Some(*position), admitted_as].into_iter().flatten() {
                    if let Some(row) = self.log.get_mut(&position) {
                        row.entry.amend(amendment, *time);
                    }
                }
            }
            Write::Outcome { position, outcome } => {
                if let Some(row) = self.log.get_mut(position) {
                    row.entry.outcome = Some(outcome.clone());
                }
            }
            Write::Due { position, recipient, time, what } => {
                self.due.insert((*position, *what), (*time, *recipient));
            }
            Write::DueDone { position, what } => drop(self.due.remove(&(*position, *what))),
            Write::Forward(Forward { position, target, redirects }) => {
                self.forwards.insert((*position, target.clone()), *redirects);
                self.change_sides(*position, |sides| sides.forwarding(true));
            }
            Write::Forwarded { position, target } => {
                self.forwards.remove(&(*position, target.clone()));
                if self.forwards.keys().all(|(of, _)| of != position) {
                    self.change_sides(*position, |sides| sides.forwarding(false));
                }
            }
            Write::Release { position, admitted_as } => {
                if let Some(row) = self.log.get_mut(position).filter(|row| row.sides.is_quarantined()) {
                    row.entry.admitted_as = *admitted_as;
                    self.quarantine.remove(&(row.entry.recipient, *position));
                    self.change_sides(*position, |sides| sides.quarantined(false));
                }
            }
            Write::Rules(owner, Some(rules)) => {
                self.rules.insert(owner.clone(), Arc::clone(rules));
            }
            Write::Rules(owner, None) => drop(self.rules.remove(owner)),
            Write::Marks { account, peer, marks } => {
                let known = self.marks.entry((*account, *peer)).or_default();
                *known = known.joined(*marks);
            }
            Write::Address { id, address } => {
                if self.live(address).is_some_and(|live| live != *id) {
                    return Err(StoreError::Refused("the address has an id"));
                }
                self.addresses.entry(*id).or_insert_with(|| (address.clone(), true));
            }
            Write::AccountCreated(record) if self.accounts.contains_key(&record.id) => {
                return Err(StoreError::account_exists(&record.address));
            }
            Write::Account(record) | Write::AccountCreated(record) => {
                if !self.domains.contains_key(record.address.domain()) {
                    return Err(StoreError::Refused("the domain of the account is not hosted"));
                }
                self.accounts.insert(record.id, Arc::clone(record));
            }
            Write::Progress(account, progress) => drop(self.progress.insert(*account, progress.clone())),
            Write::AccountDeleted(id) => {
                self.accounts.remove(id);
                self.progress.remove(id);
                self.buddies.retain(|(account, _), _| account != id);
                self.client_ids.retain(|(account, _), _| account != id);
                self.credentials.retain(|(account, _), _| account != id);
                self.files.retain(|(account, _), _| account != id);
                self.marks.retain(|(account, _), _| account != id);
                self.rules.remove(&RulesOf::Account(*id));
                if let Some((_, live)) = self.addresses.get_mut(id) {
                    *live = false;
                }
                self.unswept.insert(*id);
                let held: Vec<_> =
                    self.quarantine.iter().copied().filter(|(account, _)| account == id).collect();
                for (account, position) in held {
                    self.quarantine.remove(&(account, position));
                    self.change_sides(position, |sides| sides.quarantined(false));
                }
            }
            Write::Swept(id) => drop(self.unswept.remove(id)),
            Write::Buddy(account, buddy) => drop(self.buddies.insert((*account, buddy.peer), buddy.clone())),
            Write::BuddyReplaced { account, former } => drop(self.buddies.remove(&(*account, *former))),
            Write::Domain(domain, overrides) => {
                self.domains.insert(domain.as_str().into(), (domain.clone(), overrides.clone()));
            }
            Write::DomainRemoved(domain) => {
                let has_accounts = self.accounts.values().any(|r| r.address.domain() == domain.as_str());
                if has_accounts || self.domains.remove(domain.as_str()).is_none() {
                    return Err(StoreError::Refused("the domain is not there, or has accounts still"));
                }
                self.rules.remove(&RulesOf::Domain(domain.clone()));
            }
            Write::Pend(pending) => {
                self.sent = self.sent.max(pending.position);
                self.pending.insert((pending.position, pending.recipient.clone()), pending.clone());
            }
            Write::Settle { position, recipient } => {
                drop(self.pending.remove(&(*position, recipient.clone())))
            }
            Write::ClearSide { position, side } => self.clear_side(*position, *side),
            Write::Seen { file_generation, position } => {
                let seen = self.seen.entry(*file_generation).or_default();
                *seen = (*seen).max(*position);
            }
            Write::FileGeneration(generation) => self.file_generation = *generation,
            Write::Relayed { position, outcome } => {
                self.outbox.remove(position);
                if let Some(row) = self.log.get_mut(position) {
                    row.entry.outcome = Some(outcome.clone());
                }
                self.clear_side(*position, Side::Recipient);
            }
            Write::Delivery { origin, recipient, delivery_id, time } => {
                self.deliveries.insert((*origin, *recipient, Arc::clone(delivery_id)), *time);
                self.deliveries.retain(|_, then| then.0 >= time.0 - DELIVERIES_ARE_KNOWN_MS);
            }
            Write::ClientId(account, entry) => {
                self.client_ids.insert((*account, entry.position), entry.clone());
            }
            Write::Credential(account, credential) => {
                self.credentials.insert((*account, credential.mechanism.clone()), credential.clone());
            }
            Write::FileRemoved(account, path) => drop(self.files.remove(&(*account, path.clone()))),
            Write::File(account, file) => {
                drop(self.files.insert((*account, file.path.clone()), file.clone()))
            }
        }
        Ok(())
    }

    fn clear_side(&mut self, position: Position, side: Side) {
        self.change_sides(position, |sides| sides.cleared(side));
    }

    fn change_sides(&mut self, position: Position, change: impl FnOnce(Sides) -> Sides) {
        if let Some(row) = self.log.get_mut(&position) {
            row.sides = change(row.sides);
            if row.sides.is_clear()
                && let Some(row) = self.log.remove(&position)
                && let Some(entry) = ClientIdEntry::of(&row)
            {
                self.client_ids.insert((row.entry.sender, position), entry);
            }
        }
    }

    fn live(&self, address: &Address) -> Option<AddressId> {
        let bare = address.bare();
        self.addresses.iter().find(|(_, (text, live))| *live && *text == bare).map(|(id, _)| *id)
    }

    fn needed_rows(
        &self,
        account: AddressId,
        after: Position,
        upto: Position,
    ) -> impl DoubleEndedIterator<Item = &Row> {
        let range = (Bound::Excluded(after), Bound::Included(upto.max(after)));
        self.log
            .range(range)
            .map(|(_, row)| row)
            .filter(move |row| row.entry.sides_of(account).any(|side| row.sides.needed_by(side)))
    }

    fn client_ids_of(&self, account: AddressId) -> impl Iterator<Item = ClientIdEntry> {
        let rows =
            self.log.values().filter(move |row| row.entry.sender == account).filter_map(ClientIdEntry::of);
        let ring = self.client_ids.range((account, Position::ZERO)..=(account, Position::MAX));
        ring.map(|(_, entry)| entry.clone()).chain(rows)
    }
}

impl Reader for Part {
    fn again(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(Part { data: Arc::clone(&self.data) }))
    }

    fn address_id(&mut self, address: &Address) -> Result<Option<AddressId>, StoreError> {
        Ok(lock(&self.data).live(address))
    }

    fn addresses(&mut self, ids: &[AddressId]) -> Result<Vec<Option<Address>>, StoreError> {
        let data = lock(&self.data);
        Ok(ids.iter().map(|id| data.addresses.get(id).map(|(address, _)| address.clone())).collect())
    }

    fn account(&mut self, address: &Address) -> Result<Option<Loaded>, StoreError> {
        let data = lock(&self.data);
        let Some(record) = data.live(address).and_then(|id| data.accounts.get(&id)) else {
            return Ok(None);
        };
        let id = record.id;
        let progress = data.progress.get(&id).cloned().unwrap_or_default();
        let upto = progress.claims.upto();
        let unclaimed = data
            .needed_rows(id, upto, Position::MAX)
            .filter(|row| row.entry.recipient == id && row.sides.needed_by(Side::Recipient))
            .filter(|row| !progress.claims.is_claimed(row.position))
            .map(UnclaimedRow::of)
            .collect();
        let held = data.quarantine.range((id, Position::ZERO)..=(id, Position::MAX));
        let quarantined = held.filter_map(|(_, at)| data.log.get(at)).map(UnclaimedRow::of).collect();
        let last = data.needed_rows(id, upto, Position::MAX).next_back().map_or(upto, |row| row.position);
        let rules = data.rules.get(&RulesOf::Account(id)).cloned();
        Ok(Some(Loaded { record: Arc::clone(record), progress, unclaimed, quarantined, last, rules }))
    }

    fn accounts(
        &mut self,
        domain: &Domain,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<Address>, StoreError> {
        let data = lock(&self.data);
        let mut all: Vec<Address> = data
            .accounts
            .values()
            .map(|record| record.address.clone())
            .filter(|address| {
                address.domain() == domain.as_str() && after.is_none_or(|after| address > after)
            })
            .collect();
        all.sort_unstable();
        all.truncate(limit);
        Ok(all)
    }

    fn registered(
        &mut self,
        beyond: Timestamp,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<Address>, StoreError> {
        let data = lock(&self.data);
        let registered = data.accounts.values().filter(|record| record.registered_until() > beyond);
        let mut all: Vec<Address> = registered
            .map(|record| record.address.clone())
            .filter(|address| after.is_none_or(|after| address > after))
            .collect();
        all.sort_unstable();
        all.truncate(limit);
        Ok(all)
    }

    fn buddy(&mut self, account: AddressId, peer: AddressId) -> Result<Option<Buddy>, StoreError> {
        Ok(lock(&self.data).buddies.get(&(account, peer)).cloned())
    }

    fn former_buddy(
        &mut self,
        account: AddressId,
        address: &Address,
        id: AddressId,
    ) -> Result<Option<Buddy>, StoreError> {
        let data = lock(&self.data);
        let older = data.buddies.iter().filter(|((of, peer), _)| *of == account && *peer < id);
        let mut at_address = older.map(|(_, buddy)| buddy).filter(|buddy| buddy.address == *address);
        Ok(at_address.next_back().cloned())
    }

    fn buddies(&mut self, account: AddressId, since: Position) -> Result<Vec<Buddy>, StoreError> {
        let data = lock(&self.data);
        let of = data.buddies.iter().filter(|((of, _), _)| *of == account).map(|(_, buddy)| buddy);
        let mut buddies: Vec<Buddy> =
            of.filter(|b| b.version > since || since == Position::ZERO).cloned().collect();
        buddies.sort_unstable_by(|a, b| (&a.address, a.peer).cmp(&(&b.address, b.peer)));
        Ok(buddies)
    }

    fn stored(
        &mut self,
        account: AddressId,
        after: Position,
        upto: Position,
        limit: usize,
        max_bytes: usize,
    ) -> Result<StoredRows, StoreError> {
        let data = lock(&self.data);
        Ok(stored(data.needed_rows(account, after, upto), limit, max_bytes))
    }

    fn stored_at(&mut self, positions: &[Position], max_bytes: usize) -> Result<StoredRows, StoreError> {
        let data = lock(&self.data);
        Ok(stored(positions.iter().filter_map(|p| data.log.get(p)), positions.len(), max_bytes))
    }

    fn history(&mut self, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        let data = lock(&self.data);
        let HistoryQuery { account, peer, anchor, direction, limit } = *query;
        let older = direction == Direction::Older;
        let wanted = |row: &&Row| {
            let with = if row.entry.sender == account { row.entry.recipient } else { row.entry.sender };
            peer.is_none_or(|peer| peer == with)
                && row.entry.sides_of(account).any(|side| row.sides.in_history_of(side))
                && matches!(row.entry.kind, Kind::Message(_))
                && match anchor {
                    Anchor::End => true,
                    Anchor::Row(at) => {
                        if older {
                            row.position < at
                        } else {
                            row.position > at
                        }
                    }
                    Anchor::Time(at) => {
                        if older {
                            row.entry.time < at
                        } else {
                            row.entry.time >= at
                        }
                    }
                }
        };
        let all: Vec<Row> = data.log.values().filter(wanted).cloned().collect();
        let complete = all.len() <= limit;
        let left_out = all.len().saturating_sub(limit);
        let rows = if older { all[left_out..].to_vec() } else { all[..all.len() - left_out].to_vec() };
        Ok(HistoryPage { rows, complete })
    }

    fn needed(
        &mut self,
        account: AddressId,
        after: Position,
        upto: Position,
        limit: usize,
    ) -> Result<Vec<(Position, Side)>, StoreError> {
        let data = lock(&self.data);
        let rows = data.needed_rows(account, after, upto).take(limit);
        Ok(rows
            .flat_map(|row| {
                let sides = row.entry.sides_of(account).filter(|side| row.sides.needed_by(*side));
                sides.map(|side| (row.position, side))
            })
            .collect())
    }

    fn client_id(&mut self, account: AddressId, id: &ClientId) -> Result<Option<ClientIdEntry>, StoreError> {
        Ok(lock(&self.data).client_ids_of(account).find(|entry| entry.client_id == *id))
    }

    fn client_id_hashes(&mut self, account: AddressId) -> Result<Vec<u64>, StoreError> {
        Ok(lock(&self.data).client_ids_of(account).map(|entry| entry.client_id.hash64()).collect())
    }

    fn pending(
        &mut self,
        after: Option<(Position, Address)>,
        limit: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let data = lock(&self.data);
        Ok(data
            .pending
            .range((from, Bound::Unbounded))
            .take(limit)
            .map(|(_, pending)| pending.clone())
            .collect())
    }

    fn outbox(&mut self, after: Position, limit: usize) -> Result<Vec<Row>, StoreError> {
        let data = lock(&self.data);
        let behind = data.outbox.range((Bound::Excluded(after), Bound::Unbounded));
        // One whose row is gone is nothing to be settled.
        let rows = behind.filter_map(|position| data.log.get(position)).take(limit);
        Ok(rows.cloned().collect())
    }

    fn is_delivered(
        &mut self,
        origin: AddressId,
        recipient: AddressId,
        delivery_id: &str,
    ) -> Result<bool, StoreError> {
        Ok(lock(&self.data).deliveries.contains_key(&(origin, recipient, delivery_id.into())))
    }

    fn seen(&mut self, file_generation: u64) -> Result<Option<Position>, StoreError> {
        Ok(lock(&self.data).seen.get(&file_generation).copied())
    }

    fn latest_of_peers(
        &mut self,
        account: AddressId,
        before: Position,
    ) -> Result<Vec<(AddressId, Position)>, StoreError> {
        let data = lock(&self.data);
        let mut latest = BTreeMap::new();
        for row in data.needed_rows(account, Position::ZERO, Position::MAX) {
            let sent = row.entry.sender == account;
            latest.insert(if sent { row.entry.recipient } else { row.entry.sender }, row.position);
        }
        let mut latest: Vec<_> = latest.into_iter().filter(|(_, position)| *position < before).collect();
        latest.sort_unstable_by_key(|(_, position)| std::cmp::Reverse(*position));
        Ok(latest)
    }

    fn marks_with(&mut self, account: AddressId, peers: &[AddressId]) -> Result<Vec<Marks>, StoreError> {
        let data = lock(&self.data);
        Ok(peers.iter().map(|peer| data.marks.get(&(account, *peer)).copied().unwrap_or_default()).collect())
    }

    fn due(
        &mut self,
        upto: Timestamp,
        of: &dyn Fn(&DueRow) -> bool,
        limit: usize,
    ) -> Result<Vec<DueRow>, StoreError> {
        let data = lock(&self.data);
        let mut rows: Vec<DueRow> = data
            .due
            .iter()
            .map(|(&(position, what), &(time, recipient))| DueRow { time, what, position, recipient })
            .filter(|row| row.time <= upto && of(row))
            .collect();
        rows.sort_unstable_by_key(|row| (row.time, row.position, row.what));
        rows.truncate(limit);
        Ok(rows)
    }

    fn forwards(
        &mut self,
        after: Option<(Position, Address)>,
        limit: usize,
    ) -> Result<Vec<Forward>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let data = lock(&self.data);
        let behind = data.forwards.range((from, Bound::Unbounded)).take(limit);
        let forward = |((position, target), redirects): (&(Position, Address), &bool)| Forward {
            position: *position,
            target: target.clone(),
            redirects: *redirects,
        };
        Ok(behind.map(forward).collect())
    }

    fn credentials(&mut self, account: AddressId) -> Result<Vec<Credential>, StoreError> {
        let data = lock(&self.data);
        Ok(data.credentials.iter().filter(|((of, _), _)| *of == account).map(|(_, c)| c.clone()).collect())
    }

    fn backup(&mut self, _to: &Path) -> Result<(), StoreError> {
        Err(StoreError::Refused("a store in memory has no file to copy"))
    }

    fn files(&mut self, account: AddressId) -> Result<Vec<FileInfo>, StoreError> {
        let data = lock(&self.data);
        let files = data.files.iter().filter(|((of, _), _)| *of == account).map(|(_, file)| FileInfo {
            path: file.path.clone(),
            size: file.bytes.len() as u64,
            modified: file.modified,
        });
        Ok(files.collect())
    }

    fn file(&mut self, account: AddressId, path: &str) -> Result<Option<File>, StoreError> {
        Ok(lock(&self.data).files.get(&(account, path.to_owned())).cloned())
    }
}

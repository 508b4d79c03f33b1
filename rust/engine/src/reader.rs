//! The reader: everything that must be fetched from the store, off the shards.
//!
//! It is also where addresses get their ids, because it alone can see whether one has an id already.

use crate::answers::ReplyTo;
use crate::command::{Answer, Roster};
use crate::error::{Error, Result};
use crate::messages::{
    DueRow, Fetch, Fetched, FetchedRows, FoundAccount, FoundDue, FoundOrigin, FoundPeer, Job, ToReader,
    ToShard, ToWrite,
};
use crate::portable::{Ids, Plan};
use crate::queue::MAX_BYTES;
use crate::readers::ReadConnection;
use crate::shared::Shared;
use crate::view;
use rosterkit_core::address::Address;
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::id::{AddressId, MessageId, Position};
use rosterkit_core::planted::{Bug, panic_if_planted};
use rosterkit_core::roster::{Buddy, Halves};
use rosterkit_core::row::Row;
use rosterkit_core::time::Timestamp;
use rosterkit_store::Reader as StoreReader;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many ids that are not on disk yet are kept before those that are by now are forgotten.
const MAX_MINTED: usize = 16_384;
/// How many rows that are to be looked at again are dealt with at once.
const DUE_SLICE: usize = 128;
/// How many rows of a sweep are looked up at once.
const SWEEP_SLICE: usize = 512;

pub(crate) struct ReaderStep {
    shared: Arc<Shared>,
    connection: Option<ReadConnection>,
    inbox: VecDeque<ToReader>,
    next_serial: u64,
    /// Of the store that is open here: ids given out belong to it.
    generation: u64,
    /// Ids given out since the store was opened; some are on disk by now, some never will be.
    minted: FxHashMap<Address, AddressId>,
    /// Rows that are due and broken: they are looked for no more, as long as this store is open.
    broken_due: FxHashSet<Position>,
}

impl ReaderStep {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        ReaderStep {
            shared,
            connection: None,
            inbox: VecDeque::new(),
            next_serial: 0,
            generation: 0,
            minted: FxHashMap::default(),
            broken_due: FxHashSet::default(),
        }
    }

    /// Waits for something to do. False when the engine is down.
    pub(crate) fn wait(&mut self) -> bool {
        self.shared.reader.wait(&mut self.inbox, None) != crate::mailbox::Taken::Closed
    }

    /// Does what is asked. Says whether anything was.
    pub(crate) fn step(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        shared.reader.take(&mut self.inbox);
        let mut busy = false;
        while let Some(message) = self.inbox.pop_front() {
            busy = true;
            match message {
                ToReader::Fetch { shard, generation, fetch } => {
                    if let Some(fetched) = self.fetch(fetch) {
                        let _ = shared.shards[shard].put(ToShard::Fetched(generation, fetched));
                    }
                }
                ToReader::Import { plan, reply } => self.import(plan, reply),
                ToReader::Reset(countdown) => {
                    self.connection = None;
                    self.minted.clear();
                    self.broken_due.clear();
                    drop(countdown);
                }
                ToReader::Opened { reader, next_serial, generation } => {
                    self.generation = generation;
                    self.connection = Some(ReadConnection::new(reader));
                    self.next_serial = next_serial;
                }
            }
        }
        busy
    }

    fn connection(&mut self) -> Result<&mut ReadConnection> {
        opened(&mut self.connection)
    }

    fn store(&mut self) -> Result<&mut dyn StoreReader> {
        Ok(self.connection()?.store.as_mut())
    }

    fn fetch(&mut self, fetch: Fetch) -> Option<Fetched> {
        panic_if_planted(Bug::PanicInReader);
        Some(match fetch {
            Fetch::Account { address, mint } => {
                let result = self.account(&address, mint);
                Fetched::Account { address, result }
            }
            Fetch::Peer { account, peer, id } => {
                let result = self.peer(account, &peer, id);
                Fetched::Peer { account, result }
            }
            Fetch::Buddies { account, purpose } => {
                let result = self.store().and_then(|s| Ok(s.buddies(account, Position::ZERO)?));
                Fetched::Buddies { account, purpose, result }
            }
            Fetch::Ring { account } => {
                let result = self.store().and_then(|s| Ok(s.client_id_hashes(account)?));
                Fetched::Ring { account, result }
            }
            Fetch::ClientId { account, client_id } => {
                let result = self.store().and_then(|s| Ok(s.client_id(account, &client_id)?));
                Fetched::ClientId { account, result }
            }
            Fetch::Rows { account, session, attachment, after, upto, limit } => {
                let mut large = false;
                let result = self.connection().and_then(|connection| {
                    let rows = connection.store.stored(account, after, upto, limit, MAX_BYTES)?;
                    large = rows.size() >= MAX_BYTES;
                    // A full page ends where its last row stands; a short one has read everything.
                    let full = rows.heads().len() >= limit || large;
                    let upto = rows.heads().last().filter(|_| full).map_or(upto, |last| last.position);
                    Ok((connection.fed(account, rows)?, upto))
                });
                let upto = Some(result.as_ref().map_or(upto, |(_, upto)| *upto));
                let result = result.map(|(rows, _)| rows);
                Fetched::Rows(FetchedRows { account, session, attachment, upto, asked: 0, large, result })
            }
            Fetch::RowsAt { account, session, attachment, positions } => {
                let (mut asked, mut large) = (positions.len(), false);
                let result = self.connection().and_then(|connection| {
                    let rows = connection.store.stored_at(&positions, MAX_BYTES)?;
                    large = rows.size() >= MAX_BYTES;
                    if let Some(last) = rows.heads().last().filter(|_| large) {
                        // What is behind it was not looked for. They need not be in the order of the log.
                        asked = positions.iter().take_while(|p| **p != last.position).count() + 1;
                    }
                    connection.fed(account, rows)
                });
                Fetched::Rows(FetchedRows { account, session, attachment, upto: None, asked, large, result })
            }
            Fetch::Needed { account, after, upto } => {
                let rows = self.store().and_then(|s| Ok(s.needed(account, after, upto, SWEEP_SLICE)?));
                if let Err(error) = &rows {
                    tracing::warn!(%error, "a sweep cannot read; it goes on with the next change");
                }
                let rows = rows.ok();
                let complete = rows.as_ref().is_some_and(|rows| rows.len() < SWEEP_SLICE);
                Fetched::Needed { account, upto, rows, complete }
            }
            Fetch::Observed { account, session, request } => {
                let read = |connection: &mut ReadConnection| connection.conversations_of(account, request);
                let result = self.connection().and_then(read).map(|(conversations, _)| conversations);
                Fetched::Observed { session, result }
            }
            Fetch::Conversation { account, peer } => {
                let read = |connection: &mut ReadConnection| connection.conversation(account, peer, None);
                let result = Box::new(self.connection().and_then(read));
                Fetched::Conversation { account, peer, result }
            }
            Fetch::Forget(mut forgetting) => {
                let slice = self.connection().and_then(|connection| connection.forgets(&mut forgetting));
                Fetched::Forgotten { forgetting, slice }
            }
            Fetch::Outside { address } => {
                let result = self.id_of(&address);
                Fetched::Outside { address, result }
            }
            Fetch::Outbox { pair, positions } => {
                let (asked, result) = self.outbox(positions);
                Fetched::Outbox { pair, asked, result }
            }
            Fetch::Deliveries { account, origin, ids, amends, held } => {
                let result = self.deliveries(account, &origin, &ids, (&amends, &held));
                Fetched::Deliveries { account, result }
            }
            Fetch::Own { account, peer, message_id } => {
                let result = self.connection().and_then(|c| c.own_message(account, &peer, message_id));
                Fetched::Own { account, result: result.map(|row| row.map(Arc::new)) }
            }
            Fetch::Due { shard, upto } => Fetched::Due(self.due(shard, upto)),
            Fetch::Files { account } => {
                let result = self.store().and_then(|s| Ok(s.files(account)?));
                Fetched::Files { account, result }
            }
            Fetch::ListFiles { account, prefix, unclaimed, reply } => {
                let result = self.connection().and_then(|c| c.list_files(account, &prefix, &unclaimed));
                reply.answer(result.map(Answer::Files));
                return None;
            }
            Fetch::File { account, path, unclaimed, reply } => {
                let result = self.connection().and_then(|c| c.file(account, &path, &unclaimed));
                reply.answer(result.map(Answer::File));
                return None;
            }
            Fetch::FileOf { viewer, owner, path, reply } => {
                let result = self.connection().and_then(|c| c.file_of(viewer.0, &viewer.1, &owner, &path));
                reply.answer(result.map(Answer::File));
                return None;
            }
            Fetch::Quarantined { account, sender, positions } => {
                let peer = self.peer(account, &sender, None);
                let held = self.connection().and_then(|c| c.held_of(&sender, &positions));
                Fetched::Quarantined { account, result: peer.and_then(|peer| Ok((peer, held?))) }
            }
            Fetch::QuarantinedPage { positions, limit, reply } => {
                let result = self.connection().and_then(|c| c.quarantined(&positions, limit));
                reply.answer(result.map(Answer::History));
                return None;
            }
            Fetch::ExplainDelivery { account, position, known, reply } => {
                let rows = self.connection().and_then(|connection| {
                    let rows = connection.store.rows_at(&[position])?;
                    connection.named(rows)
                });
                reply.answer(rows.and_then(|rows| crate::shard::delivery(account, rows.first(), &known)));
                return None;
            }
            Fetch::Exist { account, addresses } => {
                let result = self.exist(&addresses);
                Fetched::Exist { account, result }
            }
            Fetch::Search { account, request, reply } => {
                let result = self.connection().and_then(|c| c.search(account, &request));
                reply.answer(result.map(Answer::Found));
                return None;
            }
            Fetch::Conversations { account, request, reply } => {
                let result = self.connection().and_then(|c| c.conversations(account, request));
                reply.answer(result.map(Answer::Conversations));
                return None;
            }
            Fetch::History { query, peer, reply } => {
                let result = self.connection().and_then(|connection| connection.history(query, peer));
                reply.answer(result.map(Answer::History));
                return None;
            }
            Fetch::Roster { account, since, version, reply } => {
                let result = self.store().and_then(|s| Ok(s.buddies(account, since)?)).map(|mut buddies| {
                    if since == Position::ZERO {
                        buddies.retain(view::is_shown);
                    }
                    Answer::Roster(Roster { buddies, version })
                });
                reply.answer(result);
                return None;
            }
        })
    }

    fn account(&mut self, address: &Address, mint: bool) -> Result<FoundAccount> {
        match self.store()?.account(address)? {
            Some(loaded) => Ok(FoundAccount::Here(Box::new(loaded))),
            None if mint => Ok(FoundAccount::Absent(Some(self.id_of(address)?.0))),
            None => Ok(FoundAccount::Absent(None)),
        }
    }

    fn peer(&mut self, account: AddressId, peer: &Address, id: Option<AddressId>) -> Result<FoundPeer> {
        let exists = self.store()?.account(peer)?.is_some();
        let (id, minted) = match id {
            Some(id) => (id, false),
            None => self.id_of(peer)?,
        };
        let buddy = self.store()?.buddy(account, id)?;
        let former = match buddy {
            Some(_) => None,
            None => self.store()?.former_buddy(account, peer, id)?,
        };
        let gone = former.as_ref().map(|former| former.peer);
        let renewed = former.map(|former| Buddy { peer: id, halves: Halves::default(), ..former });
        Ok(FoundPeer { id, minted, exists, buddy: buddy.or(renewed), former: gone })
    }

    fn deliveries(
        &mut self,
        account: AddressId,
        origin: &Address,
        ids: &[Option<Arc<str>>],
        (amends, held): (&[Option<MessageId>], &[Position]),
    ) -> Result<FoundOrigin> {
        let (id, minted) = self.id_of(origin)?;
        let store = self.store()?;
        let known = ids.iter().map(|delivery| match delivery {
            Some(delivery) => Ok(store.is_delivered(id, account, delivery)?),
            None => Ok(false),
        });
        let known = known.collect::<Result<_>>()?;
        let connection = self.connection()?;
        let amended = amends.iter().map(|of| match of {
            Some(of) => match connection.message_of(account, (id, id), *of)? {
                Some(row) => Ok(Some(row.position)),
                None => connection.held_message(held, id, *of),
            },
            None => Ok(None),
        });
        Ok(FoundOrigin { id, minted, known, amended: amended.collect::<Result<_>>()? })
    }

    /// Rows of the outbox. One that is broken holds up only what is behind it: then the first is read alone.
    fn outbox(&mut self, mut positions: Vec<Position>) -> (Vec<Position>, Result<Vec<Arc<Row>>>) {
        let mut read = |positions: &[Position]| {
            let rows = self.store()?.rows_at(positions)?;
            Ok(rows.into_iter().map(Arc::new).collect())
        };
        let mut rows: Result<_> = read(&positions);
        if rows.as_ref().is_err_and(Error::is_damage) {
            positions.truncate(1);
            rows = read(&positions);
        }
        (positions, rows)
    }

    fn exist(&mut self, addresses: &[Address]) -> Result<Vec<bool>> {
        let store = self.store()?;
        addresses.iter().map(|address| Ok(store.account(address)?.is_some())).collect()
    }

    /// Rows of a shard's accounts that are to be looked at again, and when the next one is.
    fn due(&mut self, shard: usize, upto: Timestamp) -> Result<FoundDue> {
        let theirs = |row: &rosterkit_store::DueRow| {
            self.shared.shard_of(row.recipient) == shard && !self.broken_due.contains(&row.position)
        };
        let store = &mut opened(&mut self.connection)?.store;
        let mut all = store.due(Timestamp(i64::MAX), &theirs, DUE_SLICE + 1)?;
        let due: Vec<_> = all.extract_if(.., |row| row.time <= upto).take(DUE_SLICE).collect();
        let next = all.first().map(|row| row.time);
        let mut found = Vec::with_capacity(due.len());
        for row in due {
            match self.due_row(&row) {
                Ok(row) => found.push(row),
                // It holds up nothing behind it.
                Err(error) if error.is_damage() => {
                    tracing::error!(%error, "a message that is due cannot be read");
                    self.broken_due.insert(row.position);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(FoundDue { due: found, next })
    }

    fn due_row(&mut self, due: &rosterkit_store::DueRow) -> Result<DueRow> {
        let connection = self.connection()?;
        let row = connection.store.rows_at(&[due.position])?;
        let row = connection.named(row)?.pop().map(|(row, addresses)| (Arc::new(row), addresses));
        let marks = match &row {
            Some((row, _)) => connection.store.marks(row.entry.sender, row.entry.recipient)?,
            None => Marks::default(),
        };
        Ok(DueRow { position: due.position, what: due.what, row, marks })
    }

    /// The id of an address, and whether it is not on disk yet.
    fn id_of(&mut self, address: &Address) -> Result<(AddressId, bool)> {
        if let Some(id) = self.store()?.address_id(address)? {
            return Ok((id, false));
        }
        if let Some(&id) = self.minted.get(address) {
            let is_written = self.store()?.addresses(&[id])?.first().is_some_and(Option::is_some);
            if !is_written {
                return Ok((id, true));
            }
            // It was written since it was looked for; or the account was deleted, and its id with it.
            if let Some(id) = self.store()?.address_id(address)? {
                return Ok((id, false));
            }
        }
        if self.minted.len() >= MAX_MINTED {
            self.forget_written()?;
        }
        let id = AddressId::new(self.next_serial, address.slot());
        self.next_serial += 1;
        self.minted.insert(address.clone(), id);
        Ok((id, true))
    }

    /// One item for the writer: all of it or none.
    fn import(&mut self, plan: Plan, reply: ReplyTo) {
        let now = self.shared.clock.now().wall;
        let domains = Arc::clone(&crate::sync::lock(&self.shared.domains));
        let hosted = |domain: &str| domains.hosts(domain);
        match plan.check(self).and_then(|()| plan.writes(self, hosted, now)) {
            Ok(writes) => {
                let generation = self.generation;
                let _ = self.shared.writer.put(ToWrite { generation, job: Job::Other { writes, reply } });
            }
            Err(error) => reply.answer(Err(error)),
        }
    }

    /// Forgets ids that are on disk by now.
    fn forget_written(&mut self) -> Result<()> {
        let ids: Vec<AddressId> = self.minted.values().copied().collect();
        let written = self.store()?.addresses(&ids)?;
        let gone: FxHashSet<AddressId> =
            ids.into_iter().zip(written).filter(|(_, address)| address.is_some()).map(|(id, _)| id).collect();
        self.minted.retain(|_, id| !gone.contains(id));
        Ok(())
    }
}

impl Drop for ReaderStep {
    fn drop(&mut self) {
        self.shared.reader.abandon();
    }
}

impl Ids for ReaderStep {
    fn id_of(&mut self, address: &Address) -> Result<(AddressId, bool)> {
        ReaderStep::id_of(self, address)
    }

    fn has_account(&mut self, address: &Address) -> Result<bool> {
        Ok(self.store()?.account(address)?.is_some())
    }
}

fn opened(connection: &mut Option<ReadConnection>) -> Result<&mut ReadConnection> {
    connection
        .as_mut()
        .ok_or_else(|| Error::storage("the store is being opened again after a failure of the disk"))
}

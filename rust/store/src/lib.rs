//! What must survive.
//!
//! A [`Store`] keeps everything that must outlive the process: the file's one log, the accounts, and the signals
//! under way between them. There are two, [`sqlite`] and [`memory`], and one conformance suite that both pass.
//!
//! Opening gives three parts, each used by one thread at a time: a [`Writer`], any number of [`Reader`]s and a
//! [`Checkpointer`]. When the result of a commit is unknown there is one way on: drop every part and open again.

pub mod check;
mod codec;
mod error;
pub mod memory;
pub mod sqlite;
mod stored;
mod values;
pub mod vfs;

pub use error::{CommitError, StoreError};
pub use stored::{Head, StoredRows};

use rosterkit_core::account::{Progress, Record};
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::id::{AddressId, ClientId, Position};
use rosterkit_core::preferences::Overrides;
use rosterkit_core::roster::Buddy;
use rosterkit_core::row::{Row, Side};
use rosterkit_core::rules::RuleSet;
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{ClientIdEntry, Credential, Due, File, Forward, Pending, RulesOf, Write};
use std::path::Path;
use std::sync::Arc;

/// Where a file is and how it is to be opened. Opening again after a failure is the same call.
pub trait Store: Send + Sync + 'static {
    /// Opens, recovers and makes durable what was recovered, by the rules of opening: when this returns, nothing
    /// that a reader can see would be lost by a power cut.
    ///
    /// Fails without changing anything when the file is newer, foreign, truncated or damaged, or held by another
    /// writer.
    fn open(&self) -> Result<Opened, StoreError>;
}

/// An open store.
pub struct Opened {
    /// Writes.
    pub writer: Box<dyn Writer>,
    /// Reads; makes further readers.
    pub reader: Box<dyn Reader>,
    /// Moves what was committed out of the write-ahead log.
    pub checkpointer: Box<dyn Checkpointer>,
    /// What is known of the file without asking further.
    pub facts: Facts,
}

/// What is known of a file when it is opened.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Distinguishes this file from a restored backup of it; part of every cursor and page token.
    pub file_generation: u64,
    /// The highest position of anything that a relay was to carry.
    pub sent: Position,
    /// The first position that may be given: above everything that was ever given or shown.
    pub first_position: Position,
    /// The first serial number of an [`AddressId`] that was never used.
    pub next_serial: u64,
    /// The hosted domains.
    pub domains: Vec<(Domain, Overrides)>,
    /// Deleted accounts whose rows are not all cleared.
    pub unswept: Vec<AddressId>,
    /// The server's rules, and those of domains.
    pub rules: Vec<(RulesOf, Arc<RuleSet>)>,
}

/// Writes that stand or fall together, at one place in the order.
#[derive(Debug, Default)]
pub struct Item {
    /// In the order in which they are applied. Every [`OWN`](rosterkit_core::write::OWN) in them was replaced.
    pub writes: Vec<Write>,
}

/// The one writer of a store.
pub trait Writer: Send {
    /// Positions below this one were reserved on disk and may be given. Every commit raises it in time.
    fn reserved(&self) -> Position;

    /// Writes the items in one transaction and syncs. An empty batch only raises the reservation.
    fn commit(&mut self, items: &[Item]) -> Result<(), CommitError>;

    /// Brings the indexes a slice nearer to the end of the log, at the pace of what was committed. Says whether they are
    /// behind it still: then another slice is due before the next commit. A pass starts when the unindexed tail is long
    /// enough to be worth it; when `all` is asked for, at once, and the indexes are behind until it is done.
    fn index(&mut self, all: bool) -> Result<bool, CommitError>;
}

/// A reader. Each call is one short read of a consistent state: what was committed before the call is in it.
pub trait Reader: Send {
    /// Another reader of the same store.
    fn again(&self) -> Result<Box<dyn Reader>, StoreError>;

    /// The live incarnation of an address, whether it has an account or is only known.
    fn address_id(&mut self, address: &Address) -> Result<Option<AddressId>, StoreError>;

    /// The addresses of these ids, in their order; ids of deleted accounts have theirs still.
    fn addresses(&mut self, ids: &[AddressId]) -> Result<Vec<Option<Address>>, StoreError>;

    /// Everything an account needs to be resident.
    fn account(&mut self, address: &Address) -> Result<Option<Loaded>, StoreError>;

    /// The accounts of a domain in the order of their addresses, after this one.
    fn accounts(
        &mut self,
        domain: &Domain,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<Address>, StoreError>;

    /// Accounts with a contact that is registered beyond this time, in the order of their addresses, after this one.
    fn registered(
        &mut self,
        beyond: Timestamp,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<Address>, StoreError>;

    /// One buddy, tombstones included.
    fn buddy(&mut self, account: AddressId, peer: AddressId) -> Result<Option<Buddy>, StoreError>;

    /// A buddy of this address of an older id: its account was deleted.
    fn former_buddy(
        &mut self,
        account: AddressId,
        address: &Address,
        id: AddressId,
    ) -> Result<Option<Buddy>, StoreError>;

    /// The buddies whose version is above `since`, tombstones included, in the order of their addresses.
    fn buddies(&mut self, account: AddressId, since: Position) -> Result<Vec<Buddy>, StoreError>;

    /// The account's rows in `(after, upto]`, oldest first, at most `limit`, and none behind those that have `max_bytes`.
    /// Rows whose side of the account is cleared are left out.
    fn stored(
        &mut self,
        account: AddressId,
        after: Position,
        upto: Position,
        limit: usize,
        max_bytes: usize,
    ) -> Result<StoredRows, StoreError>;

    /// The rows at these places, in their order, and none behind those that have `max_bytes`; those that are gone are left
    /// out.
    fn stored_at(&mut self, positions: &[Position], max_bytes: usize) -> Result<StoredRows, StoreError>;

    /// The same as [`stored`](Reader::stored), decoded.
    fn rows(
        &mut self,
        account: AddressId,
        after: Position,
        upto: Position,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.stored(account, after, upto, limit, max_bytes)?.decode_all()
    }

    /// All rows at these places, decoded.
    fn rows_at(&mut self, positions: &[Position]) -> Result<Vec<Row>, StoreError> {
        self.stored_at(positions, usize::MAX)?.decode_all()
    }

    /// A page of an account's history.
    fn history(&mut self, query: &HistoryQuery) -> Result<HistoryPage, StoreError>;

    /// Rows in `(after, upto]` that this account's side still needs, for a sweep.
    fn needed(
        &mut self,
        account: AddressId,
        after: Position,
        upto: Position,
        limit: usize,
    ) -> Result<Vec<(Position, Side)>, StoreError>;

    /// What became of a send, when the ring or the tail still knows its client id.
    fn client_id(&mut self, account: AddressId, id: &ClientId) -> Result<Option<ClientIdEntry>, StoreError>;

    /// [`ClientId::hash64`] of every client id that [`client_id`](Reader::client_id) would find, in any order.
    fn client_id_hashes(&mut self, account: AddressId) -> Result<Vec<u64>, StoreError>;

    /// Signals under way behind the one of this position and recipient, oldest first.
    fn pending(
        &mut self,
        after: Option<(Position, Address)>,
        limit: usize,
    ) -> Result<Vec<Pending>, StoreError>;

    /// Rows of the outbox behind this position, oldest first.
    fn outbox(&mut self, after: Position, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Whether a relay's delivery was accepted, and is remembered.
    fn is_delivered(
        &mut self,
        origin: AddressId,
        recipient: AddressId,
        delivery_id: &str,
    ) -> Result<bool, StoreError>;

    /// How far another engine's file was taken in.
    fn seen(&mut self, file_generation: u64) -> Result<Option<Position>, StoreError>;

    /// The account's peers and the latest row that either side of each still needs or keeps, newest first, of those whose
    /// latest row is below `before`.
    fn latest_of_peers(
        &mut self,
        account: AddressId,
        before: Position,
    ) -> Result<Vec<(AddressId, Position)>, StoreError>;

    /// What an account knows of its conversations with these peers, in their order.
    fn marks_with(&mut self, account: AddressId, peers: &[AddressId]) -> Result<Vec<Marks>, StoreError>;

    /// What an account knows of its conversation with a peer.
    fn marks(&mut self, account: AddressId, peer: AddressId) -> Result<Marks, StoreError> {
        Ok(self.marks_with(account, &[peer])?.pop().unwrap_or_default())
    }

    /// Of the rows that are to be looked at by then those of which this says yes, earliest first.
    fn due(
        &mut self,
        upto: Timestamp,
        of: &dyn Fn(&DueRow) -> bool,
        limit: usize,
    ) -> Result<Vec<DueRow>, StoreError>;

    /// What rules send on behind the one of this position and target, in order.
    fn forwards(
        &mut self,
        after: Option<(Position, Address)>,
        limit: usize,
    ) -> Result<Vec<Forward>, StoreError>;

    /// The credential verifiers of an account.
    fn credentials(&mut self, account: AddressId) -> Result<Vec<Credential>, StoreError>;

    /// An account's files, in the order of their paths.
    fn files(&mut self, account: AddressId) -> Result<Vec<FileInfo>, StoreError>;

    /// A file of an account.
    fn file(&mut self, account: AddressId, path: &str) -> Result<Option<File>, StoreError>;

    /// Copies everything that was committed before the call into a new file, which has that name when it is whole and on
    /// disk. `Conflict` when there is one of that name, `Refused` when a store keeps no file.
    fn backup(&mut self, to: &Path) -> Result<(), StoreError>;
}

/// Moves committed pages from the write-ahead log into the main file, on a connection of its own.
pub trait Checkpointer: Send {
    /// How long the write-ahead log is, in pages.
    fn wal_pages(&mut self) -> Result<u64, CommitError>;

    /// One checkpoint, when the write-ahead log is longer than its mark. Says whether everything was moved and the
    /// log can begin anew; a reader may prevent it. [`CommitError::Unknown`] when a sync failed: what was committed
    /// may not be on disk.
    fn checkpoint_if_due(&mut self) -> Result<bool, CommitError>;

    /// Moves everything, and leaves the log empty, because the file is closed next. Says whether it is: somebody who reads
    /// the file may prevent it. Nothing is lost when it fails; the next opening does it.
    fn empty_log(&mut self) -> Result<bool, CommitError>;
}

/// An account as it is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it is.
    pub record: Arc<Record>,
    /// How far it has come.
    pub progress: Progress,
    /// Rows to it above `progress.claims.upto()` that nobody has claimed, oldest first.
    pub unclaimed: Vec<UnclaimedRow>,
    /// Rows to it in quarantine, oldest first.
    pub quarantined: Vec<UnclaimedRow>,
    /// The highest row of the account, of either side.
    pub last: Position,
    /// Its rules.
    pub rules: Option<Arc<RuleSet>>,
}

/// A file, but for what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its path.
    pub path: String,
    /// How long it is, in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
}

/// A row that is to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueRow {
    /// When.
    pub time: Timestamp,
    /// What for.
    pub what: Due,
    /// Its place.
    pub position: Position,
    /// Whose it is to take.
    pub recipient: AddressId,
}

/// What is remembered of an unclaimed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnclaimedRow {
    /// Its place.
    pub position: Position,
    /// Who sent it.
    pub sender: AddressId,
    /// Bytes of content.
    pub size: u32,
}

impl UnclaimedRow {
    /// What is remembered of this one.
    pub fn of(row: &Row) -> Self {
        let size = u32::try_from(row.entry.size()).unwrap_or(u32::MAX);
        UnclaimedRow { position: row.position, sender: row.entry.sender, size }
    }
}

/// What page of the history is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Whose history.
    pub account: AddressId,
    /// Only what went between the account and this peer.
    pub peer: Option<AddressId>,
    /// Where the page begins.
    pub anchor: Anchor,
    /// In which direction it goes on from there. The rows of a page are oldest first either way.
    pub direction: Direction,
    /// How many rows at the most.
    pub limit: usize,
}

/// Where a page of the history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// At the end that the direction comes from: the newest row for `Older`, the oldest for `Newer`.
    End,
    /// Next to this row, which is not part of the page.
    Row(Position),
    /// At this time: rows at or after it for `Newer`, before it for `Older`.
    Time(Timestamp),
}

/// Towards which end of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Back in time.
    Older,
    /// Forward in time.
    Newer,
}

/// A page of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// Oldest first.
    pub rows: Vec<Row>,
    /// Whether there is nothing further in the direction asked for.
    pub complete: bool,
}

//! Many accounts, made quickly: through the store, without an engine, as an engine would have left them.

use crate::load::{BODY, address};
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::store::{Checkpointer, Item, Opened, Store, Writer};
use rosterkit::{Address, ClientId, Content, Domain, MessageId, Position, Timestamp, Word};
use rosterkit_core::account::{Progress, Record};
use rosterkit_core::delivery::claims::Claims;
use rosterkit_core::id::AddressId;
use rosterkit_core::preferences::Overrides;
use rosterkit_core::roster::{Buddy, Half, Halves};
use rosterkit_core::row::{Entry, Kind, Row, Sides};
use rosterkit_core::write::{ClientIdEntry, Write};
use std::path::Path;
use std::sync::Arc;

/// Each active account has so many buddies, confirmed both ways, among the active.
pub const BUDDIES: usize = 18;
/// Each sent half of these rows and received the other half; all of them are claimed.
pub const ROWS: usize = 20;
/// The least a ring of client ids keeps, however old they are.
pub const RING: usize = 256;

/// Where the log begins: below it is room for the ids of a ring.
const FIRST_ROW: u64 = 512;
/// Writes a transaction.
const BATCH: usize = 16_384;
/// What is in the file is two days old: a ring keeps the least.
const AGE_MS: i64 = 2 * 24 * 60 * 60 * 1_000;

/// Accounts, of which some are active, spread evenly among the rest, which have nothing.
#[derive(Clone, Copy)]
pub struct Population {
    pub accounts: usize,
    pub active: usize,
}

impl Population {
    /// Makes the file.
    pub fn make(self, path: &Path) {
        let mut file = File::open(path);
        let ids = self.ids();
        let domain = Domain::new("example.org").expect("a domain");
        file.put([Write::Domain(domain, Overrides::default())]);
        let stride = self.accounts / self.active;
        for user in 0..self.accounts {
            let address = address(user);
            let is_active = user % stride == 0 && user / stride < self.active;
            let buddies = if is_active { self.buddies(user / stride, &ids) } else { Vec::new() };
            let id = id(user, &address);
            let mut record = Record::new(id, address.clone());
            for buddy in &buddies {
                record.roster.set(buddy.peer, buddy.relation());
                record.roster_version = buddy.version;
            }
            file.put([Write::Address { id, address }, Write::Account(Arc::new(record))]);
            file.put(buddies.into_iter().map(|buddy| Write::Buddy(id, buddy)));
        }
        let mut position = Position(FIRST_ROW);
        let offsets = self.offsets();
        for round in 0..ROWS / 2 {
            for turn in 0..self.active {
                // Everybody once a round, in an order that is none.
                let sender = turn * 7_919 % self.active;
                let recipient = (sender + offsets[round % offsets.len()]) % self.active;
                position = position.next();
                file.put([Write::Append(Arc::new(row(position, ids[sender], ids[recipient])))]);
            }
        }
        let progress = Progress { claims: Claims::from_parts(position, Vec::new()), ..Progress::default() };
        file.put(ids.into_iter().map(|id| Write::Progress(id, progress.clone())));
        file.finish();
    }

    /// Fills the rings of the first `full` active accounts, with ids older than those of its rows.
    pub fn fill_rings(self, path: &Path, full: usize) {
        let mut file = File::open(path);
        for id in self.ids().into_iter().take(full) {
            // At some positions the store trims what is not long enough to be trimmed.
            let positions = (1..FIRST_ROW).filter(|p| p % 16 != 0).take(RING - ROWS / 2);
            file.put(positions.map(|position| {
                let client_id = client_id(&format!("r{position:015}"));
                let message_id = MessageId::new(0, [0; 10]);
                let (position, time) = (Position(position), age());
                let word = Word::Stored;
                Write::ClientId(
                    id,
                    ClientIdEntry { client_id, position, message_id, word, fingerprint: 1, time },
                )
            }));
        }
        file.finish();
    }

    /// The addresses of the active accounts.
    pub fn addresses(self) -> Vec<Address> {
        (0..self.active).map(|active| address(active * (self.accounts / self.active))).collect()
    }

    fn ids(self) -> Vec<AddressId> {
        let stride = self.accounts / self.active;
        self.addresses().iter().enumerate().map(|(active, address)| id(active * stride, address)).collect()
    }

    /// How far away the buddies of every active account stand, to one side; to the other they are as far.
    fn offsets(self) -> [usize; BUDDIES / 2] {
        let mut random = fastrand::Rng::with_seed(1);
        // One from each part of half the circle: none twice, and none is the same to both sides.
        let part = self.active / BUDDIES;
        std::array::from_fn(|n| n * part + random.usize(1..part))
    }

    fn buddies(self, active: usize, ids: &[AddressId]) -> Vec<Buddy> {
        let stride = self.accounts / self.active;
        let sides = |offset| [active + offset, active + self.active - offset];
        let half = Half { set: true, at: Position(FIRST_ROW) };
        self.offsets()
            .into_iter()
            .flat_map(sides)
            .map(|peer| {
                let peer = peer % self.active;
                Buddy {
                    halves: Halves { my_wish: half, my_grant: half, their_wish: half, their_grant: half },
                    listed: true,
                    version: Position(FIRST_ROW),
                    ..Buddy::new(ids[peer], address(peer * stride))
                }
            })
            .collect()
    }
}

fn id(user: usize, address: &Address) -> AddressId {
    AddressId::new(user as u64 + 1, address.slot())
}

fn client_id(text: &str) -> ClientId {
    ClientId::new(text).expect("an id")
}

fn age() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    Timestamp(now.as_millis() as i64 - AGE_MS)
}

fn row(position: Position, sender: AddressId, recipient: AddressId) -> Row {
    let (content, time, mut random) = (Content::text(BODY), age(), [0; 10]);
    random[..8].copy_from_slice(&position.0.to_le_bytes());
    let entry = Entry {
        client_id: Some(client_id(&format!("p{:015}", position.0))),
        fingerprint: content.hash64(),
        ..Entry::new(sender, recipient, MessageId::new(time.0, random), time, Kind::Message(content))
    };
    Row { position, sides: Sides::new(true, true), entry }
}

/// A store that is written to in large transactions.
struct File {
    writer: Box<dyn Writer>,
    checkpointer: Box<dyn Checkpointer>,
    writes: Vec<Write>,
}

impl File {
    fn open(path: &Path) -> File {
        // A long tail, so that few passes index it.
        let options = SqliteOptions { tail_rows: 1 << 18, cache_kib: 65_536, ..SqliteOptions::default() };
        let Opened { writer, checkpointer, .. } = SqliteStore::new(path, options).open().expect("a store");
        File { writer, checkpointer, writes: Vec::with_capacity(BATCH) }
    }

    fn put(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.writes.extend(writes);
        if self.writes.len() >= BATCH {
            self.commit();
        }
    }

    fn commit(&mut self) {
        let writes = std::mem::take(&mut self.writes);
        self.writer.commit(&[Item { writes }]).expect("committed");
        while self.writer.index(false).expect("indexed") {}
        self.checkpointer.checkpoint_if_due().expect("a checkpoint");
    }

    fn finish(mut self) {
        self.commit();
        while self.writer.index(true).expect("indexed") {}
        self.checkpointer.checkpoint_if_due().expect("a checkpoint");
    }
}

//! What the steps of the engine say to each other.

use crate::answers::ReplyTo;
use crate::command::{Command, Conversation, ConversationsRequest, SearchRequest};
use crate::error::Error;
use crate::event::EndReason;
use crate::queue::Acks;
use crate::relay::outbox::{DeliveryKey, PairKey};
use crate::relay::queue::RelayQueue;
use crate::relay::{Notice, Parcel, Settlement};
use crate::shard::{AsksLastSeen, Directed, FedRow, Forgetting, Held, Known, Query, Slice};
use crate::sync::atomic::{AtomicUsize, Ordering};
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::content::{Body, ChatState};
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::files::FilePath;
use rosterkit_core::id::{AddressId, ClientId, MessageId, Position, SessionId};
use rosterkit_core::preferences::Overrides;
use rosterkit_core::presence::Presence;
use rosterkit_core::roster::Buddy;
use rosterkit_core::row::{Entry, Outcome, Row, Side};
use rosterkit_core::rules::RuleSet;
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{ClientIdEntry, Due, Pending, Write};
use rosterkit_store::{FileInfo, HistoryQuery, Loaded, Reader};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The hosted domains and what is set for all of them. Every shard holds the same table and replaces it as a whole.
pub(crate) type Domains = Arc<Hosting>;

#[derive(Clone, Default)]
pub(crate) struct Hosting {
    pub(crate) domains: BTreeMap<String, Hosted>,
    /// The server's rules.
    pub(crate) rules: Option<Arc<RuleSet>>,
}

/// What is set for a domain.
#[derive(Clone, Default)]
pub(crate) struct Hosted {
    pub(crate) overrides: Overrides,
    pub(crate) rules: Option<Arc<RuleSet>>,
}

impl Hosting {
    pub(crate) fn hosts(&self, domain: &str) -> bool {
        self.domains.contains_key(domain)
    }
}

/// To a shard.
pub(crate) enum ToShard {
    /// From a host.
    Command { account: Address, session: Option<SessionId>, command: Box<Command>, reply: ReplyTo },
    /// From another shard, or this one.
    Signal(Signal),
    /// From the reader, about this generation.
    Fetched(u64, Fetched),
    /// From the writer, about this generation, in the order of positions.
    Done(u64, Done),
    /// A consumer acknowledged.
    Acknowledged(SessionId, Acks),
    /// A relay brings a parcel.
    Parcel(Box<Parcel>, ReplyTo),
    /// A relay brings a notice.
    Notice(Notice),
    /// A relay says what became of something it carried.
    Settled(DeliveryKey, Settlement),
    /// The file was restored from a backup: every session is to read its state again.
    ResyncAll,
    /// Something about the relay itself.
    Relay(RelayChange),
    /// A session gives a sign of life.
    Touch(SessionId),
    /// A host closes a session, or its listener failed too often.
    Close(SessionId, EndReason),
    /// The result of a commit is unknown: drop everything of older generations and wait.
    Reset(u64, Arc<Countdown>),
    /// The store is open (again): attach every session as if it were new.
    Resume(u64, Position, Domains),
    /// The engine shuts down: end the sessions, write what is lazy.
    Shutdown(Arc<Countdown>),
}

/// What happens to a relay.
pub(crate) enum RelayChange {
    Connected(Arc<RelayQueue>),
    /// With the epoch of the connection that ended.
    Disconnected(Arc<RelayQueue>, u64),
    /// After its last connection, if there was one.
    Closed(Arc<RelayQueue>),
}

/// From account to account.
pub(crate) enum Signal {
    /// A message on its way to its recipient's shard.
    Deliver(Box<Deliver>),
    /// The recipient's shard said no.
    Refused { flight: Flight, error: Error },
    /// A pending signal.
    Pending(Box<Pending>),
    /// A row of the outbox, read when the store was opened.
    Queued { row: Arc<Row>, addresses: RowAddresses },
    /// What became of a message that a relay carried, to its sender's shard.
    Outcome(Box<Settling>),
    /// An outside address knows something newer than this signal of an account.
    Superseded { pending: Box<Pending>, known: Position },
    /// Marks of an account's conversation with a peer rose.
    Marked { account: AddressId, peer: AddressId, address: Address, marks: Marks },
    /// A contact of this account was registered when the file was opened.
    Registered(Address),
    /// The file holds rows of a deleted account still.
    Unswept(AddressId),
    /// A chat state.
    Typing { sender: AddressId, sender_address: Address, recipient: Address, state: ChatState },
    /// An account's conversation with a peer is another.
    Conversation { account: AddressId, peer: AddressId },
    /// What waits for a session is read on.
    Feed(SessionId),
    /// A session, in this attachment, whose account could not be read when the store was opened again.
    Reattach { session: SessionId, attachment: u64 },
    /// Who sees an account is worked out again.
    Sight(AddressId),
    /// A session's snapshot begins again.
    Snapshot { account: AddressId, session: SessionId },
    /// Rows were imported that are perhaps to be looked at again.
    LookForDue,
    /// Somebody asks when an account was last there.
    LastSeen(Box<AsksLastSeen>),
    /// Presence for one address.
    Directed(Box<Directed>),
    /// A session asks another.
    Query(Box<Query>),
    /// What it answered, if anything, to the session that asked.
    Answered { session: SessionId, number: u64, body: Option<Body> },
    /// Somebody wants to know what an account shows.
    ReadPresence { watcher: AddressId, subject: Address, reply: ReplyTo },
    /// A presence, for these watchers.
    Presence { subject: AddressId, address: Address, presence: Presence, watchers: Vec<AddressId> },
    /// A session that came online, or an account that was confirmed, asks for these accounts' presence.
    Probe { watcher: AddressId, session: Option<SessionId>, subjects: Vec<(AddressId, Address)> },
    /// The answer, whole for that shard.
    Probed { watcher: AddressId, session: Option<SessionId>, presences: Vec<(AddressId, Address, Presence)> },
}

/// A message with what its sender's shard knows.
#[derive(Clone)]
pub(crate) struct Deliver {
    /// Recipient and word are the receiving shard's to fill in.
    pub(crate) entry: Entry,
    pub(crate) sender: Address,
    pub(crate) recipient: Address,
    /// Whether the sender's side keeps the row as history, and needs it for its devices.
    pub(crate) sender_history: bool,
    pub(crate) sender_needs: bool,
    pub(crate) token: u64,
    /// When a rule sends it on.
    pub(crate) forwarding: Option<Forwarding>,
    /// Of an amendment: the message is its author's only.
    pub(crate) is_authors_only: bool,
}

/// Where a message that a rule sends on comes from.
#[derive(Clone)]
pub(crate) struct Forwarding {
    /// Its row.
    pub(crate) position: Position,
    /// Whose rule it was.
    pub(crate) by_address: Address,
    /// Where the rule sends it.
    pub(crate) target: Address,
    /// It goes there instead.
    pub(crate) redirects: bool,
    /// It was refused there, and is on its way back.
    pub(crate) comes_back: bool,
}

impl Forwarding {
    /// What says that it is there.
    pub(crate) fn settled(self) -> Write {
        Write::Forwarded { position: self.position, target: self.target }
    }
}

/// A message that a relay carried, on its way to being settled on disk.
#[derive(Clone, Debug)]
pub(crate) struct Settling {
    pub(crate) delivery: DeliveryKey,
    /// The message's.
    pub(crate) addresses: RowAddresses,
    pub(crate) outcome: Outcome,
}

/// Which send of which account an answer is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) sender: AddressId,
    pub(crate) recipient: AddressId,
    pub(crate) token: u64,
}

/// To the reader. Everything it does is off the shards, so that a slow disk delays only who waits for it.
pub(crate) enum Fetch {
    /// An account; with `mint`, an id for it when there is none.
    Account { address: Address, mint: bool },
    /// A peer's id (made when it has none) and the buddy under it.
    Peer { account: AddressId, peer: Address, id: Option<AddressId> },
    /// Every buddy, to tell presence or deletion.
    Buddies { account: AddressId, purpose: BuddiesFor },
    /// The hashes of the client ids that are remembered.
    Ring { account: AddressId },
    /// What became of a send.
    ClientId { account: AddressId, client_id: ClientId },
    /// Rows of an account for a session.
    Rows {
        account: AddressId,
        session: SessionId,
        attachment: u64,
        after: Position,
        upto: Position,
        limit: usize,
    },
    /// These rows, for a session.
    RowsAt { account: AddressId, session: SessionId, attachment: u64, positions: Vec<Position> },
    /// Rows that a side of the account still needs.
    Needed { account: AddressId, after: Position, upto: Position },
    /// The conversations of an account, for an observer.
    Observed { account: AddressId, session: SessionId, request: ConversationsRequest },
    /// One of them, for all observers.
    Conversation { account: AddressId, peer: AddressId },
    /// A slice of what is to leave an account's history.
    Forget(Box<Forgetting>),
    /// The id of an address outside, made when it has none.
    Outside { address: Address },
    /// Rows of the outbox.
    Outbox { pair: PairKey, positions: Vec<Position> },
    /// Who a parcel is from, and which of its deliveries are known.
    Deliveries {
        account: AddressId,
        origin: Address,
        ids: Vec<Option<Arc<str>>>,
        amends: Vec<Option<MessageId>>,
        /// What is in quarantine, when something is amended.
        held: Vec<Position>,
    },
    /// What this sender has in quarantine, among these rows.
    Quarantined { account: AddressId, sender: Address, positions: Vec<Position> },
    /// Answered by the reader itself.
    QuarantinedPage { positions: Vec<Position>, limit: usize, reply: ReplyTo },
    /// Answered by the reader itself.
    ExplainDelivery { account: AddressId, position: Position, known: Known, reply: ReplyTo },
    /// A message that the account sent to this peer.
    Own { account: AddressId, peer: Address, message_id: MessageId },
    /// Rows of this shard's accounts that are to be looked at again.
    Due { shard: usize, upto: Timestamp },
    /// The account's files, before one is changed.
    Files { account: AddressId },
    /// Answered by the reader itself.
    ListFiles { account: AddressId, prefix: String, unclaimed: Vec<Position>, reply: ReplyTo },
    /// Answered by the reader itself.
    File { account: AddressId, path: FilePath, unclaimed: Vec<Position>, reply: ReplyTo },
    /// A file of another account. Answered by the reader itself.
    FileOf { viewer: (AddressId, Address), owner: Address, path: FilePath, reply: ReplyTo },
    /// Whether these accounts are there.
    Exist { account: AddressId, addresses: Vec<Address> },
    /// Answered by the reader itself.
    Conversations { account: AddressId, request: ConversationsRequest, reply: ReplyTo },
    /// Answered by the reader itself.
    History { query: HistoryQuery, peer: Option<Address>, reply: ReplyTo },
    /// Answered by the reader itself.
    Search { account: AddressId, request: SearchRequest, reply: ReplyTo },
    /// Answered by the reader itself.
    Roster { account: AddressId, since: Position, version: Position, reply: ReplyTo },
}

/// Why the buddies are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuddiesFor {
    /// A session came online.
    Snapshot(SessionId),
    /// The account is being deleted.
    Deletion,
    /// Who of the watchers is blocked, and who is outside.
    Sight,
}

/// What the reader found. An error is about the disk; what waits for it is answered with it.
pub(crate) enum Fetched {
    Account {
        address: Address,
        result: Result<FoundAccount, Error>,
    },
    Peer {
        account: AddressId,
        result: Result<FoundPeer, Error>,
    },
    Buddies {
        account: AddressId,
        purpose: BuddiesFor,
        result: Result<Vec<Buddy>, Error>,
    },
    Ring {
        account: AddressId,
        result: Result<Vec<u64>, Error>,
    },
    ClientId {
        account: AddressId,
        result: Result<Option<ClientIdEntry>, Error>,
    },
    Outside {
        address: Address,
        /// The id, and whether it is not on disk yet.
        result: Result<(AddressId, bool), Error>,
    },
    Outbox {
        pair: PairKey,
        asked: Vec<Position>,
        result: Result<Vec<Arc<Row>>, Error>,
    },
    Deliveries {
        account: AddressId,
        result: Result<FoundOrigin, Error>,
    },
    Own {
        account: AddressId,
        result: Result<Option<Arc<Row>>, Error>,
    },
    Due(Result<FoundDue, Error>),
    Files {
        account: AddressId,
        result: Result<Vec<FileInfo>, Error>,
    },
    Quarantined {
        account: AddressId,
        result: Result<(FoundPeer, Held), Error>,
    },
    Exist {
        account: AddressId,
        result: Result<Vec<bool>, Error>,
    },
    Rows(FetchedRows),
    Observed {
        session: SessionId,
        result: Result<Vec<(AddressId, Conversation)>, Error>,
    },
    /// `None` when there is none.
    Conversation {
        account: AddressId,
        peer: AddressId,
        result: Box<Result<Option<Conversation>, Error>>,
    },
    /// It was looked at up to [`Forgetting::after`].
    Forgotten {
        forgetting: Box<Forgetting>,
        slice: Result<Slice, Error>,
    },
    /// No rows when they cannot be read.
    Needed {
        account: AddressId,
        upto: Position,
        rows: Option<Vec<(Position, Side)>>,
        complete: bool,
    },
}

/// Rows that are to be looked at again.
pub(crate) struct FoundDue {
    pub(crate) due: Vec<DueRow>,
    /// When the next one is.
    pub(crate) next: Option<Timestamp>,
}

/// A row that is to be looked at again.
pub(crate) struct DueRow {
    pub(crate) position: Position,
    pub(crate) what: Due,
    /// `None` when it is gone already.
    pub(crate) row: Option<(Arc<Row>, RowAddresses)>,
    /// What its sender knows.
    pub(crate) marks: Marks,
}

pub(crate) enum FoundAccount {
    Here(Box<Loaded>),
    /// There is none; the id it would get, when one was asked for.
    Absent(Option<AddressId>),
}

pub(crate) struct FoundPeer {
    pub(crate) id: AddressId,
    /// The id is new: its address is to be written with whatever uses it.
    pub(crate) minted: bool,
    /// Whether an account of this file answers to the address.
    pub(crate) exists: bool,
    /// Of who is there under the address of an account that is gone it has what the roster says of that one, and nothing of
    /// what was between the two.
    pub(crate) buddy: Option<Buddy>,
    /// The one that is gone: the buddy is to stand in its place.
    pub(crate) former: Option<AddressId>,
}

/// Who a parcel is from.
pub(crate) struct FoundOrigin {
    pub(crate) id: AddressId,
    /// The id is new: its address is to be written with whatever uses it.
    pub(crate) minted: bool,
    /// Of each of the parcel's deliveries, whether it was accepted before.
    pub(crate) known: Vec<bool>,
    /// Of each of the parcel's messages, where the one stands that it amends.
    pub(crate) amended: Vec<Option<Position>>,
}

pub(crate) struct FetchedRows {
    pub(crate) account: AddressId,
    pub(crate) session: SessionId,
    pub(crate) attachment: u64,
    /// Up to where the log was read; `None` when particular rows were.
    pub(crate) upto: Option<Position>,
    /// How many particular rows were asked for.
    pub(crate) asked: usize,
    /// Whether the page ended because they are large.
    pub(crate) large: bool,
    pub(crate) result: Result<Vec<FedRow>, Error>,
}

/// The addresses a row's ids stand for.
#[derive(Clone, Debug)]
pub(crate) struct RowAddresses {
    pub(crate) sender: Address,
    pub(crate) recipient: Address,
}

/// To the reader.
pub(crate) enum ToReader {
    Fetch {
        shard: usize,
        generation: u64,
        fetch: Fetch,
    },
    /// Give ids to everything an import brings, and hand it to the writer.
    Import {
        plan: crate::portable::Plan,
        reply: ReplyTo,
    },
    /// Drop the connection.
    Reset(Arc<Countdown>),
    /// Use this one.
    Opened {
        reader: Box<dyn Reader>,
        next_serial: u64,
        generation: u64,
    },
}

/// To the writer.
pub(crate) struct ToWrite {
    pub(crate) generation: u64,
    pub(crate) job: Job,
}

pub(crate) enum Job {
    /// A message: one row, first among the writes; two shards to tell.
    Append { writes: Vec<Write>, addresses: RowAddresses, flight: Flight },
    /// A change of an account; its shard is told.
    Change { account: AddressId, writes: Vec<Write> },
    /// A message that a relay carried is settled; the shards of both its addresses are told.
    Settle { writes: Vec<Write>, settling: Box<Settling> },
    /// A change of the domains; every shard is told.
    Domains { write: Box<Write>, table: DomainChange, reply: ReplyTo },
    /// Something that is no account's: everything an import brings, what the file is known by.
    Other { writes: Vec<Write>, reply: ReplyTo },
    /// Waits for company, for a second at most.
    Lazy { writes: Vec<Write> },
    /// A sync failed outside of a commit: nobody knows what is on disk.
    Reopen,
    /// Everything before it is on disk when it is let go.
    Flush(Arc<Countdown>),
}

/// What happens to the table of domains once it is on disk.
pub(crate) enum DomainChange {
    Set(Domain, Overrides),
    Removed(Domain),
    /// The server's rules, without a domain.
    Rules(Option<Domain>, Option<Arc<RuleSet>>),
}

/// From the writer.
#[derive(Clone)]
pub(crate) enum Done {
    /// A row has its place. Told to both accounts' shards.
    Row { row: Arc<Row>, addresses: RowAddresses, flight: Flight },
    /// It has none.
    RowFailed { flight: Flight, error: Error },
    /// A change is on disk at this position, with the rows that came with it; or is not.
    Change { account: AddressId, result: Result<(Position, Vec<Arc<Row>>), Error> },
    /// What became of a relayed message is on disk, with the row that tells its sender; or is not.
    Settled { settling: Box<Settling>, result: Result<Option<Arc<Row>>, Error> },
    /// The progress of these accounts, as it was handed over, is on disk.
    Saved(Vec<AddressId>),
    /// The domains changed; the last shard to install them answers.
    Domains { table: Domains, installed: Arc<LastAnswers> },
}

/// Something that everybody who holds a part of it is to be done with. It is over when the last of them has let go, also
/// one that panicked; whoever waits for that is told by it.
pub(crate) struct Countdown {
    at_nought: Box<dyn Fn() + Send + Sync>,
}

impl Countdown {
    pub(crate) fn new(at_nought: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Countdown { at_nought: Box::new(at_nought) })
    }
}

impl Drop for Countdown {
    fn drop(&mut self) {
        (self.at_nought)();
    }
}

/// A reply that the last of several answers.
pub(crate) struct LastAnswers {
    left: AtomicUsize,
    reply: crate::sync::Mutex<Option<ReplyTo>>,
}

impl LastAnswers {
    pub(crate) fn new(of: usize, reply: ReplyTo) -> Arc<Self> {
        Arc::new(LastAnswers { left: AtomicUsize::new(of), reply: crate::sync::Mutex::new(Some(reply)) })
    }

    pub(crate) fn done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(reply) = crate::sync::lock(&self.reply).take()
        {
            reply.answer(Ok(crate::command::Answer::Done));
        }
    }
}

//! RosterKit: accounts with rosters, presence and instant messages, in your process.
//!
//! ```no_run
//! use rosterkit::{Address, Consumer, Domain, Engine, EngineOptions, SessionOptions};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::open_file("im.db", EngineOptions::hosting([Domain::new("example.org")?]))?;
//! let (alice, bob) = (Address::account("alice@example.org")?, Address::account("bob@example.org")?);
//! engine.create_account(&alice)?;
//! engine.create_account(&bob)?;
//! let session = engine.open_session(&alice, SessionOptions::default())?;
//! let receipt = session.send(&bob, "hello")?; // on disk when this returns
//! println!("{:?}", receipt.outcome);
//! # Ok(())
//! # }
//! ```
//!
//! # How it is built
//!
//! The engine is a handful of step functions that pass each other messages: a shard (the accounts of some slots), the
//! writer, the reader, the checkpointer. Threads run them, or a caller does, in virtual time. The rules are in
//! `rosterkit-core`, pure; what must survive is in `rosterkit-store`.

mod answers;
mod checkpoint;
mod clock;
mod command;
mod dispatch;
mod drive;
mod engine;
mod error;
mod event;
mod forgotten;
mod host;
#[cfg(all(test, feature = "shuttle"))]
mod interleavings;
mod mailbox;
mod messages;
mod options;
mod portable;
mod queue;
mod reader;
mod readers;
mod recovery;
mod relay;
mod rendered;
mod session;
mod shard;
mod shared;
mod sync;
mod told;
mod view;
mod wakeup;
mod writer;

pub use command::{
    Actor, Amend, Answer, Answered, Command, Consumer, Conversation, Conversations, ConversationsRequest,
    Found, History, HistoryRequest, Listener, ListenerError, Receipt, Roster, RosterEdit, SearchRequest,
    Send, SessionOptions, SetPresence, Ticket,
};
pub use dispatch::Batch;
pub use engine::Engine;
pub use error::{Error, ErrorKind, Result};
pub use event::{EndReason, Event, EventBody, Message, MessageAmended, ReceiptState};
pub use host::{HostEvent, PushReason};
pub use options::{Durability, EngineOptions};
pub use portable::{ExportSummary, ImportProgress};
pub use relay::{
    Amends, Contents, Notice, Outgoing, Parcel, Relay, RelayedMessage, RosterSignal, Serves, Settlement,
    sent_at,
};
pub use session::Session;

pub use rosterkit_core::address::{Address, Domain};
pub use rosterkit_core::content::{Body, ChatState, Content};
pub use rosterkit_core::delivery::limits::{Limits, Quota, Rate};
pub use rosterkit_core::delivery::marks::Marks;
pub use rosterkit_core::id::{ClientId, DeviceName, MessageId, Position, SessionId};
pub use rosterkit_core::invitation::InvitationToken;
pub use rosterkit_core::preferences::{AcceptedSenders, Overrides, Preferences, Receipts};
pub use rosterkit_core::presence::{
    Activity, LastSeen, LastSeenPrecision, Order, Presence, PresenceLayer, State, Visibility,
};
pub use rosterkit_core::registration::{Registration, RegistrationKind};
pub use rosterkit_core::roster::{Buddy, Op, Status, Subscription};
pub use rosterkit_core::row::{Amended, Amendment, Outcome, Word};
pub use rosterkit_core::time::Timestamp;
pub use rosterkit_store as store;
pub use rosterkit_store::{Anchor, Direction, FileInfo};

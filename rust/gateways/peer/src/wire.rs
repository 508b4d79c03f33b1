//! What frames hold: CBOR maps with the numbers below as keys.
//!
//! A key that is not known is skipped, so a later version may add some. Those here never change their meaning, and Hello is
//! read by every version.

use crate::WINDOW;
use crate::cbor::List;
use crate::values::{MAX_DOMAINS, MAX_ITEMS};
use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};

/// What a Hello begins with.
pub(crate) const MAGIC: &str = "rosterkit-peer";

#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Hello<'b> {
    #[b(0)]
    pub(crate) magic: &'b str,
    #[n(1)]
    pub(crate) min_version: u16,
    #[n(2)]
    pub(crate) max_version: u16,
    #[b(3)]
    pub(crate) domains: List<&'b str, MAX_DOMAINS>,
    #[n(4)]
    pub(crate) file: FileMark,
    #[n(5)]
    pub(crate) window: u32,
    #[n(6)]
    pub(crate) window_bytes: u64,
}

#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct FileMark {
    #[n(0)]
    pub(crate) generation: u64,
    #[n(1)]
    pub(crate) log_end: u64,
}

#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Seen {
    #[n(0)]
    pub(crate) file: Option<FileMark>,
}

#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Goodbye<'b> {
    #[b(0)]
    pub(crate) reason: &'b str,
}

#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Messages<'b> {
    #[b(0)]
    pub(crate) sender: &'b str,
    #[b(1)]
    pub(crate) recipient: &'b str,
    #[b(2)]
    pub(crate) messages: List<Message<'b>, MAX_ITEMS>,
}

#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Message<'b> {
    #[b(0)]
    pub(crate) delivery_id: Option<&'b str>,
    #[b(1)]
    pub(crate) id: Option<&'b ByteSlice>,
    #[b(2)]
    pub(crate) instance: Option<&'b str>,
    #[n(3)]
    pub(crate) time: Option<i64>,
    #[b(4)]
    pub(crate) text: Option<&'b str>,
    #[b(5)]
    pub(crate) media_type: Option<&'b str>,
    #[b(6)]
    pub(crate) data: Option<&'b ByteSlice>,
    #[b(7)]
    pub(crate) extensions: Option<&'b ByteSlice>,
    #[b(8)]
    pub(crate) edits: Option<&'b ByteSlice>,
    #[b(9)]
    pub(crate) retracts: Option<&'b ByteSlice>,
    #[n(10)]
    pub(crate) expires: Option<i64>,
    #[b(11)]
    pub(crate) reply_to: Option<&'b ByteSlice>,
}

#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Roster<'b> {
    #[b(0)]
    pub(crate) sender: &'b str,
    #[b(1)]
    pub(crate) recipient: &'b str,
    #[b(2)]
    pub(crate) delivery_id: Option<&'b str>,
    #[b(3)]
    pub(crate) op: &'b str,
    #[n(4)]
    pub(crate) stamp: u64,
    #[b(5)]
    pub(crate) note: Option<&'b str>,
    #[b(6)]
    pub(crate) token: Option<&'b str>,
}

#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Settle<'b> {
    #[n(0)]
    pub(crate) through: u64,
    #[b(1)]
    pub(crate) others: List<Answer<'b>, WINDOW>,
}

/// A parcel that was not relayed as a whole.
#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Answer<'b> {
    #[n(0)]
    pub(crate) number: u64,
    /// The items that were not relayed. Without the list, nothing of the parcel was taken.
    #[b(1)]
    pub(crate) items: Option<List<Item<'b>, MAX_ITEMS>>,
}

/// An item that was not relayed: failed with a reason, superseded with a stamp, or, with neither, to be tried again.
#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Item<'b> {
    #[n(0)]
    pub(crate) index: u32,
    #[b(1)]
    pub(crate) failed: Option<&'b str>,
    #[n(2)]
    pub(crate) superseded: Option<u64>,
}

#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Presence<'b> {
    #[b(0)]
    pub(crate) subject: &'b str,
    #[b(1)]
    pub(crate) watcher: &'b str,
    #[b(2)]
    pub(crate) state: &'b str,
    #[b(3)]
    pub(crate) note: Option<&'b str>,
    #[b(4)]
    pub(crate) avatar: Option<&'b str>,
    #[b(5)]
    pub(crate) extensions: Option<&'b ByteSlice>,
}

#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Probe<'b> {
    #[b(0)]
    pub(crate) watcher: &'b str,
    #[b(1)]
    pub(crate) subject: &'b str,
}

#[derive(Decode, Encode)]
#[cbor(map)]
pub(crate) struct Typing<'b> {
    #[b(0)]
    pub(crate) sender: &'b str,
    #[b(1)]
    pub(crate) recipient: &'b str,
    #[b(2)]
    pub(crate) state: &'b str,
}

//! What a session is told of a row of the log.

use crate::error::Result;
use crate::event::EventBody;
use crate::messages::RowAddresses;
use crate::view;
use rosterkit_core::address::Address;
use rosterkit_core::id::AddressId;
use rosterkit_core::row::Row;
use rosterkit_store::StoredRows;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What a session is told of a row.
#[derive(Clone)]
pub(crate) enum Told {
    /// An event. Sessions that are told the same share it.
    Event(EventBody),
    /// One of these rows, which the account received. The event is made when it is handed out, on the thread of who reads it:
    /// when one thread makes what another throws away, they wait for each other's memory.
    Stored(Arc<NamedRows>, usize),
}

impl Told {
    /// How many bytes of content it has, or some more.
    pub(crate) fn size(&self) -> usize {
        match self {
            Told::Event(event) => event.size(),
            Told::Stored(named, at) => named.rows.size_of(*at),
        }
    }

    /// The event; an error when the row is not what was written.
    pub(crate) fn into_event(self) -> Result<EventBody> {
        match self {
            Told::Event(event) => Ok(event),
            Told::Stored(named, at) => {
                let row = named.rows.decode(at)?;
                let addresses = named.addresses_of(&row);
                Ok(view::event(row, addresses, false))
            }
        }
    }
}

/// Rows as they are stored, with the addresses that their ids stand for.
pub(crate) struct NamedRows {
    pub(crate) rows: StoredRows,
    pub(crate) names: FxHashMap<AddressId, Address>,
}

impl NamedRows {
    pub(crate) fn addresses_of(&self, row: &Row) -> RowAddresses {
        let name = |id| self.names[&id].clone();
        RowAddresses { sender: name(row.entry.sender), recipient: name(row.entry.recipient) }
    }
}

//! Reading from the store: rows with the addresses their ids stand for, and the connections that plain calls borrow, so that
//! what only reads is read on its caller's thread, beside everything else.
use crate::command::{History, HistoryRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::messages::RowAddresses;
use crate::sync::{Condvar, Mutex, lock, wait};
use crate::view;
use rosterkit_core::address::Address;
use rosterkit_core::id::AddressId;
use rosterkit_core::refusal::Refusal;
use rosterkit_core::row::Row;
use rosterkit_store::{HistoryQuery, Reader as StoreReader};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// How many texts of ids a connection keeps.
const MAX_NAMES: usize = 16_384;
/// How many messages a page of history has at the most.
const MAX_PAGE: usize = 1_000;
/// How many connections wait for the next plain call. Each has a page cache of its own.
const MAX_IDLE: usize = 2;
/// How many are lent at once; who comes then waits for one of these short reads.
const MAX_LENT: usize = 4;

/// A connection that reads, and what it remembers.
pub(crate) struct ReadConnection {
    pub(crate) store: Box<dyn StoreReader>,
    names: FxHashMap<AddressId, Address>,
}

/// What a request for a page of an account's history asks of the store; the peer's id is looked up with it.
pub(crate) fn history_query(
    account: AddressId,
    request: HistoryRequest,
) -> Result<(HistoryQuery, Option<Address>)> {
    let HistoryRequest { peer, anchor, direction, limit } = request;
    if limit == 0 || limit > MAX_PAGE {
        let what = format!("a page has 1 to {MAX_PAGE} messages, not {limit}");
        return Err(Refusal::InvalidArgument(what).into());
    }
    Ok((HistoryQuery { account, peer: None, anchor, direction, limit }, peer.map(|peer| peer.bare())))
}

impl ReadConnection {
    pub(crate) fn new(store: Box<dyn StoreReader>) -> Self {
        ReadConnection { store, names: FxHashMap::default() }
    }

    pub(crate) fn history(&mut self, mut query: HistoryQuery, peer: Option<Address>) -> Result<History> {
        if let Some(peer) = &peer {
            match self.store.address_id(peer)? {
                Some(id) => query.peer = Some(id),
                None => {
                    return Ok(History { messages: Vec::new(), complete: true });
                }
            }
        }
        let page = self.store.history(&query)?;
        let messages = self
            .named(page.rows)?
            .into_iter()
            .filter_map(|(row, addresses)| view::message(&row, &addresses, row.entry.sender == query.account))
            .collect();
        Ok(History { messages, complete: page.complete })
    }

    /// The rows with the addresses their ids stand for.
    pub(crate) fn named(&mut self, rows: Vec<Arc<Row>>) -> Result<Vec<(Arc<Row>, RowAddresses)>> {
        let mut missing: Vec<AddressId> = rows
            .iter()
            .flat_map(|row| [row.entry.sender, row.entry.recipient])
            .filter(|id| !self.names.contains_key(id))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            if self.names.len() + missing.len() > MAX_NAMES && !self.names.is_empty() {
                self.names.clear();
                return self.named(rows);
            }
            let found = self.store.addresses(&missing)?;
            for (id, address) in missing.into_iter().zip(found) {
                let address = address.ok_or_else(|| {
                    Error::new(
                        ErrorKind::Storage { outcome_unknown: false },
                        "a row names an address that the file does not know: check the file",
                    )
                })?;
                self.names.insert(id, address);
            }
        }
        Ok(rows
            .into_iter()
            .map(|row| {
                let addresses = RowAddresses {
                    sender: self.names[&row.entry.sender].clone(),
                    recipient: self.names[&row.entry.recipient].clone(),
                };
                (row, addresses)
            })
            .collect())
    }
}

/// The connections that plain calls borrow.
pub(crate) struct Readers {
    inner: Mutex<Inner>,
    returned: Condvar,
}

#[derive(Default)]
struct Inner {
    /// Makes further ones; gone while the store is closed.
    source: Option<Box<dyn StoreReader>>,
    idle: Vec<ReadConnection>,
    lent: usize,
}

impl Readers {
    pub(crate) fn new() -> Self {
        Readers { inner: Mutex::new(Inner::default()), returned: Condvar::new() }
    }

    /// The store is open.
    pub(crate) fn open(&self, source: Box<dyn StoreReader>) {
        lock(&self.inner).source = Some(source);
    }

    /// Closes every connection; waits for those that are lent, whose reads are short.
    pub(crate) fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.source = None;
        inner.idle.clear();
        while inner.lent > 0 {
            inner = wait(&self.returned, inner);
        }
    }

    /// Reads on this thread.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&mut ReadConnection) -> Result<T>) -> Result<T> {
        // Dropped in this order, also by a panic: a connection is closed before it counts as returned.
        let (_lent, mut connection) = self.lend()?;
        let result = read(&mut connection);
        let mut inner = lock(&self.inner);
        if inner.source.is_some() && inner.idle.len() < MAX_IDLE {
            inner.idle.push(connection);
        }
        result
    }

    fn lend(&self) -> Result<(Lent<'_>, ReadConnection)> {
        let mut guard = lock(&self.inner);
        while guard.lent >= MAX_LENT {
            guard = wait(&self.returned, guard);
        }
        let inner = &mut *guard;
        let Some(source) = &inner.source else {
            return Err(Error::storage("the store is being opened again after a failure of the disk"));
        };
        let connection = match inner.idle.pop() {
            Some(connection) => connection,
            None => ReadConnection::new(source.again()?),
        };
        inner.lent += 1;
        Ok((Lent(self), connection))
    }
}

/// A connection is lent, until this is dropped.
struct Lent<'a>(&'a Readers);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        lock(&self.0.inner).lent -= 1;
        self.0.returned.notify_all();
    }
}

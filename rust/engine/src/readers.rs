//! Reading from the store: rows with the addresses their ids stand for, and the connections that plain calls borrow, so that
//! what only reads is read on its caller's thread, beside everything else.
use crate::command::{
    Conversation, Conversations, ConversationsRequest, Found, History, HistoryRequest, SearchRequest,
};
use crate::error::{Error, ErrorKind, Result};
use crate::event::ReceiptState;
use crate::messages::RowAddresses;
use crate::shard::{FedRow, Held};
use crate::sync::{Condvar, Mutex, lock, wait};
use crate::told::NamedRows;
use crate::view;
use rosterkit_core::address::Address;
use rosterkit_core::admission::may_see;
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::files::{FileKind, FilePath};
use rosterkit_core::id::{AddressId, MessageId, Position};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::row::Row;
use rosterkit_core::rules::fold;
use rosterkit_store::{Anchor, Direction, FileInfo, Head, HistoryQuery, Reader as StoreReader, StoredRows};
use rustc_hash::FxHashMap;

/// How many texts of ids a connection keeps.
const MAX_NAMES: usize = 16_384;
/// How many messages a page of history has at the most.
const MAX_PAGE: usize = 1_000;
/// How many unread messages are counted.
const MAX_UNREAD: usize = 1_000;
/// How many messages are looked through in one go, and how long what is sought may be.
const MAX_SEARCHED: usize = 10_000;
const MAX_SOUGHT_BYTES: usize = 1_024;
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
    check_page(limit)?;
    Ok((HistoryQuery { account, peer: None, anchor, direction, limit }, peer.map(|peer| peer.bare())))
}

fn check_page(limit: usize) -> Result<()> {
    if limit == 0 || limit > MAX_PAGE {
        return Err(
            Refusal::InvalidArgument(format!("a page has 1 to {MAX_PAGE} entries, not {limit}")).into()
        );
    }
    Ok(())
}

fn no_file(path: &FilePath) -> Error {
    Refusal::NotFound(format!("there is no file {path}, or it is not to be read")).into()
}

/// What these marks say of one's own message at this place.
fn receipt(position: Position, marks: Marks) -> Option<ReceiptState> {
    match position {
        position if position <= marks.displayed => Some(ReceiptState::Displayed),
        position if position <= marks.delivered => Some(ReceiptState::Delivered),
        _ => None,
    }
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
        let is_own = |row: &Row| row.entry.sender == query.account;
        let mut peers: Vec<AddressId> =
            page.rows.iter().filter(|row| is_own(row)).map(|row| row.entry.recipient).collect();
        peers.sort_unstable();
        peers.dedup();
        let known = self.store.marks_with(query.account, &peers)?;
        let marks: FxHashMap<AddressId, Marks> = peers.into_iter().zip(known).collect();
        let mut messages = Vec::with_capacity(page.rows.len());
        for (row, addresses) in self.named(page.rows)? {
            let (position, is_own) = (row.position, is_own(&row));
            let marks = marks.get(&row.entry.recipient).filter(|_| is_own);
            if let Some(mut message) = view::message(row, &addresses, is_own) {
                message.receipt = marks.and_then(|marks| receipt(position, *marks));
                messages.push(message);
            }
        }
        Ok(History { messages, complete: page.complete })
    }

    /// Messages of an account's history that contain a text, newest first. So many are looked at in one go that others who
    /// read do not wait long.
    pub(crate) fn search(&mut self, account: AddressId, request: &SearchRequest) -> Result<Found> {
        check_page(request.limit)?;
        if request.text.is_empty() || request.text.len() > MAX_SOUGHT_BYTES {
            let what = format!("a text to look for has 1 to {MAX_SOUGHT_BYTES} bytes");
            return Err(Refusal::InvalidArgument(what).into());
        }
        let sought = fold(&request.text);
        let mut found = Found { messages: Vec::new(), searched: request.before };
        for _ in 0..MAX_SEARCHED / MAX_PAGE {
            let anchor = found.searched.map_or(Anchor::End, Anchor::Row);
            let query =
                HistoryQuery { account, peer: None, anchor, direction: Direction::Older, limit: MAX_PAGE };
            let page = self.history(query, request.peer.as_ref().map(Address::bare))?;
            for message in page.messages.into_iter().rev() {
                found.searched = Some(message.position);
                if message.content.as_text().is_some_and(|text| fold(text).contains(&*sought)) {
                    found.messages.push(message);
                }
                if found.messages.len() == request.limit {
                    return Ok(found);
                }
            }
            if page.complete {
                return Ok(Found { searched: None, ..found });
            }
        }
        Ok(found)
    }

    /// A page of an account's conversations.
    pub(crate) fn conversations(
        &mut self,
        account: AddressId,
        request: ConversationsRequest,
    ) -> Result<Conversations> {
        let (conversations, complete) = self.conversations_of(account, request)?;
        let conversations = conversations.into_iter().map(|(_, conversation)| conversation).collect();
        Ok(Conversations { conversations, complete })
    }

    /// The same, with the peers' ids; and whether there are no more.
    pub(crate) fn conversations_of(
        &mut self,
        account: AddressId,
        request: ConversationsRequest,
    ) -> Result<(Vec<(AddressId, Conversation)>, bool)> {
        let ConversationsRequest { before, limit } = request;
        check_page(limit)?;
        let mut conversations = Vec::new();
        for (peer, position) in self.store.latest_of_peers(account, before.unwrap_or(Position::MAX))? {
            let Some(conversation) = self.conversation(account, peer, Some(position))? else {
                continue;
            };
            if conversations.len() == limit {
                return Ok((conversations, false));
            }
            conversations.push((peer, conversation));
        }
        Ok((conversations, true))
    }

    /// What went between an account and a peer, in short; `position` is its place, that of the latest message when it is not
    /// known. `None` when no message did: with some there were only requests, or receipts.
    pub(crate) fn conversation(
        &mut self,
        account: AddressId,
        peer: AddressId,
        position: Option<Position>,
    ) -> Result<Option<Conversation>> {
        let (anchor, direction) = (Anchor::End, Direction::Older);
        let query = HistoryQuery { account, peer: Some(peer), anchor, direction, limit: 1 };
        let Some(latest) = self.history(query, None)?.messages.pop() else {
            return Ok(None);
        };
        let position = position.unwrap_or(latest.position);
        let marks = self.store.marks(account, peer)?;
        let unread = self.unread(account, peer, marks.read, position)?;
        let peer = if latest.copy { latest.recipient.bare() } else { latest.sender.bare() };
        Ok(Some(Conversation { peer, position, latest, unread, marks }))
    }

    /// How many messages of a peer's are above the account's mark.
    fn unread(
        &mut self,
        account: AddressId,
        peer: AddressId,
        read: Position,
        latest: Position,
    ) -> Result<u32> {
        if latest <= read {
            return Ok(0);
        }
        let (mut unread, mut behind, direction) = (0, read, Direction::Newer);
        // Their messages may stand behind any number of the account's own.
        while unread < MAX_UNREAD {
            let anchor = Anchor::Row(behind);
            let query = HistoryQuery { account, peer: Some(peer), anchor, direction, limit: MAX_PAGE };
            let page = self.store.history(&query)?;
            unread += page.rows.iter().filter(|row| row.entry.sender == peer).count();
            match page.rows.last() {
                Some(last) if !page.complete => behind = last.position,
                _ => break,
            }
        }
        Ok(unread.min(MAX_UNREAD) as u32)
    }

    /// The account's files whose paths begin so, in order, those that are rendered too.
    pub(crate) fn list_files(
        &mut self,
        account: AddressId,
        prefix: &str,
        unclaimed: &[Position],
    ) -> Result<Vec<FileInfo>> {
        let mut files = self.store.files(account)?;
        files.append(&mut self.rendered_files(account, prefix, unclaimed)?);
        files.retain(|file| file.path.starts_with(prefix));
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// What is in a file of the account's.
    pub(crate) fn file(
        &mut self,
        account: AddressId,
        path: &FilePath,
        unclaimed: &[Position],
    ) -> Result<Vec<u8>> {
        let bytes = match path.kind() {
            FileKind::Plain | FileKind::Profile => {
                self.store.file(account, path.as_str())?.map(|file| file.bytes)
            }
            FileKind::Log(peer) => self.log_with(account, peer)?,
            FileKind::Offline => self.waiting(unclaimed)?,
            FileKind::Nothing => None,
        };
        bytes.ok_or_else(|| no_file(path))
    }

    /// What is in a file of another account's: those that are public, and the vCard for who may see the account. Of all
    /// others it is not said whether they are there.
    pub(crate) fn file_of(
        &mut self,
        viewer: AddressId,
        address: &Address,
        owner: &Address,
        path: &FilePath,
    ) -> Result<Vec<u8>> {
        let owner = self.store.account(owner)?.map(|loaded| loaded.record);
        let Some(owner) = owner.filter(|owner| !owner.blocks(address)) else {
            return Err(no_file(path));
        };
        let may_read = match path.kind() {
            FileKind::Profile => may_see(&owner, viewer, address),
            FileKind::Plain => path.is_public(),
            _ => false,
        };
        if may_read { self.file(owner.id, path, &[]) } else { Err(no_file(path)) }
    }

    /// A message that the account sent to a peer.
    pub(crate) fn own_message(
        &mut self,
        account: AddressId,
        peer: &Address,
        message_id: MessageId,
    ) -> Result<Option<Row>> {
        match self.store.address_id(peer)? {
            Some(peer) => self.message_of(account, (peer, account), message_id),
            None => Ok(None),
        }
    }

    /// A message between an account and a peer, when it is one of the latest of the account's history with them.
    pub(crate) fn message_of(
        &mut self,
        account: AddressId,
        (peer, author): (AddressId, AddressId),
        message_id: MessageId,
    ) -> Result<Option<Row>> {
        let (anchor, direction) = (Anchor::End, Direction::Older);
        let query = HistoryQuery { account, peer: Some(peer), anchor, direction, limit: MAX_PAGE };
        let mut rows = self.store.history(&query)?.rows;
        let is_it = |row: &Row| row.entry.message_id == message_id && row.entry.sender == author;
        Ok(rows.iter().rposition(is_it).map(|at| rows.swap_remove(at)))
    }

    /// The place of a message of this author's among these rows.
    pub(crate) fn held_message(
        &mut self,
        held: &[Position],
        author: AddressId,
        message_id: MessageId,
    ) -> Result<Option<Position>> {
        let rows = self.store.rows_at(held)?;
        let is_it = |row: &&Row| row.entry.message_id == message_id && row.entry.sender == author;
        Ok(rows.iter().find(is_it).map(|row| row.position))
    }

    /// What was sent from this address, by whoever had it, among these rows.
    pub(crate) fn held_of(&mut self, sender: &Address, positions: &[Position]) -> Result<Held> {
        let rows = self.store.rows_at(positions)?;
        let mut rows = self.named(rows)?;
        rows.retain(|(_, addresses)| addresses.sender == *sender);
        Ok(rows)
    }

    /// A page of what is in quarantine.
    pub(crate) fn quarantined(&mut self, positions: &[Position], limit: usize) -> Result<History> {
        check_page(limit)?;
        let rows = self.store.rows_at(&positions[..positions.len().min(limit)])?;
        let rows = self.named(rows)?;
        let messages =
            rows.into_iter().filter_map(|(row, addresses)| view::message(row, &addresses, false)).collect();
        Ok(History { messages, complete: positions.len() <= limit })
    }

    /// The rows with the addresses their ids stand for.
    pub(crate) fn named(&mut self, rows: Vec<Row>) -> Result<Vec<(Row, RowAddresses)>> {
        self.learn_names(rows.iter().map(|row| [row.entry.sender, row.entry.recipient]))?;
        let named = rows.into_iter().map(|row| {
            let [sender, recipient] =
                [row.entry.sender, row.entry.recipient].map(|id| self.names[&id].clone());
            (row, RowAddresses { sender, recipient })
        });
        Ok(named.collect())
    }

    /// The rows as sessions of this account are fed them.
    pub(crate) fn fed(&mut self, account: AddressId, rows: StoredRows) -> Result<Vec<FedRow>> {
        let between = |head: &Head| [head.sender, head.recipient];
        // Many in a row are between the same two.
        let runs = rows.heads().chunk_by(|one, next| between(one) == between(next));
        let pairs = runs.map(|run| between(&run[0]));
        self.learn_names(pairs.clone())?;
        let mut names = FxHashMap::default();
        for id in pairs.flatten() {
            names.entry(id).or_insert_with(|| self.names[&id].clone());
        }
        FedRow::of(account, NamedRows { rows, names })
    }

    /// Makes sure that the names of these pairs are known.
    fn learn_names(&mut self, pairs: impl Iterator<Item = [AddressId; 2]> + Clone) -> Result<()> {
        let ids = pairs.clone().flatten();
        let mut missing: Vec<AddressId> = ids.filter(|id| !self.names.contains_key(id)).collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            if self.names.len() + missing.len() > MAX_NAMES && !self.names.is_empty() {
                self.names.clear();
                return self.learn_names(pairs);
            }
            let found = self.store.addresses(&missing)?;
            for (id, address) in missing.into_iter().zip(found) {
                let address = address.ok_or_else(|| {
                    let what = "the file is damaged: a row names an address that it does not know; run `rosterkit check`";
                    Error::new(ErrorKind::Damaged, what)
                })?;
                self.names.insert(id, address);
            }
        }
        Ok(())
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

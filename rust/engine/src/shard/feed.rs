//! How rows get from the log into a session's queue.
//!
//! A session is fed live, by what is installed, or from the log: when it is attached and owed older rows, and when
//! it is so slow that its queue is full. From the log means: read up to the highest row that was installed, hand it
//! over as there is room, and look again. When nothing is left to read, the session is live; nothing can be missed in
//! between, because installing and looking happen on this one shard.

use super::Shard;
use super::later::DISK_FAILED_MS;
use crate::error::Result;
use crate::event::EndReason;
use crate::messages::{Fetch, FetchedRows, Job, RowAddresses, Signal};
use crate::options::Durability;
use crate::queue::Acks;
use crate::shard::sessions::Attached;
use crate::told::{NamedRows, Told};
use crate::view;
use rosterkit_core::id::{AddressId, DeviceNumber, Position, SessionId};
use rosterkit_core::planted::{Bug, planted};
use rosterkit_core::row::{Row, Ruled, Side, Sides};
use rosterkit_core::write::Write;
use rosterkit_store::Head;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many rows may be in the hands of a session that is fed live, queued or handed out: one that is slower reads the log.
const LIVE: u32 = 256;
/// How many may be of one that reads what waited for it: some that it works on, and some that come meanwhile.
const AHEAD: u32 = 2_048;
/// How many are read for a session at once.
const PAGE: u32 = 512;

/// Where a session's rows come from.
#[derive(Debug)]
pub(super) enum Feed {
    /// It does not read messages.
    None,
    /// As they are installed.
    Live,
    /// From the log.
    Log(Box<FromLog>),
}

/// First the rows of the backlog, then everything above `after`.
#[derive(Debug)]
pub(super) struct FromLog {
    backlog: VecDeque<Position>,
    after: Position,
    reading: bool,
    /// How many rows may be in the session's hands.
    room: u32,
    /// The last of what waited for it when it was attached: only up to here it reads far ahead.
    waited_upto: Position,
}

/// A row as the sessions of one of its accounts are fed it: what they are told, and what decides who of them gets it.
#[derive(Clone)]
pub(crate) struct FedRow {
    position: Position,
    sides: Sides,
    ruled: Option<Ruled>,
    /// The account sent it, to another.
    copy: bool,
    /// Of a row that the account sent: who of its own did.
    author: Option<Author>,
    /// `None` of a row that is no news to this account.
    told: Option<Told>,
}

/// Who of an account's own sent a row.
#[derive(Clone)]
struct Author {
    device: Option<DeviceNumber>,
    instance: Option<Arc<str>>,
}

impl FedRow {
    pub(crate) fn new(account: AddressId, row: Row, addresses: &RowAddresses) -> Self {
        let (position, sides, entry) = (row.position, row.sides, &row.entry);
        let (copy, ruled) = (entry.recipient != account, entry.ruled);
        let author = || Author { device: entry.device, instance: entry.instance.clone() };
        let author = (entry.sender == account).then(author);
        let told = view::is_news(&row, copy).then(|| Told::Event(view::event(row, addresses.clone(), copy)));
        FedRow { position, sides, ruled, copy, author, told }
    }

    /// Rows that were read for an account. What it received is left as it is stored, as long as no rule had to do with it.
    pub(crate) fn of(account: AddressId, named: NamedRows) -> Result<Vec<Self>> {
        let named = Arc::new(named);
        let mut fed = Vec::with_capacity(named.rows.heads().len());
        for (at, head) in named.rows.heads().iter().enumerate() {
            if head.sender == account || named.rows.is_ruled(at) {
                let row = named.rows.decode(at)?;
                let addresses = named.addresses_of(&row);
                fed.push(FedRow::new(account, row, &addresses));
            } else {
                let Head { position, sides, .. } = *head;
                let told = Some(Told::Stored(Arc::clone(&named), at));
                fed.push(FedRow { position, sides, ruled: None, copy: false, author: None, told });
            }
        }
        Ok(fed)
    }
}

impl Feed {
    /// The first row that it may still read from the log.
    pub(super) fn next(&self) -> Option<Position> {
        match self {
            Feed::None | Feed::Live => None,
            Feed::Log(log) => log.backlog.iter().copied().chain([log.after.next()]).min(),
        }
    }

    /// What waited for a session: the backlog, and what is in `(after, last]`.
    fn ahead(backlog: VecDeque<Position>, after: Position, last: Position) -> Feed {
        Feed::Log(Box::new(FromLog { backlog, after, reading: false, room: AHEAD, waited_upto: last }))
    }

    /// What comes to a session that has enough in its hands.
    fn behind(backlog: VecDeque<Position>, after: Position) -> Feed {
        Feed::Log(Box::new(FromLog { backlog, after, reading: false, room: LIVE, waited_upto: after }))
    }
}

impl Shard {
    /// A session was attached: it gets what it is owed.
    pub(super) fn start_feed(&mut self, session: SessionId) {
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        if matches!(attached.feed, Feed::None) {
            return;
        }
        let Some(resident) = self.residents.get_mut(&attached.account) else {
            return;
        };
        let (backlog, after) = match attached.device.and_then(|d| resident.progress.cursor(d)) {
            // A named device gets every row above its cursor, whoever claimed it.
            Some(cursor) => (VecDeque::new(), cursor.position),
            // An anonymous session gets what nobody claimed and nobody has in hand.
            None => (resident.unclaimed.assign_all(session), resident.last),
        };
        attached.feed = Feed::ahead(backlog, after, resident.last);
        self.read_on(session);
    }

    /// Asks for the next rows of a session that is fed from the log, or makes it live.
    pub(super) fn read_on(&mut self, session: SessionId) {
        if !self.read_ahead(session, 0)
            && let Some(attached) = self.sessions.get_mut(&session)
            && matches!(&attached.feed, Feed::Log(log) if !log.reading)
        {
            attached.feed = Feed::Live;
            self.pass_own(session);
        }
    }

    /// Asks for the next rows of a session that is fed from the log, when it has room for them behind so many that are on
    /// their way to it. Says whether there are any.
    fn read_ahead(&mut self, session: SessionId, coming: u32) -> bool {
        let Some(attached) = self.sessions.get_mut(&session) else {
            return false;
        };
        let Feed::Log(log) = &mut attached.feed else {
            return false;
        };
        let FromLog { backlog, after, reading, room, waited_upto } = &mut **log;
        let account = attached.account;
        let mut upto = self.residents.get(&account).map_or(Position::ZERO, |r| r.last);
        if backlog.is_empty() && *after >= upto {
            return false;
        }
        if *after < *waited_upto {
            upto = *waited_upto;
        } else if backlog.is_empty() {
            *room = LIVE.min(*room);
        }
        let limit = PAGE.min(room.saturating_sub(attached.outstanding + coming)) as usize;
        if *reading || limit == 0 {
            return true;
        }
        *reading = true;
        let attachment = attached.queue.attachment();
        let fetch = if backlog.is_empty() {
            Fetch::Rows { account, session, attachment, after: *after, upto, limit }
        } else {
            let positions = backlog.iter().take(limit).copied().collect();
            Fetch::RowsAt { account, session, attachment, positions }
        };
        self.fetch(fetch);
        true
    }

    /// Rows were read for a session.
    pub(super) fn take_rows(&mut self, fetched: FetchedRows) {
        let FetchedRows { account, session, attachment, upto, asked, large, result } = fetched;
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        if attached.queue.attachment() != attachment {
            return;
        }
        let Feed::Log(log) = &mut attached.feed else {
            return;
        };
        let FromLog { backlog, after, reading, room, .. } = &mut **log;
        *reading = false;
        let mut rows = match result {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "rows cannot be read");
                // The session keeps its place.
                match error.is_damage() {
                    true => self.end_session(session, EndReason::StorageFailed),
                    false => self.signal_later(DISK_FAILED_MS, account.slot(), Signal::Feed(session)),
                }
                return;
            }
        };
        if large {
            // From here on no more than such a page is in its hands when it gets more.
            *room = (*room).min(rows.len() as u32);
        }
        // It may have been read before that was written.
        if let Some(taken_away) = self.residents.get(&account).and_then(|r| r.taken_away.as_ref()) {
            rows.retain(|row| !taken_away.contains(&row.position));
        }
        match upto {
            Some(upto) => {
                *after = upto;
                rows.retain(|row| !is_passed_by(attached, row.ruled));
            }
            None => {
                // Rows that are gone, or this side's no more, were cleared meanwhile: nobody claims them.
                rows.retain(|row| row.sides.needed_by(Side::Recipient));
                let mut found = rows.iter().map(|row| row.position).peekable();
                let gone: Vec<Position> =
                    backlog.drain(..asked).filter(|p| found.next_if_eq(p).is_none()).collect();
                self.forget_unclaimed(account, &gone);
            }
        }
        // These are handed over while the next are read.
        self.read_ahead(session, rows.len() as u32);
        if rows.len() > 1 && planted(Bug::DoubleDelivery) {
            rows.extend(rows.last().cloned());
        }
        self.offer(account, session, rows);
        self.read_on(session);
    }

    /// What was taken away is so in the log, and nobody has read it from there before.
    pub(super) fn forget_taken_away(&mut self, id: AddressId) {
        let Some(resident) = self.residents.get_mut(&id).filter(|r| r.taken_away.is_some()) else {
            return;
        };
        let reads = |session| {
            let attached = self.sessions.get(session);
            attached.is_some_and(|attached| matches!(&attached.feed, Feed::Log(log) if log.reading))
        };
        if resident.being_saved == 0 && !resident.dirty && !resident.sessions.iter().any(reads) {
            resident.taken_away = None;
        }
    }

    /// These rows are no more: the account's claims do not wait for them. In a relaxed engine one that is not found may be
    /// one that could not be written yet.
    fn forget_unclaimed(&mut self, id: AddressId, gone: &[Position]) {
        if let Some(resident) = self.residents.get_mut(&id)
            && self.shared.options.durability == Durability::Full
            && !gone.is_empty()
        {
            for position in gone {
                resident.unclaimed.remove(*position);
            }
            resident.advance_claims();
            self.mark_dirty(id);
        }
    }

    /// A row was installed: live sessions get it; those fed from the log will find it there.
    pub(super) fn offer_to_sessions(&mut self, id: AddressId, row: &Arc<Row>, addresses: &RowAddresses) {
        self.observe_row(id, row);
        let mut shown: Option<FedRow> = None;
        let session_at =
            |shard: &Self, at| shard.residents.get(&id).and_then(|r| r.sessions.get(at).copied());
        let mut next = 0;
        while let Some(session) = session_at(self, next) {
            next += 1;
            let Some(attached) = self.sessions.get_mut(&session) else {
                continue;
            };
            match &attached.feed {
                Feed::None => {}
                _ if is_passed_by(attached, row.entry.ruled) => {}
                Feed::Log(_) => self.read_on(session),
                Feed::Live if attached.outstanding >= LIVE => {
                    // Too slow: from here on it reads the log, at its own pace.
                    let after = Position(row.position.0 - 1);
                    attached.feed = Feed::behind(VecDeque::new(), after);
                    self.read_on(session);
                }
                Feed::Live
                    if row.entry.sender == id
                        && is_own(attached, row.entry.device, row.entry.instance.as_deref()) =>
                {
                    self.pass_own(session);
                }
                Feed::Live => {
                    let shown =
                        shown.get_or_insert_with(|| FedRow::new(id, (**row).clone(), addresses)).clone();
                    self.offer(id, session, [shown]);
                }
            }
        }
    }

    /// Puts rows into a session's queue, but for those that it passes.
    fn offer(&mut self, id: AddressId, session: SessionId, rows: impl IntoIterator<Item = FedRow>) {
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        let mut resident = self.residents.get_mut(&id);
        let mut given = 0;
        let rows = rows.into_iter().filter_map(|row| {
            let own = |author: &Author| is_own(attached, author.device, author.instance.as_deref());
            let told = row.told.filter(|_| !row.author.as_ref().is_some_and(own))?;
            // What a rule stores is in nobody's hands: it is for who comes next.
            let held = !row.copy && row.ruled != Some(Ruled::Stored);
            if held && let Some(resident) = &mut resident {
                resident.unclaimed.assign(row.position, session);
                if planted(Bug::ClaimBeforeAcknowledgement) {
                    resident.unclaimed.remove(row.position);
                    resident.progress.claims.claim(row.position);
                    resident.advance_claims();
                }
            }
            given += 1;
            Some((row.position, told))
        });
        attached.queue.put_rows(rows, &self.out.readable);
        attached.outstanding += given;
        if given == 0 {
            self.pass_own(session);
        }
    }

    /// A cursor passes rows that need no event, when nothing below them waits for an acknowledgement.
    fn pass_own(&mut self, session: SessionId) {
        let Some(attached) = self.sessions.get(&session) else {
            return;
        };
        let (Some(device), Feed::Live, 0) = (attached.device, &attached.feed, attached.outstanding) else {
            return;
        };
        let id = attached.account;
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let last = resident.last;
        if let Some(cursor) = resident.progress.cursor_mut(device)
            && cursor.position < last
        {
            cursor.position = last;
            self.mark_dirty(id);
        }
    }

    /// A consumer acknowledged rows: they are claimed, and the device's cursor moves.
    pub(super) fn acknowledged(&mut self, session: SessionId, mut acks: Acks) {
        if acks.positions.len() > 1 && planted(Bug::LostAcknowledgement) {
            acks.positions.pop();
        }
        let Some(attached) = self.sessions.get_mut(&session) else {
            return;
        };
        if acks.attachment != attached.queue.attachment() {
            return;
        }
        if let Some(lease) = &mut attached.lease {
            lease.renew(self.now.tick);
        }
        attached.outstanding = attached.outstanding.saturating_sub(acks.positions.len() as u32);
        let (id, device) = (attached.account, attached.device);
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        if let Some(cursor) = device.and_then(|d| resident.progress.cursor_mut(d)) {
            let highest = acks.positions.iter().max().copied().unwrap_or_default();
            cursor.position = cursor.position.max(highest);
        }
        let mut senders: Vec<(AddressId, Position)> = Vec::new();
        let mut claimed = Vec::new();
        for position in acks.positions {
            if let Some(sender) = resident.unclaimed.remove(position) {
                resident.progress.claims.claim(position);
                claimed.push(position);
                match senders.iter_mut().find(|(of, _)| *of == sender) {
                    Some((_, latest)) => *latest = position.max(*latest),
                    None => senders.push((sender, position)),
                }
            }
        }
        resident.advance_claims();
        // With history off they go at once, unless somebody has yet to read them: then a sweep finds them.
        if !claimed.is_empty() && !resident.preferences.keep_history && resident.record.devices.is_empty() {
            let to_read = self.lowest_to_read(id).unwrap_or(Position::MAX);
            let (gone, left): (Vec<_>, Vec<_>) =
                claimed.into_iter().partition(|position| *position < to_read);
            self.leave_to_sweep(id, left.iter().max());
            let clear = |position| Write::ClearSide { position, side: Side::Recipient };
            self.write(Job::Lazy { writes: gone.into_iter().map(clear).collect() });
        } else {
            self.leave_to_sweep(id, claimed.iter().max());
        }
        self.mark_dirty(id);
        self.tell_delivered(id, &senders);
        self.read_on(session);
        self.pass_own(session);
    }

    /// A session died: the rows in its hands go at once to the oldest live one, with their ids.
    pub(super) fn pass_on(&mut self, id: AddressId, dead: SessionId) {
        let Some(resident) = self.residents.get_mut(&id) else {
            return;
        };
        let released = resident.unclaimed.release(dead);
        if released.is_empty() {
            return;
        }
        let heir = resident.sessions.iter().copied().find(|s| {
            self.sessions.get(s).is_some_and(|a| a.device.is_none() && !matches!(a.feed, Feed::None))
        });
        let Some(heir) = heir else { return };
        let Some(attached) = self.sessions.get_mut(&heir) else {
            return;
        };
        // What was forked to both is in the heir's queue already.
        let missing: Vec<Position> = released
            .into_iter()
            .inspect(|&p| resident.unclaimed.assign(p, heir))
            .filter(|&p| !attached.queue.holds(p))
            .collect();
        match &mut attached.feed {
            Feed::Log(log) => {
                // What lies above `after` it will find in the log by itself.
                let also = |p: &Position| *p <= log.after && !log.backlog.contains(p);
                let also: Vec<Position> = missing.into_iter().filter(also).collect();
                log.backlog.extend(also);
            }
            feed => {
                *feed = Feed::behind(missing.into(), resident.last);
            }
        }
        self.read_on(heir);
    }
}

/// Whether a rule keeps the row from who is there: it is for the next session that comes, and for devices, which get
/// everything.
fn is_passed_by(attached: &Attached, ruled: Option<Ruled>) -> bool {
    ruled == Some(Ruled::Stored) && attached.device.is_none()
}

/// Whether a row of the account's own was sent by this very session or device: it passes it without an event.
fn is_own(attached: &Attached, device: Option<DeviceNumber>, instance: Option<&str>) -> bool {
    match attached.device {
        Some(own) => device == Some(own),
        None => instance == Some(&*attached.instance),
    }
}

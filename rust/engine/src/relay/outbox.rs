//! What a shard has for addresses outside: for each pair of sender and recipient the durable signals under way, in the
//! order of their positions.
//!
//! A pair gives out one parcel at a time and the next when each item of that one is settled, so that nothing overtakes
//! anything, whatever is lost and tried again on the way. The rows themselves are in the log: here are their places, and
//! of a few what they say.

use super::parcel::{Amends, Contents, Parcel, RelayedMessage, RosterSignal};
use crate::error::Error;
use rosterkit_core::address::Address;
use rosterkit_core::content::Content;
use rosterkit_core::delivery::unclaimed::Unclaimed;
use rosterkit_core::id::{AddressId, MessageId, Position};
use rosterkit_core::row::{Amendment, Kind, Row};
use rosterkit_core::time::{Tick, Timestamp};
use rosterkit_core::write::Pending;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// How many messages a parcel has at the most.
const PARCEL_MESSAGES: usize = 64;
/// How many bytes of content, unless a single message has more.
const PARCEL_BYTES: usize = 128 << 10;
/// How many bytes of rows stay in memory with their places; the rest is read when its turn comes.
const HELD_BYTES: usize = 4 << 20;
/// How many parcels a relay has in hand of a shard.
const PARCELS: usize = 128;
/// How long a message is tried before it fails, in ms.
pub(crate) const TRIED_FOR_MS: i64 = 24 * 60 * 60 * 1_000;
const FIRST_BACK_OFF_MS: u64 = 1_000;
const LONGEST_BACK_OFF_MS: u64 = 5 * 60 * 1_000;

/// How long a pair waits that the file did not let go on. What is broken is so for long.
fn back_off_at(error: &Error) -> u64 {
    if error.is_damage() { LONGEST_BACK_OFF_MS } else { FIRST_BACK_OFF_MS }
}

/// What a delivery is called: where its item stands here, and the message's own id, which a file restored from a backup
/// gives to no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryKey {
    pub(crate) recipient: AddressId,
    pub(crate) sender: AddressId,
    pub(crate) position: Position,
    pub(crate) message_id: MessageId,
}

impl DeliveryKey {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (recipient, sender, position) = (number()?, number()?, number()?);
        let message_id = uuid::Uuid::try_parse(parts.next()?).ok()?;
        parts.next().is_none().then_some(DeliveryKey {
            recipient: AddressId::from_bits(recipient),
            sender: AddressId::from_bits(sender),
            position: Position(position),
            message_id: MessageId(message_id),
        })
    }
}

impl fmt::Display for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeliveryKey { recipient, sender, position, message_id } = self;
        let (recipient, sender) = (recipient.to_bits(), sender.to_bits());
        write!(f, "{recipient:x}.{sender:x}.{:x}.{}", position.0, message_id.0.simple())
    }
}

/// A pair: whom to, and from whom.
pub(crate) type PairKey = (AddressId, AddressId);

#[derive(Default)]
pub(crate) struct Outbox {
    recipients: FxHashMap<AddressId, Recipient>,
    held_bytes: usize,
    /// By relay, so that one that settles nothing holds up no other.
    hands: FxHashMap<u64, Hands>,
}

/// What a relay has of this shard.
#[derive(Default)]
struct Hands {
    parcels: usize,
    /// Pairs that would give it another one if it had fewer.
    held_up: VecDeque<PairKey>,
}

struct Recipient {
    address: Address,
    pairs: FxHashMap<AddressId, Pair>,
    /// What is counted against the limits of waiting messages.
    unsettled: Unclaimed,
    /// Rows on their way to the disk.
    arriving: u32,
}

struct Pair {
    sender: Address,
    items: VecDeque<Item>,
    /// The connection that has a parcel of it in hand.
    in_hand: Option<InHand>,
    /// Rows are being read.
    reading: bool,
    /// It stands among those that wait for a parcel to be settled.
    held_up: bool,
    not_before: Tick,
    back_off_ms: u64,
}

/// A parcel in the hands of a relay's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InHand {
    relay: u64,
    epoch: u64,
    /// How many of its items are not settled.
    left: usize,
}

struct Item {
    position: Position,
    state: State,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    InHand,
    /// Settled, and not on disk yet.
    Settling,
}

enum What {
    Message {
        id: MessageId,
        /// When it fails, or has expired.
        until: Timestamp,
        expires: bool,
        size: usize,
        row: Option<Arc<Row>>,
    },
    Roster(Box<Pending>),
}

/// What a pair has to give.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing, or something is under way.
    Nothing,
    /// Not before then.
    At(Tick),
    /// These rows are to be read first.
    Read(Vec<Position>),
    /// This.
    Parcel(Parcel),
}

/// An item that is settled, with what has to be written.
#[derive(Debug, PartialEq)]
pub(crate) enum Settled {
    Message(DeliveryKey),
    Roster(Box<Pending>),
}

impl Outbox {
    /// The messages to a recipient that are not settled, as limits count them.
    pub(crate) fn unsettled(&self, recipient: AddressId) -> Option<&Unclaimed> {
        self.recipients.get(&recipient).map(|r| &r.unsettled)
    }

    pub(crate) fn addresses(&self, (to, from): PairKey) -> Option<(&Address, &Address)> {
        let recipient = self.recipients.get(&to)?;
        Some((&recipient.address, &recipient.pairs.get(&from)?.sender))
    }

    fn recipient(&mut self, id: AddressId, address: &Address) -> &mut Recipient {
        self.recipients.entry(id).or_insert_with(|| Recipient {
            address: address.clone(),
            pairs: FxHashMap::default(),
            unsettled: Unclaimed::default(),
            arriving: 0,
        })
    }

    // ---- in ---------------------------------------------------------------------------------------------------

    /// A row to this recipient is on its way to the disk.
    pub(crate) fn arriving(&mut self, id: AddressId, address: &Address) {
        self.recipient(id, address).arriving += 1;
    }

    /// It is there, or will not be.
    pub(crate) fn arrived(&mut self, id: AddressId) {
        if let Some(recipient) = self.recipients.get_mut(&id) {
            recipient.arriving = recipient.arriving.saturating_sub(1);
        }
        self.forget_empty(id);
    }

    /// A message is on disk.
    pub(crate) fn put_row(&mut self, recipient: &Address, sender: &Address, row: &Arc<Row>) -> PairKey {
        let (entry, size) = (&row.entry, row.entry.size());
        let held = (self.held_bytes + size <= HELD_BYTES).then(|| Arc::clone(row));
        self.held_bytes += if held.is_some() { size } else { 0 };
        let to = self.recipient(entry.recipient, recipient);
        to.unsettled.insert(row.position, entry.sender, u32::try_from(size).unwrap_or(u32::MAX));
        let tried = Timestamp(entry.time.0.saturating_add(TRIED_FOR_MS));
        let until = entry.expires.map_or(tried, |expires| expires.min(tried));
        let what = What::Message { id: entry.message_id, until, expires: until < tried, size, row: held };
        to.put(entry.sender, sender, Item { position: row.position, state: State::Waiting, what });
        (entry.recipient, entry.sender)
    }

    /// A roster signal is on disk.
    pub(crate) fn put_roster(&mut self, recipient: AddressId, pending: Box<Pending>) -> PairKey {
        let (from, sender, position) = (pending.origin, pending.origin_address.clone(), pending.position);
        let address = pending.recipient.clone();
        let item = Item { position, state: State::Waiting, what: What::Roster(pending) };
        self.recipient(recipient, &address).put(from, &sender, item);
        (recipient, from)
    }

    /// Rows that were asked for by [`Next::Read`], or nothing, when they cannot be read now.
    pub(crate) fn put_read(
        &mut self,
        key: PairKey,
        asked: &[Position],
        rows: Result<&[Arc<Row>], &Error>,
        now: Tick,
    ) {
        let Some(pair) = self.pair_mut(key) else { return };
        pair.reading = false;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                pair.not_before = now.after(back_off_at(error));
                return;
            }
        };
        let mut bytes = 0;
        for row in rows {
            if let Some(Item { what: What::Message { row: held, size, .. }, .. }) = pair.find(row.position)
                && held.is_none()
            {
                *held = Some(Arc::clone(row));
                bytes += *size;
            }
        }
        self.held_bytes += bytes;
        // One that is not there has nothing that could be carried; asking for it again would never end.
        let found = |position: &Position| rows.iter().any(|row| row.position == *position);
        for gone in asked.iter().filter(|position| !found(position)) {
            tracing::error!(position = gone.0, "a message for a relay is not in the log: check the file");
            self.done(key, *gone);
        }
        self.forget_empty_pair(key);
    }

    // ---- out --------------------------------------------------------------------------------------------------

    /// What the pair has to give this relay now.
    pub(crate) fn next(&mut self, key: PairKey, relay: u64, now: Tick) -> Next {
        let full = self.is_full(relay);
        let Some((recipient, pair)) = self.both_mut(key) else {
            return Next::Nothing;
        };
        if pair.reading || pair.in_hand.is_some() || pair.is_settling() {
            return Next::Nothing;
        }
        if pair.items.is_empty() {
            return Next::Nothing;
        }
        if pair.not_before > now {
            return Next::At(pair.not_before);
        }
        if full {
            if !std::mem::replace(&mut pair.held_up, true) {
                self.hands.entry(relay).or_default().held_up.push_back(key);
            }
            return Next::Nothing;
        }
        match pair.contents(key) {
            Ok(contents) => {
                Next::Parcel(Parcel { sender: pair.sender.clone(), recipient: recipient.clone(), contents })
            }
            Err(missing) => {
                pair.reading = true;
                Next::Read(missing)
            }
        }
    }

    /// A relay has the parcel that was the pair's next.
    pub(crate) fn handed(&mut self, key: PairKey, parcel_items: usize, relay: u64, epoch: u64) {
        if let Some(pair) = self.pair_mut(key) {
            for item in pair.items.iter_mut().take(parcel_items) {
                item.state = State::InHand;
            }
            pair.in_hand = Some(InHand { relay, epoch, left: parcel_items });
            self.hands.entry(relay).or_default().parcels += 1;
        }
    }

    /// A pair that was held up because its relay had too many parcels in hand, and has fewer now.
    pub(crate) fn held_up(&mut self) -> Option<PairKey> {
        let hands =
            self.hands.values_mut().find(|hands| hands.parcels < PARCELS && !hands.held_up.is_empty())?;
        let key = hands.held_up.pop_front()?;
        if let Some(pair) = self.pair_mut(key) {
            pair.held_up = false;
        }
        Some(key)
    }

    // ---- settled ----------------------------------------------------------------------------------------------

    /// An item was carried, or never will be. Says what is to be written; nothing for what is not there, or settled.
    pub(crate) fn settle(&mut self, delivery: DeliveryKey) -> Option<Settled> {
        let key = (delivery.recipient, delivery.sender);
        let pair = self.pair_mut(key)?;
        let item = pair.find(delivery.position)?;
        let settled = match &item.what {
            What::Message { id, .. } if *id == delivery.message_id => Settled::Message(delivery),
            What::Message { .. } => return None,
            What::Roster(pending) => Settled::Roster(pending.clone()),
        };
        if item.state == State::Settling {
            return None;
        }
        let was_in_hand = item.state == State::InHand;
        item.state = State::Settling;
        if was_in_hand {
            self.out_of_hand(key);
        }
        Some(settled)
    }

    /// An item is to be tried again. Says when to look at the pair.
    pub(crate) fn put_back(&mut self, delivery: DeliveryKey, now: Tick) -> Option<Tick> {
        let key = (delivery.recipient, delivery.sender);
        let pair = self.pair_mut(key)?;
        let item = pair.find(delivery.position).filter(|item| item.state == State::InHand)?;
        item.state = State::Waiting;
        let wait = pair.back_off_ms.max(FIRST_BACK_OFF_MS);
        pair.back_off_ms = (wait * 2).min(LONGEST_BACK_OFF_MS);
        pair.not_before = now.after(wait);
        let at = pair.not_before;
        self.out_of_hand(key);
        Some(at)
    }

    /// The other side knows something newer than this roster signal: it leaves, and holds up nothing behind it.
    pub(crate) fn superseded(&mut self, delivery: DeliveryKey) -> Option<Box<Pending>> {
        let key = (delivery.recipient, delivery.sender);
        let item = self.pair_mut(key)?.find(delivery.position).filter(|item| item.state == State::InHand)?;
        let What::Roster(pending) = &item.what else { return None };
        let pending = pending.clone();
        self.out_of_hand(key);
        self.done(key, delivery.position);
        Some(pending)
    }

    /// What became of an item is on disk. It is gone.
    pub(crate) fn done(&mut self, key: PairKey, position: Position) {
        let Some(recipient) = self.recipients.get_mut(&key.0) else { return };
        recipient.unsettled.remove(position);
        let Some(pair) = recipient.pairs.get_mut(&key.1) else { return };
        if let Ok(at) = pair.items.binary_search_by_key(&position, |item| item.position)
            && let Some(item) = pair.items.remove(at)
        {
            if let What::Message { row: Some(_), size, .. } = item.what {
                self.held_bytes = self.held_bytes.saturating_sub(size);
            }
            pair.back_off_ms = 0;
        }
        self.forget_empty_pair(key);
    }

    /// It could not be written: the item waits again.
    pub(crate) fn not_done(&mut self, key: PairKey, position: Position, error: &Error, now: Tick) {
        if let Some(pair) = self.pair_mut(key) {
            if let Some(item) = pair.find(position) {
                item.state = State::Waiting;
            }
            pair.not_before = now.after(back_off_at(error));
        }
    }

    /// A connection is gone: what it had in hand waits again.
    pub(crate) fn take_back(&mut self, relay: u64, upto_epoch: u64) {
        let mut back = 0;
        for recipient in self.recipients.values_mut() {
            for pair in recipient.pairs.values_mut() {
                if pair.in_hand.is_some_and(|hand| hand.relay == relay && hand.epoch <= upto_epoch) {
                    pair.in_hand = None;
                    let in_hand = pair.items.iter_mut().filter(|item| item.state == State::InHand);
                    in_hand.for_each(|item| item.state = State::Waiting);
                    back += 1;
                }
            }
        }
        if let Some(hands) = self.hands.get_mut(&relay) {
            hands.parcels -= back;
        }
    }

    /// Every pair to an address of which this says yes. A new connection is no reason to wait any longer.
    pub(crate) fn pairs_to(&mut self, served: impl Fn(&Address) -> bool) -> Vec<PairKey> {
        let mut pairs = Vec::new();
        for (&to, recipient) in self.recipients.iter_mut().filter(|(_, to)| served(&to.address)) {
            for (&from, pair) in &mut recipient.pairs {
                (pair.not_before, pair.back_off_ms) = (Tick::default(), 0);
                pairs.push((to, from));
            }
        }
        pairs
    }

    /// A relay is no more.
    pub(crate) fn forget_relay(&mut self, relay: u64) {
        for key in self.hands.remove(&relay).into_iter().flat_map(|hands| hands.held_up) {
            if let Some(pair) = self.pair_mut(key) {
                pair.held_up = false;
            }
        }
    }

    /// Messages that were tried for long enough, and when the next will have been.
    pub(crate) fn expired(&self, now: Timestamp) -> (Vec<(DeliveryKey, bool)>, Option<Timestamp>) {
        let (mut expired, mut next) = (Vec::new(), None::<Timestamp>);
        for (&recipient, to) in &self.recipients {
            for (&sender, pair) in &to.pairs {
                for item in &pair.items {
                    let What::Message { id, until, expires, .. } = item.what else { continue };
                    if until > now {
                        next = Some(next.map_or(until, |earlier| earlier.min(until)));
                    } else if item.state != State::Settling {
                        let position = item.position;
                        expired.push((DeliveryKey { recipient, sender, position, message_id: id }, expires));
                    }
                }
            }
        }
        (expired, next)
    }

    // ---- small things -----------------------------------------------------------------------------------------

    fn out_of_hand(&mut self, key: PairKey) {
        let Some(pair) = self.pair_mut(key) else { return };
        let Some(hand) = &mut pair.in_hand else { return };
        hand.left -= 1;
        if hand.left == 0 {
            let relay = hand.relay;
            pair.in_hand = None;
            if let Some(hands) = self.hands.get_mut(&relay) {
                hands.parcels -= 1;
            }
        }
    }

    fn is_full(&self, relay: u64) -> bool {
        self.hands.get(&relay).is_some_and(|hands| hands.parcels >= PARCELS)
    }

    fn pair_mut(&mut self, (to, from): PairKey) -> Option<&mut Pair> {
        self.recipients.get_mut(&to)?.pairs.get_mut(&from)
    }

    fn both_mut(&mut self, (to, from): PairKey) -> Option<(&Address, &mut Pair)> {
        let recipient = self.recipients.get_mut(&to)?;
        Some((&recipient.address, recipient.pairs.get_mut(&from)?))
    }

    fn forget_empty_pair(&mut self, (to, from): PairKey) {
        if let Some(recipient) = self.recipients.get_mut(&to)
            && recipient.pairs.get(&from).is_some_and(Pair::is_empty)
        {
            recipient.pairs.remove(&from);
        }
        self.forget_empty(to);
    }

    fn forget_empty(&mut self, recipient: AddressId) {
        if self.recipients.get(&recipient).is_some_and(|r| r.pairs.is_empty() && r.arriving == 0) {
            self.recipients.remove(&recipient);
        }
    }
}

impl Recipient {
    fn put(&mut self, from: AddressId, sender: &Address, item: Item) {
        let pair = self.pairs.entry(from).or_insert_with(|| Pair {
            sender: sender.clone(),
            items: VecDeque::new(),
            in_hand: None,
            reading: false,
            held_up: false,
            not_before: Tick::default(),
            back_off_ms: 0,
        });
        // They come in the order of their positions; only what is said anew at an opening comes twice.
        match pair.items.binary_search_by_key(&item.position, |there| there.position) {
            Ok(_) => {}
            Err(at) => pair.items.insert(at, item),
        }
    }
}

impl Pair {
    fn find(&mut self, position: Position) -> Option<&mut Item> {
        let at = self.items.binary_search_by_key(&position, |item| item.position).ok()?;
        self.items.get_mut(at)
    }

    fn is_settling(&self) -> bool {
        self.items.iter().take(PARCEL_MESSAGES).any(|item| item.state == State::Settling)
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty() && !self.reading
    }

    /// What the first items make, or the rows that have to be read for it.
    fn contents(&self, (recipient, sender): PairKey) -> Result<Contents, Vec<Position>> {
        let (mut messages, mut missing, mut bytes) = (Vec::new(), Vec::new(), 0);
        for item in self.items.iter().take(PARCEL_MESSAGES) {
            let (id, size, row) = match &item.what {
                What::Message { id, size, row, .. } => (*id, *size, row),
                What::Roster(_) if !messages.is_empty() || !missing.is_empty() => break,
                What::Roster(pending) => {
                    let message_id = MessageId(uuid::Uuid::nil());
                    let delivery = DeliveryKey { recipient, sender, position: item.position, message_id };
                    return Ok(Contents::Roster(RosterSignal {
                        delivery_id: Some(delivery.to_string().into()),
                        op: pending.signal.op,
                        stamp: pending.signal.stamp.0,
                        note: Arc::clone(&pending.signal.note),
                        token: pending.signal.token.clone(),
                    }));
                }
            };
            bytes += size;
            if bytes > PARCEL_BYTES && bytes > size {
                break;
            }
            let Some(row) = row else {
                // What is at hand goes first; whether this one can be read is seen then.
                if !messages.is_empty() {
                    break;
                }
                missing.push(item.position);
                continue;
            };
            // The one it amends is to be there before it: that one is settled first.
            if matches!(row.entry.kind, Kind::Amendment { .. }) && !messages.is_empty() {
                break;
            }
            let (amends, content) = match &row.entry.kind {
                Kind::Message(content) => (None, content.clone()),
                Kind::Amendment { of_id, amendment: Amendment::Edit(content), .. } => {
                    (Some(Amends::Edit(*of_id)), content.clone())
                }
                Kind::Amendment { of_id, amendment: Amendment::Retract, .. } => {
                    (Some(Amends::Retract(*of_id)), Content::text(""))
                }
                // These never wait for a relay.
                Kind::BuddyRequest { .. } | Kind::Outcome { .. } => continue,
            };
            let delivery = DeliveryKey { recipient, sender, position: item.position, message_id: id };
            messages.push(RelayedMessage {
                delivery_id: Some(delivery.to_string().into()),
                id: Some(id),
                instance: row.entry.instance.clone(),
                time: Some(row.entry.time),
                content,
                amends,
                expires: row.entry.expires,
            });
        }
        if missing.is_empty() { Ok(Contents::Messages(messages)) } else { Err(missing) }
    }
}

//! What is under way in each direction, and the answers to it.
//!
//! Parcels have no number on the wire: they count from 1 in the order in which they come. Answers are cumulative: a Settle
//! names the parcel through which all are answered, and tells only what was not plainly relayed.

use crate::MAX_PAYLOAD_BYTES;
use crate::cbor::{List, from_bytes, to_bytes};
use crate::error::ProtocolError;
use crate::frame::{Frame, Kind};
use crate::hello::Window;
use crate::protocol::Incoming;
use crate::values::{malformed, position, shortened};
use crate::wire;
use rosterkit::{Contents, Parcel, Settlement};
use std::collections::VecDeque;

/// What is remembered of a parcel until it is settled.
#[derive(Debug)]
struct UnderWay {
    bytes: usize,
    items: usize,
    /// Only these can be superseded.
    is_roster: bool,
    /// Theirs only: what we answer, once we know.
    answer: Option<Answer>,
}

/// One settlement an item, or `None`: nothing of it was taken.
type Answer = Option<Vec<Settlement>>;

impl UnderWay {
    fn new(parcel: &Parcel, bytes: usize) -> Self {
        let (items, is_roster) = match &parcel.contents {
            Contents::Messages(messages) => (messages.len(), false),
            Contents::Roster(_) => (1, true),
        };
        UnderWay { bytes, items, is_roster, answer: None }
    }

    fn may_be(&self, settlement: &Settlement) -> bool {
        match settlement {
            Settlement::Superseded { stamp } => self.is_roster && position(*stamp).is_ok(),
            _ => true,
        }
    }
}

/// Parcels in order, from the first that is not settled.
#[derive(Debug, Default)]
struct Parcels {
    settled: u64,
    under_way: VecDeque<UnderWay>,
    bytes: usize,
}

impl Parcels {
    fn has_room(&self, window: Window) -> bool {
        self.under_way.len() < window.parcels && self.bytes < window.bytes
    }

    fn add(&mut self, parcel: UnderWay) -> u64 {
        self.bytes += parcel.bytes;
        self.under_way.push_back(parcel);
        self.settled + self.under_way.len() as u64
    }

    fn settle_first(&mut self) -> Option<(u64, UnderWay)> {
        let parcel = self.under_way.pop_front()?;
        self.bytes -= parcel.bytes;
        self.settled += 1;
        Some((self.settled, parcel))
    }
}

/// Our parcels.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    parcels: Parcels,
    /// How many have left for the pipe. An answer to a later one is a lie.
    left: u64,
}

impl Sent {
    pub(crate) fn has_room(&self, window: Window) -> bool {
        self.parcels.has_room(window)
    }

    pub(crate) fn add(&mut self, parcel: &Parcel, bytes: usize) -> u64 {
        self.parcels.add(UnderWay::new(parcel, bytes))
    }

    pub(crate) fn left(&mut self, parcels: usize) {
        self.left += parcels as u64;
    }

    /// Reads a Settle frame.
    pub(crate) fn settled(
        &mut self,
        payload: &[u8],
        incoming: &mut Vec<Incoming>,
    ) -> Result<(), ProtocolError> {
        let wrong = |what| malformed(Kind::Settle, what);
        let settle: wire::Settle<'_> =
            from_bytes(payload).map_err(|_| wrong("fields that are missing or of another type"))?;
        if settle.through <= self.parcels.settled || settle.through > self.left {
            return Err(wrong("a parcel that is not under way"));
        }
        let mut others = settle.others.0.iter().peekable();
        // All of the frame is read before any of it counts.
        let mut answers = Vec::new();
        for (number, parcel) in (self.parcels.settled + 1..=settle.through).zip(&self.parcels.under_way) {
            let answer = match others.next_if(|other| other.number == number) {
                None => Some(vec![Settlement::Relayed; parcel.items]),
                Some(wire::Answer { items: None, .. }) => None,
                Some(wire::Answer { items: Some(items), .. }) => Some(read_items(parcel, &items.0)?),
            };
            answers.push(Incoming::Settled { number, answer });
        }
        if others.next().is_some() {
            return Err(wrong("answers that are not in the order of their parcels"));
        }
        while self.parcels.settled < settle.through && self.parcels.settle_first().is_some() {}
        incoming.append(&mut answers);
        Ok(())
    }
}

fn read_items(parcel: &UnderWay, items: &[wire::Item<'_>]) -> Result<Vec<Settlement>, ProtocolError> {
    let mut settlements = vec![Settlement::Relayed; parcel.items];
    for item in items {
        let settlement = match (item.failed, item.superseded) {
            (Some(reason), None) => Settlement::Failed { reason: shortened(reason).into() },
            (None, Some(stamp)) => Settlement::Superseded { stamp },
            (None, None) => Settlement::Retry,
            (Some(_), Some(_)) => return Err(malformed(Kind::Settle, "an item with two answers")),
        };
        let place = settlements.get_mut(item.index as usize).filter(|_| parcel.may_be(&settlement));
        *place.ok_or_else(|| malformed(Kind::Settle, "an answer that does not fit its parcel"))? = settlement;
    }
    Ok(settlements)
}

/// Their parcels.
#[derive(Debug, Default)]
pub(crate) struct Received {
    parcels: Parcels,
}

impl Received {
    /// Numbers a parcel that came, if it was allowed to.
    pub(crate) fn add(&mut self, parcel: &Parcel, bytes: usize) -> Result<u64, ProtocolError> {
        if !self.parcels.has_room(Window::OURS) {
            return Err(ProtocolError::WindowExceeded);
        }
        Ok(self.parcels.add(UnderWay::new(parcel, bytes)))
    }

    /// Keeps an answer until those before it are known. The first one counts.
    pub(crate) fn answer(&mut self, number: u64, answer: Answer) {
        let place = number.checked_sub(self.parcels.settled + 1);
        let place = place.and_then(|place| self.parcels.under_way.get_mut(usize::try_from(place).ok()?));
        if let Some(parcel) = place.filter(|parcel| parcel.answer.is_none()) {
            let fits = |all: &Vec<Settlement>| {
                all.len() == parcel.items && all.iter().all(|settlement| parcel.may_be(settlement))
            };
            parcel.answer = Some(answer.filter(fits));
        }
    }

    /// One frame for all that are answered with none unanswered before them, or for as many as it holds. Made when there is
    /// room for it in the pipe and not before: who does not read our answers gets no more room for parcels.
    pub(crate) fn settle(&mut self) -> Option<Frame<Vec<u8>>> {
        let mut answered = Vec::new();
        let mut size = 0;
        let is_answered = |parcel: &UnderWay| parcel.answer.is_some();
        while size < MAX_PAYLOAD_BYTES / 2 && self.parcels.under_way.front().is_some_and(is_answered) {
            let (number, parcel) = self.parcels.settle_first()?;
            let answer = parcel.answer.flatten();
            size += answer.as_ref().map_or(0, |all| all.iter().map(size_of).sum());
            answered.push((number, answer));
        }
        let (through, _) = answered.last()?;
        let others = answered.iter().filter_map(|(number, answer)| {
            let items = answer.as_ref().map(|all| write_items(all));
            let plain = items.as_ref().is_some_and(Vec::is_empty);
            (!plain).then(|| wire::Answer { number: *number, items: items.map(List) })
        });
        let settle = wire::Settle { through: *through, others: List(others.collect()) };
        Some(Frame { kind: Kind::Settle, payload: to_bytes(&settle) })
    }
}

/// At least what an item adds to a frame.
fn size_of(settlement: &Settlement) -> usize {
    match settlement {
        Settlement::Relayed => 0,
        Settlement::Failed { reason } => 16 + shortened(reason).len(),
        Settlement::Superseded { .. } | Settlement::Retry => 16,
    }
}

fn write_items(settlements: &[Settlement]) -> Vec<wire::Item<'_>> {
    let item = |(index, settlement)| {
        let (failed, superseded) = match settlement {
            &Settlement::Relayed => return None,
            Settlement::Failed { reason } => (Some(shortened(reason)), None),
            Settlement::Superseded { stamp } => (None, Some(*stamp)),
            Settlement::Retry => (None, None),
        };
        // A parcel has 256 items at most.
        Some(wire::Item { index: index as u32, failed, superseded })
    };
    settlements.iter().enumerate().filter_map(item).collect()
}

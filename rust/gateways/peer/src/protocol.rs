//! The conversation: what may be said when, and what is made of what comes.

use crate::VERSIONS;
use crate::error::{ProtocolError, Unsendable};
use crate::frame::{Frame, FrameReader, Kind};
use crate::hello::{FileMark, Hello, PeerHello, Window, read_hello, read_seen, write_hello, write_seen};
use crate::lanes::Lanes;
use crate::values::{
    malformed, read_goodbye, read_messages, read_presence, read_probe, read_roster, read_typing,
    write_goodbye, write_notice, write_parcel,
};
use crate::window::{Received, Sent};
use rosterkit::{Notice, Parcel, Settlement};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What came from the other side.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The first of each connection. [`Protocol::remember`] is what it waits for.
    Hello(PeerHello),
    /// The second: what the other side remembers of our file, from earlier connections. If that is of this generation and
    /// further than our file is, ours was replaced by an older copy.
    Seen(Option<FileMark>),
    /// A parcel, to be answered by [`Protocol::settle`].
    Parcel {
        /// What it is called until then.
        number: u64,
        /// What it is.
        parcel: Parcel,
    },
    /// The answer to a parcel of ours; they come in the order in which the parcels were sent.
    Settled {
        /// What [`Protocol::send`] called it.
        number: u64,
        /// One settlement an item, or `None`: nothing of it was taken, try again.
        answer: Option<Vec<Settlement>>,
    },
    /// What nobody keeps.
    Notice(Notice),
    /// The last: the other side takes nothing more, and says nothing more.
    Goodbye {
        /// For people to read.
        reason: Arc<str>,
    },
}

/// One connection of two engines, as one of them sees it. When the pipe breaks or [`feed`](Self::feed) fails it is of no more
/// use: a new pipe has a new one, in which what was not settled is sent again.
#[derive(Debug)]
pub struct Protocol {
    versions: RangeInclusive<u16>,
    reader: FrameReader,
    heard: Heard,
    /// What the other side lets us have under way; known from its Hello.
    window: Option<Window>,
    said: Said,
    sent: Sent,
    received: Received,
    lanes: Lanes,
}

/// How far the other side is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Hello,
    Seen,
    Goodbye,
    Failed(ProtocolError),
}

/// How far we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Hello,
    Seen,
    Goodbye,
}

impl Protocol {
    /// A new connection. `local` is what we say of ourselves.
    pub fn new(local: Hello) -> Self {
        Protocol::speaking(&local, VERSIONS)
    }

    fn speaking(local: &Hello, versions: RangeInclusive<u16>) -> Self {
        let mut lanes = Lanes::default();
        lanes.opening.push_back(write_hello(local, &versions));
        Protocol {
            versions,
            reader: FrameReader::default(),
            heard: Heard::Nothing,
            window: None,
            said: Said::Hello,
            sent: Sent::default(),
            received: Received::default(),
            lanes,
        }
    }

    /// Bytes from the pipe, in any cut, of a size that may be held decoded. An error is the end: what came before it is given
    /// first, a Goodbye with its text is queued, and the host gives the pipe what [`take`](Self::take) has and closes it.
    pub fn feed(&mut self, bytes: &[u8], incoming: &mut Vec<Incoming>) -> Result<(), ProtocolError> {
        match &self.heard {
            Heard::Failed(error) => return Err(error.clone()),
            Heard::Goodbye => return Ok(()),
            Heard::Nothing | Heard::Hello | Heard::Seen => {}
        }
        let mut reader = std::mem::take(&mut self.reader);
        reader.push(bytes);
        let read = self.read(&mut reader, incoming);
        self.reader = reader;
        if let Err(error) = &read {
            self.goodbye(&error.to_string());
            self.heard = Heard::Failed(error.clone());
            self.reader = FrameReader::default();
        }
        read
    }

    fn read(&mut self, reader: &mut FrameReader, incoming: &mut Vec<Incoming>) -> Result<(), ProtocolError> {
        while self.heard != Heard::Goodbye
            && let Some(frame) = reader.next()?
        {
            self.receive(&frame, incoming)?;
        }
        Ok(())
    }

    fn receive(&mut self, frame: &Frame<&[u8]>, incoming: &mut Vec<Incoming>) -> Result<(), ProtocolError> {
        let Frame { kind, payload } = *frame;
        let wrong = |what| malformed(kind, what);
        incoming.push(match (&self.heard, kind) {
            (Heard::Nothing, Kind::Hello) => {
                let (hello, window) = read_hello(payload, &self.versions)?;
                self.heard = Heard::Hello;
                self.window = Some(window);
                Incoming::Hello(hello)
            }
            (Heard::Hello, Kind::Seen) => {
                let seen = read_seen(payload)?;
                self.heard = Heard::Seen;
                Incoming::Seen(seen)
            }
            (Heard::Hello | Heard::Seen, Kind::Goodbye) => {
                let reason = read_goodbye(payload).map_err(wrong)?;
                self.heard = Heard::Goodbye;
                self.said = Said::Goodbye;
                self.lanes.clear();
                Incoming::Goodbye { reason }
            }
            (Heard::Seen, Kind::Settle) => return self.sent.settled(payload, incoming),
            (Heard::Seen, Kind::Messages) => {
                let parcel = read_messages(payload).map_err(wrong)?;
                Incoming::Parcel { number: self.received.add(&parcel, payload.len())?, parcel }
            }
            (Heard::Seen, Kind::Roster) => {
                let parcel = read_roster(payload).map_err(wrong)?;
                Incoming::Parcel { number: self.received.add(&parcel, payload.len())?, parcel }
            }
            (Heard::Seen, Kind::Presence) => Incoming::Notice(read_presence(payload).map_err(wrong)?),
            (Heard::Seen, Kind::Probe) => Incoming::Notice(read_probe(payload).map_err(wrong)?),
            (Heard::Seen, Kind::Typing) => Incoming::Notice(read_typing(payload).map_err(wrong)?),
            _ => return Err(ProtocolError::OutOfTurn { frame: kind.name() }),
        });
        Ok(())
    }

    /// What we remember of the other's file, said once, after its Hello. Nothing but a goodbye leaves before it.
    pub fn remember(&mut self, theirs: Option<FileMark>) {
        if self.window.is_some() && self.said == Said::Hello {
            self.said = Said::Seen;
            self.lanes.opening.push_back(write_seen(theirs));
        }
    }

    /// Whether the other side's window and the lane have room for a parcel.
    pub fn may_send(&self) -> bool {
        let window = self.window.filter(|_| self.said == Said::Seen);
        window.is_some_and(|window| self.sent.has_room(window)) && self.lanes.parcels.has_room()
    }

    /// Queues a parcel. It gets the next number of this connection, from 1, which [`Incoming::Settled`] names.
    pub fn send(&mut self, parcel: &Parcel) -> Result<u64, Unsendable> {
        if !self.may_send() {
            return Err(Unsendable::NoRoom);
        }
        let frame = write_parcel(parcel)?;
        let number = self.sent.add(parcel, frame.payload.len());
        self.lanes.parcels.push(frame);
        Ok(number)
    }

    /// Whether the presence lane has room.
    pub fn may_notify(&self) -> bool {
        self.said == Said::Seen && self.lanes.notices.has_room()
    }

    /// Queues a notice.
    pub fn notify(&mut self, notice: &Notice) -> Result<(), Unsendable> {
        if !self.may_notify() {
            return Err(Unsendable::NoRoom);
        }
        self.lanes.notices.push(write_notice(notice)?);
        Ok(())
    }

    /// Our answer to their parcel: one settlement an item, or `None`: nothing of it was taken, try again. It leaves once the
    /// parcels before it are answered. The first answer counts; one that does not fit the parcel is taken as `None`.
    pub fn settle(&mut self, number: u64, answer: Option<Vec<Settlement>>) {
        self.received.answer(number, answer);
    }

    /// Up to `max` bytes for the pipe; empty when there is nothing.
    pub fn take(&mut self, max: usize) -> Vec<u8> {
        let taken = self.lanes.take(max, &mut self.received);
        self.sent.left(taken.parcels);
        taken.bytes
    }

    /// Ends our side: parcels and notices that have not left are dropped, answers still leave, and the reason last.
    pub fn goodbye(&mut self, reason: &str) {
        if self.said != Said::Goodbye {
            self.said = Said::Goodbye;
            self.lanes.close(write_goodbye(reason));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn speaking(versions: RangeInclusive<u16>) -> Protocol {
        let file = FileMark { generation: 1, log_end: 1 };
        Protocol::speaking(&Hello { domains: Vec::new(), file }, versions)
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        for (ours, theirs, spoken) in
            [(1..=1, 1..=1, 1), (1..=3, 2..=5, 3), (2..=5, 1..=3, 3), (1..=9, 4..=4, 4)]
        {
            let (mut here, mut there) = (speaking(ours), speaking(theirs));
            let mut incoming = Vec::new();
            there.feed(&here.take(usize::MAX), &mut incoming).unwrap();
            here.feed(&there.take(usize::MAX), &mut incoming).unwrap();
            assert_eq!(incoming.len(), 2);
            for incoming in incoming {
                assert!(matches!(incoming, Incoming::Hello(hello) if hello.version == spoken));
            }
        }
    }

    #[test]
    fn without_a_common_version_both_are_told() {
        let (mut here, mut there) = (speaking(1..=2), speaking(3..=4));
        let hello = here.take(usize::MAX);
        let error = ProtocolError::NoCommonVersion { min: 1, max: 2 };
        assert_eq!(there.feed(&hello, &mut Vec::new()), Err(error.clone()));
        assert_eq!(there.feed(&hello, &mut Vec::new()), Err(error));
        let mut incoming = Vec::new();
        let told = here.feed(&there.take(usize::MAX), &mut incoming);
        assert_eq!(told, Err(ProtocolError::NoCommonVersion { min: 3, max: 4 }));
        assert!(incoming.is_empty() && there.take(usize::MAX).is_empty());
    }
}

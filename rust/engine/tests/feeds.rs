//! Messages of many sizes, to sessions that read, acknowledge, hand back and go as they like: a device gets each of them in
//! order, and what nobody acknowledged comes to whoever asks last.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use proptest::prelude::*;
use rosterkit::store::memory::MemoryStore;
use rosterkit::{Engine, Event, EventBody, Position, Session, SessionOptions, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;
use world::{account, without_limits};

#[derive(Clone, Debug)]
enum Step {
    /// So many messages of one size.
    Send(usize, usize),
    /// A session comes, with the device's name when that is not there.
    Open(bool),
    /// One of those there takes so many events.
    Read(usize, usize),
    /// It acknowledges up to one of those it has.
    Acknowledge(usize, usize),
    HandBack(usize),
    Close(usize),
}

fn step() -> impl Strategy<Value = Step> {
    // Of the small ones more than a slow session takes at once, of the large ones a page or two.
    let sent =
        prop_oneof![(1..300usize, Just(1usize)), (1..40usize, prop_oneof![Just(30_000usize), Just(65_000)])];
    let which = 0..4usize;
    prop_oneof![
        4 => sent.prop_map(|(count, size)| Step::Send(count, size)),
        3 => any::<bool>().prop_map(Step::Open),
        6 => (which.clone(), 1..700usize).prop_map(|(which, max)| Step::Read(which, max)),
        5 => (which.clone(), 0..700usize).prop_map(|(which, of)| Step::Acknowledge(which, of)),
        3 => which.clone().prop_map(Step::HandBack),
        2 => which.prop_map(Step::Close),
    ]
}

struct Reader {
    session: Session,
    is_device: bool,
    /// What it has in hand: the numbers of the events, and the places of the messages.
    hand: Vec<(u64, Position)>,
}

struct Run {
    engine: Engine,
    sent: Vec<Position>,
    readers: Vec<Reader>,
    acknowledged: BTreeSet<Position>,
    /// How many messages the device has acknowledged, and is past.
    device_is_past: usize,
}

impl Run {
    fn new() -> Run {
        let engine = Engine::open_virtual(MemoryStore::new(), without_limits(), 7, Timestamp(0)).unwrap();
        for user in ["alice", "bob"] {
            engine.create_account(&account(user)).unwrap();
        }
        let mut run = Run {
            engine,
            sent: Vec::new(),
            readers: Vec::new(),
            acknowledged: BTreeSet::new(),
            device_is_past: 0,
        };
        // From here on the device is known.
        run.open(true);
        run.readers.remove(0).session.close();
        run
    }

    fn open(&mut self, is_device: bool) {
        let device = is_device.then(|| rosterkit::DeviceName::new("phone").unwrap());
        let options = SessionOptions { reads_messages: true, device, ..SessionOptions::default() };
        let session = self.engine.open_session(&account("bob"), options).unwrap();
        self.readers.push(Reader { session, is_device, hand: Vec::new() });
    }

    fn take(&mut self, which: usize, events: &[Event]) -> Result<(), TestCaseError> {
        let reader = &mut self.readers[which];
        for event in events {
            let EventBody::Message(message) = &event.body else { panic!("{event:?}") };
            let is_new = reader.hand.iter().all(|(_, position)| *position != message.position);
            prop_assert!(is_new, "{:?} comes twice", message.position);
            if reader.is_device {
                let next = self.sent.get(self.device_is_past + reader.hand.len());
                prop_assert_eq!(next, Some(&message.position), "a device gets each in order");
            }
            reader.hand.push((event.seq, message.position));
        }
        Ok(())
    }

    fn acknowledge(&mut self, which: usize, count: usize) {
        let reader = &mut self.readers[which];
        let count = count.min(reader.hand.len());
        let Some((seq, _)) = count.checked_sub(1).map(|last| reader.hand[last]) else { return };
        reader.session.ack(seq);
        self.device_is_past += if reader.is_device { count } else { 0 };
        self.acknowledged.extend(reader.hand.drain(..count).map(|(_, position)| position));
    }

    /// Acknowledges what it has, and reads and acknowledges until nothing comes. Says what came.
    fn drain(&mut self, which: usize) -> Result<BTreeSet<Position>, TestCaseError> {
        let mut came = BTreeSet::new();
        self.acknowledge(which, usize::MAX);
        loop {
            let events = self.readers[which].session.next_events(1_000, Duration::ZERO).unwrap();
            if events.is_empty() {
                break;
            }
            self.take(which, &events)?;
            came.extend(self.readers[which].hand.iter().map(|(_, position)| *position));
            self.acknowledge(which, usize::MAX);
        }
        Ok(came)
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let which = |which: usize| (!self.readers.is_empty()).then(|| which % self.readers.len());
        match step {
            Step::Send(count, size) => {
                // More claims than are remembered would be forgotten.
                for _ in 0..count.min(1_000 - self.sent.len()) {
                    let send = rosterkit::Send::text(&account("bob"), &"x".repeat(size));
                    self.sent.push(self.engine.send(&account("alice"), send).unwrap().position);
                }
            }
            Step::Open(is_device) => {
                let is_there = self.readers.iter().any(|reader| reader.is_device);
                self.open(is_device && !is_there);
            }
            Step::Read(who, max) => {
                if let Some(which) = which(who) {
                    let events = self.readers[which].session.next_events(max, Duration::ZERO).unwrap();
                    self.take(which, &events)?;
                }
            }
            Step::Acknowledge(who, of) => {
                if let Some(which) = which(who) {
                    let count = self.readers[which].hand.len();
                    self.acknowledge(which, (of + 1).min(count));
                }
            }
            Step::HandBack(who) => {
                if let Some(which) = which(who) {
                    self.readers[which].session.hand_back();
                    self.readers[which].hand.clear();
                }
            }
            Step::Close(who) => {
                if let Some(which) = which(who) {
                    self.readers.remove(which).session.close();
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // behaviour: delivery.devices, delivery.slow-session, delivery.claims, delivery.passed-on
    #[test]
    fn nothing_is_lost_however_it_is_read(steps in proptest::collection::vec(step(), 1..60)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step)?;
        }
        let all: BTreeSet<Position> = run.sent.iter().copied().collect();
        // In half of the runs those who are there read on: then nothing waits for anybody else.
        if run.sent.len().is_multiple_of(2) && !run.readers.is_empty() {
            for which in 0..run.readers.len() {
                run.drain(which)?;
            }
            prop_assert_eq!(&run.acknowledged, &all);
        }
        // What somebody has in hand, or nobody, comes to who is left.
        run.readers.drain(..).for_each(|reader| reader.session.close());
        run.open(false);
        let unclaimed: BTreeSet<Position> = all.difference(&run.acknowledged).copied().collect();
        prop_assert_eq!(run.drain(0)?, unclaimed);
        run.open(true);
        let left: BTreeSet<Position> = run.sent[run.device_is_past..].iter().copied().collect();
        prop_assert_eq!(run.drain(1)?, left);
        run.engine.shutdown(true).unwrap();
    }
}

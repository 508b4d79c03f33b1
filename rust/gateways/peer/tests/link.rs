//! Two engines in virtual time, joined by a pipe that loses, doubles, changes the order of and breaks off what it carries.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use rosterkit::store::memory::MemoryStore;
use rosterkit::{
    Address, Domain, Engine, EngineOptions, EventBody, Session, SessionOptions, SetPresence, State, Status,
    Timestamp,
};
use rosterkit_peer::PeerLink;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

struct Side {
    engine: Engine,
    link: PeerLink,
    session: Session,
    /// Whom it writes to.
    peer: Address,
    sent: Vec<String>,
    heard: Vec<String>,
    outcomes: usize,
}

impl Side {
    fn new(user: &str, domain: &str, peer: &str) -> Side {
        let options = EngineOptions::hosting([Domain::new(domain).unwrap()]);
        let start = Timestamp(1_700_000_000_000);
        let engine = Engine::open_virtual(MemoryStore::new(), options, 7, start).unwrap();
        let account = Address::account(&format!("{user}@{domain}")).unwrap();
        engine.create_account(&account).unwrap();
        let peer = Address::account(peer).unwrap();
        let link = PeerLink::open(&engine, vec![Domain::new(peer.domain()).unwrap()]).unwrap();
        link.connect().unwrap();
        let options = SessionOptions { reads_messages: true, ..SessionOptions::default() };
        let session = engine.open_session(&account, options).unwrap();
        session.set_presence(SetPresence::state(State::Online)).unwrap();
        Side { engine, link, session, peer, sent: Vec::new(), heard: Vec::new(), outcomes: 0 }
    }

    fn send(&mut self) {
        let text = format!("{}", self.sent.len());
        self.session.send(&self.peer, &text).unwrap();
        self.sent.push(text);
    }

    fn listen(&mut self) {
        while let Some(events) = Some(self.session.next_events(100, Duration::ZERO).unwrap())
            && let Some(last) = events.last()
        {
            for event in &events {
                match &event.body {
                    EventBody::Message(message) => self.heard.push(message.content.as_text().unwrap().into()),
                    EventBody::Outcome { .. } => self.outcomes += 1,
                    _ => {}
                }
            }
            self.session.ack(last.seq);
        }
    }

    fn shows(&self) -> State {
        self.session.presence_of(&self.peer).unwrap().state
    }
}

fn pair() -> [Side; 2] {
    [Side::new("alice", "a.example", "bob@b.example"), Side::new("bob", "b.example", "alice@a.example")]
}

fn reconnect(sides: &[Side; 2]) {
    for side in sides {
        side.link.connect().unwrap();
    }
}

/// Carries without fault until nothing moves; a connection that an earlier fault broke is opened anew.
fn carry(sides: &[Side; 2]) {
    loop {
        let mut moved = false;
        for [from, to] in [[0, 1], [1, 0]] {
            let bytes = sides[from].link.take(1 << 16, Duration::ZERO).unwrap();
            moved |= !bytes.is_empty();
            if !bytes.is_empty() && sides[to].link.feed(&bytes).is_err() {
                reconnect(sides);
            }
        }
        if !moved {
            return;
        }
    }
}

#[test]
fn handshake_presence_and_messages_cross() {
    let mut sides = pair();
    carry(&sides);
    assert_eq!(sides[0].link.state().peer_domains, [Domain::new("b.example").unwrap()]);
    let (alice, bob) = (sides[1].peer.clone(), sides[0].peer.clone());
    sides[0].session.add_buddy(&bob, None, None).unwrap();
    carry(&sides);
    sides[1].session.confirm_buddy(&alice).unwrap();
    carry(&sides);
    assert_eq!([sides[0].shows(), sides[1].shows()], [State::Online; 2]);
    sides[0].send();
    carry(&sides);
    sides.iter_mut().for_each(Side::listen);
    assert_eq!((&sides[1].heard, sides[0].outcomes), (&sides[0].sent, 1));
    // One side stays away for a while; what is written meanwhile waits.
    sides.iter().for_each(|side| side.link.disconnect());
    for side in &mut sides {
        side.send();
        side.engine.advance(90_000).unwrap();
        assert_eq!(side.shows(), State::Unknown);
    }
    reconnect(&sides);
    carry(&sides);
    sides.iter_mut().for_each(Side::listen);
    assert_eq!([sides[0].heard.len(), sides[1].heard.len()], [1, 2]);
    assert_eq!([sides[0].shows(), sides[1].shows()], [State::Online; 2]);
}

#[test]
fn bytes_of_nobody_end_the_connection_and_the_other_side_is_told_why() {
    let sides = pair();
    carry(&sides);
    let error = sides[0].link.feed(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert_eq!(error.kind, rosterkit::ErrorKind::InvalidArgument);
    assert!(!sides[0].link.state().connected && sides[0].link.state().last_error.is_some());
    assert_eq!(sides[0].link.feed(b"x").unwrap_err().kind, rosterkit::ErrorKind::Misuse);
    let goodbye = sides[0].link.take(1 << 16, Duration::ZERO).unwrap();
    let error = sides[1].link.feed(&goodbye).unwrap_err();
    assert_eq!(error.kind, rosterkit::ErrorKind::Closed, "{error}");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send(usize),
    Listen(usize),
    Carry {
        from: usize,
        bytes: usize,
    },
    /// A piece of what is carried.
    Drop(usize),
    Double(usize),
    Swap(usize),
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    let side = 0..2usize;
    prop_oneof![
        6 => side.clone().prop_map(Step::Send),
        2 => side.clone().prop_map(Step::Listen),
        12 => (side.clone(), 1usize..3_000).prop_map(|(from, bytes)| Step::Carry { from, bytes }),
        1 => side.clone().prop_map(Step::Drop),
        1 => side.clone().prop_map(Step::Double),
        1 => side.prop_map(Step::Swap),
        1 => Just(Step::Cut),
    ]
}

static FAULTS: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    fn every_message_arrives_once_and_in_order(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut sides = pair();
        for step in steps {
            let fault = |which: usize| FAULTS[which].fetch_add(1, Ordering::Relaxed);
            let take = |sides: &[Side; 2], from: usize, max| sides[from].link.take(max, Duration::ZERO).unwrap();
            let feed = |sides: &[Side; 2], to: usize, bytes: &[u8]| {
                if !bytes.is_empty() && sides[to].link.feed(bytes).is_err() {
                    reconnect(sides);
                    return false;
                }
                true
            };
            match step {
                Step::Send(side) => sides[side].send(),
                Step::Listen(side) => sides[side].listen(),
                Step::Carry { from, bytes } => {
                    let bytes = take(&sides, from, bytes);
                    feed(&sides, 1 - from, &bytes);
                }
                Step::Drop(from) => {
                    if !take(&sides, from, 200).is_empty() {
                        fault(0);
                    }
                }
                Step::Double(from) => {
                    let bytes = take(&sides, from, 200);
                    if feed(&sides, 1 - from, &bytes) && !bytes.is_empty() {
                        fault(1);
                        feed(&sides, 1 - from, &bytes);
                    }
                }
                Step::Swap(from) => {
                    let (first, second) = (take(&sides, from, 100), take(&sides, from, 100));
                    if !second.is_empty() {
                        fault(2);
                    }
                    if feed(&sides, 1 - from, &second) {
                        feed(&sides, 1 - from, &first);
                    }
                }
                Step::Cut => {
                    fault(3);
                    reconnect(&sides);
                }
            }
        }
        // Whatever was lost without being noticed yet is noticed by what comes next, or by the host giving up.
        reconnect(&sides);
        for _ in 0..4 {
            carry(&sides);
            sides.iter().for_each(|side| side.engine.advance(2_000).unwrap());
        }
        sides.iter_mut().for_each(Side::listen);
        for [from, to] in [[0, 1], [1, 0]] {
            prop_assert_eq!(&sides[to].heard, &sides[from].sent);
            prop_assert_eq!(sides[from].outcomes, sides[from].sent.len());
        }
    }

    #[test]
    fn both_sides_agree_on_who_is_a_buddy_whatever_is_lost(
        steps in prop::collection::vec((0..2usize, 0..4u8), 1..40),
    ) {
        let sides = pair();
        carry(&sides);
        for (at, what) in steps {
            let (session, peer) = (&sides[at].session, &sides[at].peer);
            match what {
                0 => session.add_buddy(peer, None, None).unwrap(),
                1 => drop(session.remove_buddy(peer)),
                2 => carry(&sides),
                _ => {
                    // Taken from one side, and never arrived.
                    sides[at].link.take(1 << 16, Duration::ZERO).unwrap();
                    reconnect(&sides);
                }
            }
        }
        reconnect(&sides);
        for _ in 0..6 {
            carry(&sides);
            sides.iter().for_each(|side| side.engine.advance(2_000).unwrap());
        }
        let status = |side: &Side| {
            let roster = side.session.roster().unwrap();
            roster.buddies.iter().find(|b| b.address == side.peer).map_or(Status::None, |b| b.status())
        };
        let mirrored = |status| match status {
            Status::Requested => Status::Asking,
            Status::Asking => Status::Requested,
            other => other,
        };
        prop_assert_eq!(status(&sides[0]), mirrored(status(&sides[1])));
    }
}

// contract: durability, across two engines
#[test]
fn whatever_the_pipe_does_every_message_arrives_once_and_in_order() {
    every_message_arrives_once_and_in_order();
    let counts = FAULTS.each_ref().map(|count| count.load(Ordering::Relaxed));
    eprintln!("dropped, doubled, swapped, cut: {counts:?}");
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}

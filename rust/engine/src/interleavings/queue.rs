//! A session's queue: putters, a consumer at a time, and whoever acknowledges or fails meanwhile.

use super::{LONG, Notes, explore, positions, row};
use crate::error::ErrorKind;
use crate::event::{EndReason, Event, EventBody};
use crate::queue::{Acks, SessionQueue, Slot, Wake};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock, thread};
use rosterkit_core::address::Address;
use rosterkit_core::id::{AddressId, Position, SessionId};
use rosterkit_core::presence::Presence;
use std::sync::Arc;

const ROWS: u64 = 4;

/// A shard that keeps what is acknowledged.
#[derive(Default)]
struct Acknowledged(Mutex<Vec<Position>>);

impl Wake for Acknowledged {
    fn readable(&self, _: SessionId) {}

    fn acknowledged(&self, _: SessionId, acks: Acks) {
        lock(&self.0).extend(acks.positions);
    }

    fn close(&self, _: SessionId, _: EndReason) {}
}

fn queue() -> (Arc<SessionQueue>, Arc<Acknowledged>) {
    (Arc::new(SessionQueue::new(SessionId(7))), Arc::new(Acknowledged::default()))
}

/// Puts the rows, in order, in a thread.
fn put_rows(queue: &Arc<SessionQueue>, wake: &Arc<Acknowledged>) -> thread::JoinHandle<()> {
    let (queue, wake) = (Arc::clone(queue), Arc::clone(wake));
    thread::spawn(move || {
        for position in 1..=ROWS {
            queue.put_rows([row(position)], &*wake);
        }
    })
}

fn presence(subject: &Address, note: u64) -> EventBody {
    let presence = Presence { note: Some(note.to_string().into()), ..Presence::offline() };
    EventBody::Presence { subject: subject.clone(), presence }
}

fn assert_numbered(events: &[Event], from: u64) {
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (from..from + events.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_consumer_is_woken_and_gets_everything_in_order_up_to_the_end() {
    explore(3_000, || {
        let (queue, wake) = queue();
        let rows = put_rows(&queue, &wake);
        let states = {
            let (queue, wake) = (Arc::clone(&queue), Arc::clone(&wake));
            thread::spawn(move || {
                let subject = super::account("ben");
                for note in 1..=3 {
                    let slot = Slot::Presence(AddressId::new(1, 0));
                    queue.put_slot(slot, presence(&subject, note), &*wake);
                }
            })
        };
        let reading = queue.begin(&*wake).unwrap();
        let (mut events, mut newest) = (Vec::new(), None);
        // Nobody ends it before everything came: whoever sleeps over something sleeps for ever.
        while positions(&events).len() < ROWS as usize || newest.as_deref() != Some("3") {
            let some = reading.wait(2, LONG).unwrap();
            assert!(!some.is_empty());
            for event in &some {
                if let EventBody::Presence { presence, .. } = &event.body {
                    assert!(newest.as_deref() < presence.note.as_deref(), "state goes forward");
                    newest = presence.note.as_deref().map(str::to_owned);
                }
            }
            queue.ack(some.last().unwrap().seq, &*wake);
            events.extend(some);
        }
        rows.join().unwrap();
        states.join().unwrap();
        let ender = {
            let (queue, wake) = (Arc::clone(&queue), Arc::clone(&wake));
            thread::spawn(move || queue.end(EndReason::Closed, &*wake))
        };
        events.extend(reading.wait(2, LONG).unwrap());
        assert_eq!(events.last().unwrap().body, EventBody::Ended(EndReason::Closed));
        assert_eq!(reading.wait(2, LONG).unwrap_err().kind, ErrorKind::Closed);
        ender.join().unwrap();
        assert_numbered(&events, 1);
        assert_eq!(positions(&events), [1, 2, 3, 4]);
        assert_eq!(*lock(&wake.0), [1, 2, 3, 4].map(Position));
    });
}

#[test]
fn an_interrupt_ends_the_wait_whether_it_has_begun_or_not() {
    explore(2_000, || {
        let (queue, wake) = queue();
        let interrupting = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.interrupt())
        };
        let reading = queue.begin_as_holder(&*wake).unwrap();
        assert!(reading.wait(2, LONG).unwrap().is_empty());
        assert!(!reading.was_interrupted(), "it is used up");
        interrupting.join().unwrap();
        // A wait for the end is woken, although its waiter was told of a row before and has not come.
        let rows = put_rows(&queue, &wake);
        let ending = {
            let (queue, wake) = (Arc::clone(&queue), Arc::clone(&wake));
            thread::spawn(move || queue.end(EndReason::Closed, &*wake))
        };
        reading.wait_for_end();
        ending.join().unwrap();
        rows.join().unwrap();
    });
}

#[test]
fn of_two_consumers_one_reads_and_the_other_is_refused() {
    explore(3_000, || {
        let (queue, wake) = queue();
        let inside = Arc::new(AtomicBool::new(false));
        let read = Notes::new();
        let consumers = [(); 2].map(|()| {
            let (queue, wake, inside, read) =
                (Arc::clone(&queue), Arc::clone(&wake), Arc::clone(&inside), Arc::clone(&read));
            thread::spawn(move || {
                loop {
                    let reading = match queue.begin(&*wake) {
                        Ok(reading) => reading,
                        Err(error) => {
                            assert_eq!(error.kind, ErrorKind::Misuse);
                            thread::yield_now();
                            continue;
                        }
                    };
                    assert!(!inside.swap(true, Ordering::AcqRel), "one at a time");
                    let taken = reading.wait(1, LONG);
                    if let Ok(events) = &taken {
                        read.note(events);
                        queue.ack(events.last().unwrap().seq, &*wake);
                    }
                    assert!(inside.swap(false, Ordering::AcqRel));
                    if let Err(error) = taken {
                        assert_eq!(error.kind, ErrorKind::Closed);
                        return;
                    }
                }
            })
        });
        let rows = put_rows(&queue, &wake);
        rows.join().unwrap();
        queue.end(EndReason::Shutdown, &*wake);
        for consumer in consumers {
            consumer.join().unwrap();
        }
        let mut events = read.all();
        assert_numbered(&events, 1);
        assert_eq!(events.pop().unwrap().body, EventBody::Ended(EndReason::Shutdown));
        // What was not handed out when the session ended stays in the log.
        let rows = positions(&events);
        assert_eq!(rows, (1..=rows.len() as u64).collect::<Vec<_>>());
        assert_eq!(*lock(&wake.0), rows.into_iter().map(Position).collect::<Vec<_>>());
    });
}

#[test]
fn what_fails_comes_again_and_nothing_is_lost_or_acknowledged_twice() {
    explore(3_000, || {
        let (queue, wake) = queue();
        let rows = put_rows(&queue, &wake);
        // Another thread says that what is in hand could not be dealt with, at any moment.
        let failing = {
            let (queue, wake) = (Arc::clone(&queue), Arc::clone(&wake));
            thread::spawn(move || {
                queue.fail(&*wake);
                queue.fail(&*wake);
            })
        };
        let reading = queue.begin(&*wake).unwrap();
        let mut events = Vec::new();
        while lock(&wake.0).len() < ROWS as usize {
            let some = reading.wait(3, LONG).unwrap();
            queue.ack(some.last().unwrap().seq, &*wake);
            events.extend(some);
        }
        rows.join().unwrap();
        failing.join().unwrap();
        assert!(!queue.has_more());
        assert_numbered(&events, 1);
        assert_eq!(*lock(&wake.0), [1, 2, 3, 4].map(Position));
        // Each came first in its turn; again only what came before.
        let mut highest = 0;
        for position in positions(&events) {
            assert!(position <= highest + 1);
            highest = highest.max(position);
        }
    });
}

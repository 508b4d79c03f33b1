//! Sessions with something to read, and the threads that call their listeners or hand their batches out.

use super::{Host, LONG, Notes, ends, explore, positions, row};
use crate::command::Consumer;
use crate::dispatch::Ready;
use crate::error::ErrorKind;
use crate::event::EndReason;
use crate::mailbox::{Mailbox, Taken};
use crate::queue::{Acks, SessionQueue, Wake};
use crate::sync::atomic::Ordering;
use crate::sync::thread;
use rosterkit_core::id::SessionId;
use std::collections::VecDeque;
use std::sync::Arc;

const DISPATCHERS: usize = 2;
/// More bytes than any run has.
const MUCH: usize = 1 << 20;

/// What is around the ready sessions in an engine: a shard that is to end those whose listener fails too often.
struct Around {
    ready: Ready,
    to_end: Mailbox<(SessionId, EndReason)>,
}

impl Wake for Around {
    fn readable(&self, session: SessionId) {
        // All the dispatchers there are run from the beginning.
        self.ready.readable(&mut vec![session]);
    }

    fn acknowledged(&self, _: SessionId, _: Acks) {}

    fn close(&self, session: SessionId, reason: EndReason) {
        self.to_end.put((session, reason)).unwrap();
    }
}

impl Around {
    fn new() -> Arc<Self> {
        Arc::new(Around { ready: Ready::new(), to_end: Mailbox::new() })
    }

    fn session(&self, number: u64, consumer: Consumer) -> Arc<SessionQueue> {
        let queue = Arc::new(SessionQueue::new(SessionId(number)));
        self.ready.register(&queue, consumer);
        queue
    }

    fn put_three(self: &Arc<Self>, queue: &Arc<SessionQueue>) {
        let (around, queue) = (Arc::clone(self), Arc::clone(queue));
        thread::spawn(move || {
            for position in 1..=3 {
                queue.put_rows([row(position)], &*around);
            }
        });
    }

    fn dispatchers(self: &Arc<Self>) -> [thread::JoinHandle<()>; DISPATCHERS] {
        [(); DISPATCHERS].map(|()| {
            let around = Arc::clone(self);
            thread::spawn(move || {
                while let Some(session) = around.ready.wait_call(DISPATCHERS) {
                    around.ready.call(session, &*around);
                }
            })
        })
    }

    fn close(&self, threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
        self.ready.close();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn listeners_are_told_everything_one_batch_at_a_time() {
    explore(2_500, || {
        let around = Around::new();
        let dispatchers = around.dispatchers();
        let sessions = [0, 1].map(|fails| {
            let host = Host::failing(fails);
            (around.session(fails as u64, host.consumer()), host)
        });
        for (queue, _) in &sessions {
            around.put_three(queue);
        }
        // Nothing else wakes a dispatcher: what is put between its last look and its giving back the right to read
        // must be seen by somebody.
        for (queue, host) in &sessions {
            let events = host.wait_until(|events| events.len() == 3);
            assert_eq!(positions(&events), [1, 2, 3]);
            queue.end(EndReason::Closed, &*around);
        }
        for (_, host) in &sessions {
            let events = host.wait_until(|events| !ends(events).is_empty());
            assert_eq!(events.len(), 4);
        }
        around.close(dispatchers);
        assert!(around.ready.admits_listener(1), "who was told the end is let go");
    });
}

#[test]
fn a_listener_that_always_fails_is_told_why_it_ends() {
    explore(300, || {
        let around = Around::new();
        let dispatchers = around.dispatchers();
        let host = Host::failing(usize::MAX);
        let queue = around.session(1, host.consumer());
        queue.put_rows([row(1)], &*around);
        let mut to_end = VecDeque::new();
        assert_eq!(around.to_end.wait(&mut to_end, None), Taken::Some);
        assert_eq!(to_end.pop_front(), Some((SessionId(1), EndReason::ListenerFailed)));
        // It was not called again meanwhile. From here on it does its work.
        assert_eq!(usize::MAX - host.fails.swap(0, Ordering::AcqRel), 100);
        queue.end(EndReason::ListenerFailed, &*around);
        let events = host.wait_until(|events| !ends(events).is_empty());
        assert_eq!(ends(&events), [EndReason::ListenerFailed]);
        around.close(dispatchers);
        assert!(around.ready.admits_listener(1));
    });
}

#[test]
fn two_that_read_through_the_engine_get_everything_between_them() {
    explore(4_000, || {
        let around = Around::new();
        let queues = [1, 2].map(|number| around.session(number, Consumer::Engine));
        let read = Notes::new();
        let readers = [1, 8].map(|most| {
            let (around, read) = (Arc::clone(&around), Arc::clone(&read));
            thread::spawn(move || {
                loop {
                    let batches = match around.ready.next_batches(most, MUCH, LONG, &*around) {
                        Ok(batches) => batches,
                        Err(error) => return assert_eq!(error.kind, ErrorKind::Closed),
                    };
                    assert!(!batches.is_empty());
                    for batch in batches {
                        if let Some(queue) = around.ready.queue(batch.session) {
                            queue.ack(batch.events.last().unwrap().seq, &*around);
                        }
                        let events = batch.events.into_iter().map(|event| (batch.session, event));
                        read.note(&events.collect::<Vec<_>>());
                    }
                }
            })
        });
        for queue in &queues {
            around.put_three(queue);
        }
        read.wait_until(|read| read.len() == 2 * 3);
        for queue in &queues {
            queue.end(EndReason::Closed, &*around);
        }
        let read = read.wait_until(|read| read.len() == 2 * 4);
        around.close(readers);
        for queue in &queues {
            let mut events: Vec<_> = read
                .iter()
                .filter(|(session, _)| *session == queue.session)
                .map(|(_, e)| e.clone())
                .collect();
            events.sort_by_key(|event| event.seq);
            assert_eq!(positions(&events), [1, 2, 3]);
            assert_eq!(ends(&events), [EndReason::Closed]);
            assert!(around.ready.queue(queue.session).is_none(), "who was told the end is forgotten");
        }
    });
}

#[test]
fn a_look_that_finds_nothing_does_not_hide_what_comes_meanwhile() {
    explore(3_000, || {
        let around = Around::new();
        let queue = around.session(1, Consumer::Engine);
        let read = Notes::new();
        let readers = [(); 2].map(|()| {
            let (around, read) = (Arc::clone(&around), Arc::clone(&read));
            thread::spawn(move || {
                while let Ok(batches) = around.ready.next_batches(8, MUCH, LONG, &*around) {
                    read.note(&batches);
                }
            })
        });
        // Told of what another look has found already.
        around.readable(queue.session);
        queue.put_rows([row(1)], &*around);
        read.wait_until(|read| !read.is_empty());
        around.close(readers);
    });
}

#[test]
fn an_interrupt_ends_a_wait_and_hides_no_batch() {
    explore(3_000, || {
        let around = Around::new();
        let queue = around.session(1, Consumer::Engine);
        let reader = {
            let around = Arc::clone(&around);
            thread::spawn(move || {
                let mut waits = 0;
                loop {
                    let batches = around.ready.next_batches(8, MUCH, LONG, &*around).unwrap();
                    if !batches.is_empty() {
                        return waits;
                    }
                    waits += 1;
                }
            })
        };
        let interrupting = {
            let around = Arc::clone(&around);
            thread::spawn(move || around.ready.interrupt())
        };
        interrupting.join().unwrap();
        queue.put_rows([row(1)], &*around);
        assert!(reader.join().unwrap() <= 1, "one interrupt ends one wait of a reader");
    });
}

#[test]
fn closing_wakes_every_dispatcher_and_every_reader() {
    explore(2_000, || {
        let around = Around::new();
        let dispatchers = around.dispatchers();
        let readers = [(); 2].map(|()| {
            let around = Arc::clone(&around);
            thread::spawn(move || {
                let error = around.ready.next_batches(1, MUCH, LONG, &*around).unwrap_err();
                assert_eq!(error.kind, ErrorKind::Closed);
            })
        });
        around.close(dispatchers.into_iter().chain(readers));
    });
}

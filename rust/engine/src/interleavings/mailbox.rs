//! Many put, one takes.

use super::{LONG, explore};
use crate::mailbox::{Mailbox, Taken};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread;
use std::collections::VecDeque;
use std::sync::Arc;

const PUTTERS: usize = 3;
const EACH: usize = 3;

/// Who put it, and as which of theirs.
type Item = (usize, usize);

fn of(putter: usize, taken: &[Item]) -> Vec<usize> {
    taken.iter().filter(|(who, _)| *who == putter).map(|(_, what)| *what).collect()
}

#[test]
fn everything_put_is_taken_in_its_putters_order() {
    explore(4_000, || {
        let mailbox = Arc::new(Mailbox::new());
        let mut putters = Vec::new();
        for putter in 0..PUTTERS {
            let mailbox = Arc::clone(&mailbox);
            putters.push(thread::spawn(move || {
                if putter == 0 {
                    mailbox.put_all(&mut vec![(putter, 0), (putter, 1)]);
                }
                for what in of(putter, &[(1, 0), (1, 1), (0, 2), (1, 2), (2, 0), (2, 1), (2, 2)]) {
                    mailbox.put((putter, what)).unwrap();
                }
            }));
        }
        // Nobody closes it: a taker that sleeps while something is in it sleeps for ever.
        let (mut inbox, mut taken) = (VecDeque::new(), Vec::new());
        while taken.len() < PUTTERS * EACH {
            let timeout = taken.len().is_multiple_of(2).then_some(LONG);
            assert_eq!(mailbox.wait(&mut inbox, timeout), Taken::Some);
            taken.extend(inbox.drain(..));
        }
        assert!(mailbox.is_empty());
        for putter in putters {
            putter.join().unwrap();
        }
        for putter in 0..PUTTERS {
            assert_eq!(of(putter, &taken), [0, 1, 2]);
        }
    });
}

#[test]
fn what_is_put_after_the_close_is_given_back() {
    explore(4_000, || {
        let mailbox = Arc::new(Mailbox::new());
        let mut putters = Vec::new();
        for putter in 0..PUTTERS {
            let mailbox = Arc::clone(&mailbox);
            putters.push(thread::spawn(move || {
                let accepted = (0..EACH).take_while(|what| match mailbox.put((putter, *what)) {
                    Ok(()) => true,
                    Err(back) => {
                        assert_eq!(back, (putter, *what));
                        false
                    }
                });
                accepted.collect::<Vec<_>>()
            }));
        }
        let closer = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.close())
        };
        let (mut inbox, mut taken) = (VecDeque::new(), Vec::new());
        while mailbox.wait(&mut inbox, None) != Taken::Closed {
            taken.extend(inbox.drain(..));
        }
        closer.join().unwrap();
        for (putter, thread) in putters.into_iter().enumerate() {
            assert_eq!(of(putter, &taken), thread.join().unwrap());
        }
        assert_eq!(mailbox.put((0, EACH)), Err((0, EACH)));
    });
}

#[test]
fn a_nudge_is_not_slept_over() {
    explore(4_000, || {
        let mailbox = Arc::new(Mailbox::<Item>::new());
        let come = Arc::new(AtomicBool::new(false));
        let (nudged, putter) = (
            {
                let (mailbox, come) = (Arc::clone(&mailbox), Arc::clone(&come));
                thread::spawn(move || {
                    come.store(true, Ordering::Release);
                    mailbox.nudge();
                })
            },
            {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || mailbox.put((0, 0)).unwrap())
            },
        );
        let (mut inbox, mut taken) = (VecDeque::new(), Vec::new());
        while !come.load(Ordering::Acquire) || taken.is_empty() {
            assert_eq!(mailbox.wait(&mut inbox, None), Taken::Some);
            taken.extend(inbox.drain(..));
        }
        nudged.join().unwrap();
        putter.join().unwrap();
        assert_eq!(taken, [(0, 0)]);
    });
}

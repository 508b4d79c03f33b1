//! The way back: credits, calls, and the queue of answers.

use super::{LONG, Notes, explore};
use crate::answers::{Answers, Call, Credits, ReplyTo};
use crate::command::{Answer, Ticket};
use crate::error::ErrorKind;
use crate::sync::{Mutex, lock, thread};
use std::sync::Arc;
use std::time::Duration;

const COMMANDS: usize = 2;
const BYTES: usize = 100;

/// Everything was given back, and nothing twice.
fn assert_all_given_back(credits: &Arc<Credits>) {
    let whole = credits.take(BYTES).unwrap();
    assert!(credits.take(1).is_err(), "no byte more than there are");
    drop(whole);
    let all: Vec<_> = (0..COMMANDS).map(|_| credits.take(0).unwrap()).collect();
    assert!(credits.take(0).is_err(), "no command more than there are");
    drop(all);
}

#[test]
fn no_more_is_admitted_than_there_are_credits() {
    explore(3_000, || {
        let credits = Credits::new(COMMANDS, BYTES);
        let admitted = Arc::new(Mutex::new((0, 0)));
        let takers = [60, 40, 50, 0].map(|bytes| {
            let (credits, admitted) = (Arc::clone(&credits), Arc::clone(&admitted));
            thread::spawn(move || {
                for _ in 0..2 {
                    let Ok(credit) = credits.take(bytes) else {
                        continue;
                    };
                    {
                        let mut admitted = lock(&admitted);
                        admitted.0 += 1;
                        admitted.1 += bytes;
                        assert!(admitted.0 <= COMMANDS && admitted.1 <= BYTES, "{admitted:?}");
                    }
                    let mut admitted = lock(&admitted);
                    admitted.0 -= 1;
                    admitted.1 -= bytes;
                    drop(admitted);
                    drop(credit);
                }
            })
        });
        for taker in takers {
            taker.join().unwrap();
        }
        assert_all_given_back(&credits);
    });
}

#[test]
fn what_is_larger_than_the_cap_passes_alone() {
    explore(2_000, || {
        let credits = Credits::new(COMMANDS, BYTES);
        let under_way = Arc::new(Mutex::new(0));
        let takers = [BYTES + 1, BYTES + 2, 1].map(|bytes| {
            let (credits, under_way) = (Arc::clone(&credits), Arc::clone(&under_way));
            thread::spawn(move || {
                if let Ok(credit) = credits.take(bytes) {
                    *lock(&under_way) += 1;
                    assert_eq!(*lock(&under_way), 1);
                    *lock(&under_way) -= 1;
                    drop(credit);
                }
            })
        });
        for taker in takers {
            taker.join().unwrap();
        }
        drop(credits.take(BYTES + 1).unwrap());
        assert_all_given_back(&credits);
    });
}

#[test]
fn a_call_is_answered_and_whoever_has_the_answer_may_call_again() {
    explore(3_000, || {
        let credits = Credits::new(1, BYTES);
        for answered in [true, false] {
            // Nothing else is under way.
            let credit = credits.take(BYTES).unwrap();
            let call = Call::new();
            let reply = ReplyTo::call(Arc::clone(&call), credit);
            thread::spawn(move || if answered { reply.answer(Ok(Answer::Done)) } else { drop(reply) });
            match (answered, call.wait()) {
                (true, Ok(Answer::Done)) => {}
                (false, Err(error)) => assert_eq!(error.kind, ErrorKind::Closed),
                (_, other) => panic!("{other:?}"),
            }
        }
        drop(credits.take(BYTES).unwrap());
    });
}

/// Answers a ticket on a thread of its own; drops its reply when its number is odd.
fn reply_to(ticket: u64, answers: &Arc<Answers>, credits: &Arc<Credits>) -> thread::JoinHandle<()> {
    let credit = credits.take(0).unwrap();
    let reply = ReplyTo::ticket(Ticket(ticket), Arc::clone(answers), credit);
    thread::spawn(move || if ticket.is_multiple_of(2) { reply.answer(Ok(Answer::Done)) } else { drop(reply) })
}

#[test]
fn every_ticket_is_answered_once_whoever_takes() {
    explore(4_000, || {
        let (answers, credits) = (Answers::new(), Credits::new(4, BYTES));
        let taken = Notes::new();
        // Two take one each as long as there are any: nobody sleeps over what the other left.
        let takers = [(); 2].map(|()| {
            let (answers, taken) = (Arc::clone(&answers), Arc::clone(&taken));
            thread::spawn(move || {
                for _ in 0..2 {
                    let one = answers.take(1, LONG).unwrap();
                    assert_eq!(one.len(), 1);
                    taken.note(&[(one[0].ticket.0, one[0].result.is_ok())]);
                }
            })
        });
        for ticket in 0..4 {
            reply_to(ticket, &answers, &credits);
        }
        for taker in takers {
            taker.join().unwrap();
        }
        let mut taken = taken.all();
        taken.sort_unstable();
        assert_eq!(taken, [(0, true), (1, false), (2, true), (3, false)]);
        assert!(answers.take(1, Duration::ZERO).unwrap().is_empty());
    });
}

#[test]
fn an_interrupt_ends_every_wait_and_takes_no_answer_away() {
    explore(3_000, || {
        let (answers, credits) = (Answers::new(), Credits::new(2, BYTES));
        let takers = [(); 2].map(|()| {
            let answers = Arc::clone(&answers);
            // Ends although fewer answers come than there are waits.
            thread::spawn(move || answers.take(1, LONG).unwrap().len())
        });
        let reply = reply_to(0, &answers, &credits);
        let interrupting = {
            let answers = Arc::clone(&answers);
            thread::spawn(move || {
                answers.interrupt();
                answers.interrupt();
            })
        };
        let taken: usize = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        reply.join().unwrap();
        interrupting.join().unwrap();
        let left = answers.take(2, Duration::ZERO).unwrap().len();
        assert_eq!(taken + left, 1);
    });
}

#[test]
fn closing_the_answers_wakes_whoever_waits() {
    explore(3_000, || {
        let (answers, credits) = (Answers::new(), Credits::new(1, BYTES));
        let takers = [(); 3].map(|()| {
            let answers = Arc::clone(&answers);
            thread::spawn(move || {
                let mut taken = 0;
                loop {
                    match answers.take(2, LONG) {
                        Ok(some) => taken += some.len(),
                        Err(error) => {
                            assert_eq!(error.kind, ErrorKind::Closed);
                            return taken;
                        }
                    }
                }
            })
        });
        let reply = reply_to(0, &answers, &credits);
        answers.close();
        let taken: usize = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        reply.join().unwrap();
        // What was answered after everybody had gone is there still.
        let left = answers.take(2, LONG).map_or(0, |left| left.len());
        assert_eq!(taken + left, 1);
        assert_eq!(answers.take(2, LONG).unwrap_err().kind, ErrorKind::Closed);
    });
}

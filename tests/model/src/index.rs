//! The index behind the log: a tail in memory, passes in slices, readers in between.

use crate::search::Model;
use std::collections::BTreeSet;

pub struct Index {
    /// A reader copies the tail before it opens its transaction.
    pub tail_first: bool,
    /// The mark and the tail move when a whole pass is done.
    pub whole_pass: bool,
    /// A deletion takes its entries with it.
    pub deletion_unindexes: bool,
}

type Rows = BTreeSet<u8>;

#[derive(Clone, Hash, Default)]
pub struct State {
    log: Rows,
    committed: u8,
    /// Entries of two accounts that both have every row: (account, row).
    entries: BTreeSet<(u8, u8)>,
    mark: u8,
    tail: Rows,
    /// Accounts whose slice is still to be written, and up to where the pass goes.
    pass: Vec<u8>,
    pass_upto: u8,
    deleted: bool,
    crashed: bool,
    reader: Reader,
}

/// A reader of account 1's rows, in its two looks.
#[derive(Clone, Hash, Default, PartialEq, Eq)]
enum Reader {
    #[default]
    NotYet,
    Tail(Rows, Rows),
    Entries(Rows, Rows),
    /// What it found, and what was there when it began and still is.
    Done(Rows, Rows),
}

impl State {
    fn indexed(&self) -> Rows {
        self.entries.iter().filter(|(account, _)| *account == 1).map(|(_, row)| *row).collect()
    }
}

impl Model for Index {
    type State = State;

    fn start(&self) -> State {
        State::default()
    }

    fn steps(&self, state: &State) -> Vec<(String, State)> {
        let mut steps = Vec::new();
        let mut step = |name: &str, change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            steps.push((name.to_owned(), next));
        };
        if state.committed < 3 {
            step("a row is committed", &|s| {
                s.committed += 1;
                s.log.insert(s.committed);
                s.tail.insert(s.committed);
            });
        }
        if state.pass.is_empty() && !state.tail.is_empty() {
            step("a pass begins", &|s| {
                s.pass = vec![0, 1];
                s.pass_upto = s.tail.last().copied().unwrap_or(0);
            });
        }
        if let Some(&account) = state.pass.first() {
            step(&format!("the slice of account {account} is committed"), &|s| {
                s.pass.remove(0);
                let rows: Vec<u8> =
                    s.tail.iter().copied().filter(|r| *r <= s.pass_upto && s.log.contains(r)).collect();
                s.entries.extend(rows.into_iter().map(|row| (account, row)));
                if s.pass.is_empty() || !self.whole_pass {
                    s.mark = s.mark.max(s.pass_upto);
                }
                if s.pass.is_empty() {
                    s.tail = s.tail.split_off(&(s.pass_upto + 1));
                }
            });
        }
        match &state.reader {
            Reader::NotYet if self.tail_first => {
                step("a reader copies the tail", &|s| s.reader = Reader::Tail(s.tail.clone(), s.log.clone()));
            }
            Reader::NotYet => {
                step("a reader reads the index", &|s| s.reader = Reader::Entries(s.indexed(), s.log.clone()));
            }
            Reader::Tail(tail, there) => step("the reader reads the index", &|s| {
                let found = tail.union(&s.indexed()).copied().collect();
                s.reader = Reader::Done(found, there.intersection(&s.log).copied().collect());
            }),
            Reader::Entries(entries, there) => step("the reader copies the tail", &|s| {
                let found = entries.union(&s.tail).copied().collect();
                s.reader = Reader::Done(found, there.intersection(&s.log).copied().collect());
            }),
            Reader::Done(..) => {}
        }
        if let (Some(&row), false) = (state.log.first(), state.deleted) {
            step(&format!("row {row} is claimed by all, and deleted"), &|s| {
                s.deleted = true;
                s.log.remove(&row);
                s.tail.remove(&row);
                if self.deletion_unindexes {
                    s.entries.retain(|(_, r)| *r != row);
                }
            });
        }
        if !state.crashed {
            step("crash: the tail is rebuilt from the mark", &|s| {
                s.crashed = true;
                s.pass.clear();
                s.tail = s.log.iter().copied().filter(|row| *row > s.mark).collect();
                s.reader = Reader::NotYet;
            });
        }
        steps
    }

    fn broken(&self, state: &State) -> Option<String> {
        if let Reader::Done(found, there) = &state.reader
            && let Some(row) = there.difference(found).next()
        {
            return Some(format!("a reader misses row {row}"));
        }
        for row in &state.log {
            for account in 0..2 {
                if !state.tail.contains(row) && !state.entries.contains(&(account, *row)) {
                    return Some(format!(
                        "row {row} is neither in the tail nor in the index of account {account}"
                    ));
                }
            }
        }
        let left = state.entries.iter().find(|(_, row)| !state.log.contains(row));
        left.filter(|_| state.pass.is_empty())
            .map(|(_, row)| format!("an entry of the deleted row {row} is left"))
    }
}

//! The way of a message: send, decision, queue, commit, installation on both shards, delivery, acknowledgement.
//!
//! Alice, Bob and Carol have a shard each. Alice sends from her phone and also has a tablet; Bob and Carol have a phone
//! each. The disk has three layers: what is queued, what the page cache has, what survives a power cut.

mod inside;
mod outside;
mod scenario;
mod writer;

pub use scenario::*;

use crate::search::Model;

pub const ALICE: usize = 0;
pub const BOB: usize = 1;
pub const CAROL: usize = 2;
/// Devices and whose they are. The first is the one Alice sends from.
pub const ALICES_PHONE: usize = 0;
pub const ALICES_TABLET: usize = 1;
pub const BOBS_PHONE: usize = 2;
pub const CAROLS_PHONE: usize = 3;
const OWNER: [usize; 4] = [ALICE, ALICE, BOB, CAROL];
const DEVICES: usize = 4;

/// What a layer of the disk holds.
#[derive(Clone, Hash, Default, PartialEq, Eq)]
struct Disk {
    rows: Vec<Row>,
    cursors: [u8; DEVICES],
    highest: u8,
    /// Messages whose client id is in the ring, and the attempt that won.
    ring: Vec<(usize, u8)>,
    blocked: bool,
}

#[derive(Clone, Copy, Hash, PartialEq, Eq)]
struct Row {
    /// Which accept made it: a second attempt of the same message would be a second row, with a second id.
    attempt: u8,
    position: u8,
    word: Answer,
}

/// What a client knows of its send.
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
enum Answer {
    NotSent,
    Waits,
    Unknown,
    Stored,
    Delivered,
    Refused,
}

#[derive(Clone, Hash, PartialEq, Eq)]
enum Queued {
    Append { attempt: u8, word: Answer, decided_for: Vec<usize>, position: u8 },
    Block,
}

#[derive(Clone, Hash, PartialEq, Eq)]
enum Done {
    Row { row: Row, decided_for: Vec<usize> },
    Blocked { position: u8 },
}

#[derive(Clone, Copy, Hash, PartialEq, Eq, Default)]
enum Link {
    #[default]
    Away,
    Attaching,
    Live,
}

#[derive(Clone, Hash, Default)]
struct Device {
    link: Link,
    /// What was installed on its shard when it attached.
    mark: u8,
    queue: Vec<(u8, u8)>,
    /// Installed while it attaches.
    behind: Vec<(u8, u8)>,
    in_hand: Option<(u8, u8)>,
    cursor: u8,
    /// Messages it was ever told, with their positions.
    told: Vec<(usize, u8)>,
    /// Messages it was told in this attachment.
    told_now: Vec<usize>,
}

#[derive(Clone, Hash)]
pub struct State {
    answers: Vec<Answer>,
    retries: u8,
    /// The message of each attempt.
    attempts: Vec<usize>,
    mailboxes: [Vec<u8>; 3],
    queue: Vec<Queued>,
    done: [Vec<Done>; 3],
    installed: [u8; 3],
    /// Bob's change is under way; his mailbox waits.
    changing: bool,
    block_answered: Option<bool>,
    blocked: bool,
    /// Messages whose client id Alice's shard knows as accepted.
    known: Vec<usize>,
    in_flight: Vec<usize>,
    devices: [Device; DEVICES],
    cache: Disk,
    disk: Disk,
    /// The page cache is ahead of the disk in a way that syncing does not mend.
    hole: bool,
    /// What the next process would find in the log.
    ghost: Option<Disk>,
    next_position: u8,
    left: [u8; 5],
    /// The first attempt that anybody was shown, of each message.
    shown: Vec<Option<u8>>,
    /// Messages that a crash of a relaxed engine may have taken.
    excused: Vec<usize>,
    broken: Option<String>,
}

const KILLS: usize = 0;
const POWER_CUTS: usize = 1;
const FAILURES: usize = 2;
const DEATHS: usize = 3;
const EVICTIONS: usize = 4;

impl State {
    fn message(&self, attempt: u8) -> usize {
        self.attempts[attempt as usize]
    }
}

impl Pipeline {
    fn has(&self, device: usize) -> bool {
        self.devices.contains(&device)
    }

    /// The device must be told the message: it is its account's, and it did not send it.
    fn owed(&self, message: usize, device: usize) -> bool {
        let (from, to) = self.messages[message];
        self.has(device) && (OWNER[device] == to || OWNER[device] == from && device != ALICES_PHONE)
    }

    /// The message is in the log of the device's account.
    fn concerns(&self, message: usize, device: usize) -> bool {
        let (from, to) = self.messages[message];
        self.has(device) && (OWNER[device] == to || OWNER[device] == from)
    }

    fn known_on_disk(&self, state: &State) -> Vec<usize> {
        let rows = state.cache.rows.iter().map(|row| state.message(row.attempt));
        let ring = state.cache.ring.iter().map(|(message, _)| *message).filter(|_| self.rules.ring);
        let mut known: Vec<usize> = rows.chain(ring).collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    /// Rows of a device's account in `(after, upto]`, as a reader finds them.
    fn backlog(&self, state: &State, device: usize, after: u8, upto: u8) -> Vec<(u8, u8)> {
        let mut rows = state.cache.rows.clone();
        if self.relaxed && self.rules.relaxed_reads_queue {
            rows.extend(state.queue.iter().filter_map(|queued| match queued {
                Queued::Append { attempt, word, position, .. } => {
                    Some(Row { attempt: *attempt, position: *position, word: *word })
                }
                Queued::Block => None,
            }));
        }
        rows.into_iter()
            .filter(|row| row.position > after && row.position <= upto)
            .filter(|row| self.concerns(state.message(row.attempt), device))
            .filter(|_| device != ALICES_PHONE || self.rules.own_rows_pass)
            .map(|row| (row.attempt, row.position))
            .collect()
    }

    /// Something about this attempt leaves the engine: it must be the only attempt ever shown, and on disk.
    fn show(&self, state: &mut State, attempt: u8, what: &str) {
        let message = state.message(attempt);
        match state.shown[message] {
            None => state.shown[message] = Some(attempt),
            Some(first) if first == attempt => {}
            Some(_) if self.relaxed && state.excused.contains(&message) => {}
            Some(_) => state.broken = Some(format!("once: {what} shows a second id of message {message}")),
        }
        let on_disk = state.disk.rows.iter().any(|row| row.attempt == attempt);
        let in_ring = state.disk.ring.iter().any(|(m, _)| *m == message);
        if !self.relaxed && !on_disk && !in_ring {
            state.broken = Some(format!("durability: {what} of message {message} is not on disk"));
        }
    }
}

impl Model for Pipeline {
    type State = State;

    fn start(&self) -> State {
        let mut devices: [Device; DEVICES] = Default::default();
        for d in self.live.iter().filter(|d| self.has(**d)) {
            devices[*d].link = Link::Live;
        }
        State {
            answers: vec![Answer::NotSent; self.messages.len()],
            retries: self.retries,
            attempts: Vec::new(),
            mailboxes: Default::default(),
            queue: Vec::new(),
            done: Default::default(),
            installed: [0; 3],
            changing: false,
            block_answered: None,
            blocked: false,
            known: Vec::new(),
            in_flight: Vec::new(),
            devices,
            cache: Disk::default(),
            disk: Disk::default(),
            hole: false,
            ghost: None,
            next_position: 1,
            left: [self.kills, self.power_cuts, self.failures, self.deaths, self.evictions],
            shown: vec![None; self.messages.len()],
            excused: Vec::new(),
            broken: None,
        }
    }

    fn steps(&self, state: &State) -> Vec<(String, State)> {
        if state.broken.is_some() {
            return Vec::new();
        }
        let mut steps = self.by_itself(state);
        steps.extend(self.outside(state));
        steps
    }

    fn broken(&self, state: &State) -> Option<String> {
        if state.broken.is_some() {
            return state.broken.clone();
        }
        let rows = |message: usize| {
            state
                .cache
                .rows
                .iter()
                .filter(move |row| state.message(row.attempt) == message)
                .collect::<Vec<_>>()
        };
        for message in 0..self.messages.len() {
            if rows(message).len() > 1 {
                return Some(format!("once: message {message} has two rows"));
            }
            if state.answers[message] == Answer::Refused && !rows(message).is_empty() {
                return Some(format!("refusal: message {message} was refused and is on disk"));
            }
        }
        if !self.by_itself(state).is_empty() {
            return None;
        }
        // At rest.
        for message in 0..self.messages.len() {
            for d in (0..DEVICES).filter(|d| self.owed(message, *d)) {
                let device = &state.devices[d];
                if device.told.iter().any(|(m, _)| *m == message) {
                    continue;
                }
                let answered = matches!(state.answers[message], Answer::Stored | Answer::Delivered);
                match rows(message).first() {
                    Some(_) if device.link == Link::Live => {
                        return Some(format!("delivery: live device {d} is never told message {message}"));
                    }
                    Some(row) if device.cursor >= row.position => {
                        return Some(format!(
                            "delivery: message {message} lies below device {d}'s cursor, untold"
                        ));
                    }
                    None if answered && !state.excused.contains(&message) => {
                        return Some(format!(
                            "durability: message {message} was answered, is gone, and untold to device {d}"
                        ));
                    }
                    _ => {}
                }
            }
        }
        let seen = |row: &&Row| {
            let message = state.message(row.attempt);
            let done = |d: usize| {
                let told = state.devices[d].told.iter().any(|(m, _)| *m == message);
                state.devices[d].link == Link::Live && (d == ALICES_PHONE || told)
            };
            (0..DEVICES).filter(|d| self.concerns(message, *d)).all(done)
        };
        let kept = state.cache.rows.iter().find(seen).filter(|_| self.history_off)?;
        Some(format!("deletion: message {} was seen by all and stays on disk", state.message(kept.attempt)))
    }
}

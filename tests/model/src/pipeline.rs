//! The way of a message: send, decision, queue, commit, installation on both shards, delivery, acknowledgement.
//!
//! Alice, Bob and Carol have a shard each. Alice sends from her phone and also has a tablet; Bob and Carol have a phone
//! each. The disk has three layers: what is queued, what the page cache has, what survives a power cut.

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

/// In which order a session that attaches looks at its shard and at the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// It notes what is installed, then reads up to there; what is installed above waits behind.
    MarkThenRead,
    RegisterThenReadAll,
    ReadAllThenRegister,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Above a mark that was reserved ahead on disk.
    Reserved,
    AfterTheHighestRow,
    AfterTheHighestCommitted,
}

/// How a commit fails. Bits, so that a scenario can have several.
pub mod failure {
    /// It was rolled back, as it says.
    pub const ROLLED_BACK: u8 = 1;
    /// It is on disk all the same.
    pub const KEPT: u8 = 2;
    /// It is in the page cache, and gone after a power cut.
    pub const IN_CACHE: u8 = 4;
    /// It reads as rolled back, and its frames are found again by the next process.
    pub const GHOST: u8 = 8;
}

/// The rules of the write path, each a switch.
#[derive(Clone, Debug)]
pub struct Rules {
    pub client_ids_in_flight: bool,
    pub ring: bool,
    pub fork_at_install: bool,
    pub writer_tells_both: bool,
    pub attach: Attach,
    pub reattach_after_failure: bool,
    pub open_is_synced: bool,
    pub positions: Positions,
    pub own_rows_pass: bool,
    pub both_sides_clear: bool,
    pub relaxed_reads_queue: bool,
    pub relaxed_stays: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            client_ids_in_flight: true,
            ring: true,
            fork_at_install: true,
            writer_tells_both: true,
            attach: Attach::MarkThenRead,
            reattach_after_failure: true,
            open_is_synced: true,
            positions: Positions::Reserved,
            own_rows_pass: true,
            both_sides_clear: true,
            relaxed_reads_queue: true,
            relaxed_stays: true,
        }
    }
}

/// What happens to them.
#[derive(Clone, Debug)]
pub struct Pipeline {
    pub rules: Rules,
    /// Who sends to whom.
    pub messages: Vec<(usize, usize)>,
    pub devices: Vec<usize>,
    /// Attached from the start.
    pub live: Vec<usize>,
    pub history_off: bool,
    pub relaxed: bool,
    pub offline_storage_off: bool,
    /// Bob may block Alice.
    pub blocks: bool,
    pub kills: u8,
    pub power_cuts: u8,
    pub failures: u8,
    pub failure_kinds: u8,
    pub deaths: u8,
    pub evictions: u8,
    pub retries: u8,
}

impl Default for Pipeline {
    fn default() -> Self {
        Pipeline {
            rules: Rules::default(),
            messages: vec![(ALICE, BOB), (ALICE, BOB)],
            devices: vec![ALICES_TABLET, BOBS_PHONE],
            live: vec![ALICES_TABLET, BOBS_PHONE],
            history_off: false,
            relaxed: false,
            offline_storage_off: false,
            blocks: false,
            kills: 0,
            power_cuts: 0,
            failures: 0,
            failure_kinds: failure::ROLLED_BACK | failure::KEPT | failure::IN_CACHE,
            deaths: 0,
            evictions: 0,
            retries: 1,
        }
    }
}

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

    fn send(&self, state: &mut State, message: usize) {
        if state.known.contains(&message) {
            let row = state.cache.rows.iter().find(|row| state.message(row.attempt) == message).copied();
            let ring = state.cache.ring.iter().find(|(m, _)| *m == message).map(|(_, attempt)| *attempt);
            let answer =
                row.map(|row| (row.attempt, row.word)).or(ring.map(|attempt| (attempt, Answer::Delivered)));
            match answer {
                Some((attempt, word)) => {
                    self.show(state, attempt, "the answer to a repeat");
                    state.answers[message] = word;
                }
                None => state.answers[message] = Answer::Delivered,
            }
            return;
        }
        state.answers[message] = Answer::Waits;
        if state.in_flight.contains(&message) && self.rules.client_ids_in_flight {
            return;
        }
        let attempt = state.attempts.len() as u8;
        state.attempts.push(message);
        state.mailboxes[self.messages[message].1].push(attempt);
        if !state.in_flight.contains(&message) {
            state.in_flight.push(message);
        }
    }

    /// What the first `count` of the queue make of a layer of the disk.
    fn written(&self, state: &mut State, onto: &Disk, count: usize) -> (Disk, Vec<Done>) {
        let (mut disk, mut done) = (onto.clone(), Vec::new());
        let queue = state.queue.clone();
        for queued in queue.into_iter().take(count) {
            let mut place = || {
                let position = state.next_position;
                state.next_position += 1;
                position
            };
            match queued {
                Queued::Append { attempt, word, decided_for, position } => {
                    let message = state.attempts[attempt as usize];
                    let position = if self.relaxed { position } else { place() };
                    let cleared =
                        |d: usize| !self.concerns(message, d) || state.devices[d].cursor >= position;
                    if self.relaxed && self.history_off && (0..DEVICES).all(cleared) {
                        // Never written; only its client id is.
                        if self.rules.ring {
                            disk.ring.push((message, attempt));
                        }
                        continue;
                    }
                    for d in (0..DEVICES).filter(|d| !self.relaxed && self.concerns(message, *d)) {
                        let cursor = state.devices[d].cursor.max(disk.cursors[d]);
                        if cursor >= position {
                            let what =
                                format!("order: message {message} gets a position below device {d}'s cursor");
                            state.broken = Some(what);
                        }
                    }
                    if disk.blocked && self.messages[message] == (ALICE, BOB) {
                        state.broken =
                            Some(format!("refusal: message {message} has a position above the block's"));
                    }
                    let row = Row { attempt, position, word };
                    disk.rows.push(row);
                    disk.highest = disk.highest.max(position);
                    done.push(Done::Row { row, decided_for });
                }
                Queued::Block => {
                    let position = if self.relaxed { disk.highest + 1 } else { place() };
                    disk.blocked = true;
                    disk.highest = disk.highest.max(position);
                    done.push(Done::Blocked { position });
                }
            }
        }
        for d in 0..DEVICES {
            disk.cursors[d] = disk.cursors[d].max(state.devices[d].cursor);
        }
        (disk, done)
    }

    fn tell(&self, state: &mut State, done: Done) {
        match &done {
            Done::Row { row, .. } => {
                let (from, to) = self.messages[state.message(row.attempt)];
                if self.rules.writer_tells_both {
                    state.done[from].push(done.clone());
                }
                state.done[to].push(done);
            }
            Done::Blocked { .. } => state.done[BOB].push(done),
        }
    }

    /// The one path: drop what is resident, open as from nothing. After a crash the sessions are gone as well.
    fn reopen(&self, state: &mut State, crash: bool) {
        for message in 0..self.messages.len() {
            if state.answers[message] == Answer::Waits {
                state.answers[message] = Answer::Unknown;
            }
            let on_disk = state.cache.rows.iter().any(|row| state.message(row.attempt) == message);
            if self.relaxed && state.answers[message] != Answer::NotSent && !on_disk {
                state.excused.push(message);
                state.excused.sort_unstable();
                state.excused.dedup();
            }
        }
        state.mailboxes = Default::default();
        state.done = Default::default();
        state.queue.clear();
        state.changing = false;
        if state.block_answered == Some(false) {
            state.block_answered = None;
        }
        state.blocked = state.cache.blocked;
        if self.rules.open_is_synced {
            state.disk = state.cache.clone();
            state.hole = false;
            state.ghost = None;
        } else if self.failure_kinds == failure::GHOST {
            state.disk = state.cache.clone();
        }
        state.known = self.known_on_disk(state);
        state.in_flight.clear();
        let highest_row = state.cache.rows.iter().map(|row| row.position).max().unwrap_or(0);
        state.next_position = match self.rules.positions {
            // Reserved in tens.
            Positions::Reserved => (state.next_position / 10 + 1) * 10 + 1,
            Positions::AfterTheHighestRow => highest_row + 1,
            Positions::AfterTheHighestCommitted => state.cache.highest + 1,
        };
        state.installed = [highest_row; 3];
        for d in 0..DEVICES {
            let cursor = state.cache.cursors[d];
            let device = &mut state.devices[d];
            let again = device.link != Link::Away && self.rules.reattach_after_failure;
            if crash || device.link == Link::Away || again {
                let link = if crash || device.link == Link::Away { Link::Away } else { Link::Attaching };
                let told = std::mem::take(&mut device.told);
                *device = Device { link, mark: highest_row, cursor, told, ..Device::default() };
            }
        }
    }

    /// Steps that happen by themselves.
    fn by_itself(&self, state: &State) -> Vec<(String, State)> {
        let mut steps = Vec::new();
        for shard in [ALICE, BOB, CAROL] {
            self.decide(state, shard, &mut steps);
        }
        for count in [state.queue.len(), 1].into_iter().take(state.queue.len().min(2)) {
            let mut next = state.clone();
            let (cache, done) = self.written(&mut next, &state.cache, count);
            next.cache = cache;
            next.ghost = None;
            if !state.hole {
                next.disk = next.cache.clone();
            }
            next.queue.drain(..count);
            for done in done {
                // A relaxed engine told it when it was taken.
                if !self.relaxed || matches!(done, Done::Blocked { .. }) {
                    self.tell(&mut next, done);
                }
            }
            steps.push((format!("a commit of {count}"), next));
        }
        for shard in [ALICE, BOB, CAROL] {
            self.install(state, shard, &mut steps);
        }
        for device in 0..DEVICES {
            self.feed(state, device, &mut steps);
        }
        let behind = (0..DEVICES).any(|d| state.devices[d].cursor > state.cache.cursors[d]);
        if behind && state.queue.is_empty() {
            let mut next = state.clone();
            for d in 0..DEVICES {
                next.cache.cursors[d] = next.cache.cursors[d].max(next.devices[d].cursor);
            }
            if !state.hole {
                next.disk = next.cache.clone();
            }
            steps.push(("cursors are flushed".into(), next));
        }
        self.delete(state, &mut steps);
        steps
    }

    fn decide(&self, state: &State, shard: usize, steps: &mut Vec<(String, State)>) {
        if state.mailboxes[shard].is_empty() || shard == BOB && state.changing {
            return;
        }
        let mut next = state.clone();
        let attempt = next.mailboxes[shard].remove(0);
        let message = state.message(attempt);
        let from_alice = self.messages[message].0 == ALICE;
        let live = |d: usize| self.has(d) && state.devices[d].link != Link::Away;
        let nobody = (0..DEVICES).filter(|d| OWNER[*d] == shard).all(|d| !live(d));
        if shard == BOB && state.blocked && from_alice || self.offline_storage_off && nobody {
            if next.answers[message] == Answer::Waits {
                next.answers[message] = Answer::Refused;
            }
            next.in_flight.retain(|m| *m != message);
            return steps.push((format!("message {message} is refused"), next));
        }
        let decided_for: Vec<usize> = (0..DEVICES).filter(|d| state.devices[*d].link == Link::Live).collect();
        let delivered = decided_for.iter().any(|d| OWNER[*d] == shard && self.has(*d));
        let word = if delivered { Answer::Delivered } else { Answer::Stored };
        let mut position = 0;
        if self.relaxed {
            position = next.next_position;
            next.next_position += 1;
            let row = Row { attempt, position, word };
            self.tell(&mut next, Done::Row { row, decided_for: decided_for.clone() });
        }
        next.queue.push(Queued::Append { attempt, word, decided_for, position });
        steps.push((format!("message {message} is decided ({word:?}) and queued"), next));
    }

    fn install(&self, state: &State, shard: usize, steps: &mut Vec<(String, State)>) {
        if state.done[shard].is_empty() {
            return;
        }
        let mut next = state.clone();
        let done = next.done[shard].remove(0);
        let (row, decided_for) = match done {
            Done::Blocked { position } => {
                next.blocked = true;
                next.changing = false;
                next.block_answered = next.block_answered.map(|_| true);
                next.installed[BOB] = next.installed[BOB].max(position);
                return steps.push(("the block is installed and answered".into(), next));
            }
            Done::Row { row, decided_for } => (row, decided_for),
        };
        let message = state.message(row.attempt);
        let (from, to) = self.messages[message];
        next.installed[shard] = next.installed[shard].max(row.position);
        for d in (0..DEVICES).filter(|d| OWNER[*d] == shard && self.concerns(message, *d)) {
            if d == ALICES_PHONE && !self.rules.own_rows_pass {
                continue;
            }
            let forked = self.rules.fork_at_install || decided_for.contains(&d);
            let device = &mut next.devices[d];
            let entry = (row.attempt, row.position);
            match (device.link, self.rules.attach) {
                (Link::Live, _) if forked => device.queue.push(entry),
                (Link::Attaching, Attach::RegisterThenReadAll) => device.behind.push(entry),
                (Link::Attaching, Attach::MarkThenRead) if row.position > device.mark && forked => {
                    device.behind.push(entry);
                }
                _ => {}
            }
        }
        if shard == to && !self.rules.writer_tells_both {
            next.done[from].push(Done::Row { row, decided_for });
        }
        if shard == from {
            if next.answers[message] == Answer::Waits {
                self.show(&mut next, row.attempt, "the answer");
                next.answers[message] = row.word;
            }
            if !next.known.contains(&message) {
                next.known.push(message);
                next.known.sort_unstable();
            }
            next.in_flight.retain(|m| *m != message);
        }
        let name = ["Alice", "Bob", "Carol"][shard];
        steps.push((format!("{name}'s shard installs message {message} at {}", row.position), next));
    }

    fn feed(&self, state: &State, d: usize, steps: &mut Vec<(String, State)>) {
        if !self.has(d) {
            return;
        }
        let device = &state.devices[d];
        if device.link == Link::Attaching {
            let mut next = state.clone();
            let mut queue = match self.rules.attach {
                Attach::MarkThenRead => self.backlog(state, d, device.cursor, device.mark),
                Attach::RegisterThenReadAll => self.backlog(state, d, device.cursor, u8::MAX),
                Attach::ReadAllThenRegister => device.queue.clone(),
            };
            queue.extend(&device.behind);
            next.devices[d] = Device { link: Link::Live, queue, behind: Vec::new(), ..device.clone() };
            steps.push((format!("device {d} has read the log"), next));
        }
        if let (Link::Live, None, Some(&(attempt, position))) =
            (device.link, device.in_hand, device.queue.first())
        {
            let mut next = state.clone();
            next.devices[d].queue.remove(0);
            let message = state.message(attempt);
            if d == ALICES_PHONE && self.messages[message].0 == ALICE {
                next.devices[d].cursor = device.cursor.max(position);
                return steps.push((format!("device {d} passes its own message {message}"), next));
            }
            self.show(&mut next, attempt, "an event");
            let device = &mut next.devices[d];
            if device.told_now.contains(&message) {
                next.broken =
                    Some(format!("delivery: device {d} is told message {message} twice in one attachment"));
            } else {
                device.told_now.push(message);
                if !device.told.iter().any(|(m, _)| *m == message) {
                    if device.told.iter().any(|(_, p)| *p > position) {
                        next.broken =
                            Some(format!("order: device {d} is told message {message} after a later one"));
                    }
                    next.devices[d].told.push((message, position));
                }
            }
            next.devices[d].in_hand = Some((attempt, position));
            steps.push((format!("device {d} is told message {message} at {position}"), next));
        }
        if let Some((_, position)) = device.in_hand {
            let mut next = state.clone();
            next.devices[d].in_hand = None;
            next.devices[d].cursor = device.cursor.max(position);
            steps.push((format!("device {d} acknowledges {position}"), next));
        }
    }

    /// With history off a row goes when everybody is past it.
    fn delete(&self, state: &State, steps: &mut Vec<(String, State)>) {
        if !self.history_off {
            return;
        }
        let goes = |row: &&Row| {
            let message = state.message(row.attempt);
            let to = self.messages[message].1;
            let past = |d: usize| state.devices[d].cursor >= row.position;
            let counts =
                |d: &usize| self.concerns(message, *d) && (self.rules.both_sides_clear || OWNER[*d] == to);
            let somebody = self.rules.both_sides_clear || (0..DEVICES).any(|d| OWNER[d] == to && self.has(d));
            somebody && (0..DEVICES).filter(counts).all(past)
        };
        let Some(row) = state.cache.rows.iter().find(goes).copied() else {
            return;
        };
        let mut next = state.clone();
        let message = state.message(row.attempt);
        next.cache.rows.retain(|r| r.attempt != row.attempt);
        if self.rules.ring {
            next.cache.ring.push((message, row.attempt));
        }
        for d in 0..DEVICES {
            next.cache.cursors[d] = next.cache.cursors[d].max(next.devices[d].cursor);
        }
        if !state.hole {
            next.disk = next.cache.clone();
        }
        steps.push((format!("the row of message {message} is deleted"), next));
    }

    /// What people, processes and disks do.
    fn outside(&self, state: &State) -> Vec<(String, State)> {
        let mut steps = Vec::new();
        for message in 0..self.messages.len() {
            let sender = self.messages[message].0;
            let earlier_sent =
                (0..message).all(|m| state.answers[m] != Answer::NotSent || self.messages[m].0 != sender);
            if state.answers[message] == Answer::NotSent && earlier_sent {
                let mut next = state.clone();
                self.send(&mut next, message);
                steps.push((format!("message {message} is sent"), next));
            }
            let sent = !matches!(state.answers[message], Answer::NotSent | Answer::Refused);
            if state.retries > 0 && sent && state.attempts.len() < 5 {
                let mut next = state.clone();
                next.retries -= 1;
                self.send(&mut next, message);
                steps.push((format!("message {message} is sent again, with the same client id"), next));
            }
        }
        if self.blocks && state.block_answered.is_none() && !state.changing && !state.blocked {
            let mut next = state.clone();
            next.block_answered = Some(false);
            next.changing = true;
            next.queue.push(Queued::Block);
            steps.push(("Bob's block of Alice is decided and queued".into(), next));
        }
        for d in (0..DEVICES).filter(|d| self.has(*d)) {
            if state.devices[d].link == Link::Away {
                let mut next = state.clone();
                let mark = state.installed[OWNER[d]];
                let read_first = self.rules.attach == Attach::ReadAllThenRegister;
                let queue = if read_first {
                    self.backlog(state, d, state.devices[d].cursor, u8::MAX)
                } else {
                    vec![]
                };
                let device = &mut next.devices[d];
                (device.link, device.mark, device.queue) = (Link::Attaching, mark, queue);
                device.told_now.clear();
                steps.push((format!("device {d} attaches"), next));
            } else if state.devices[d].link == Link::Live && state.left[DEATHS] > 0 {
                let mut next = state.clone();
                next.left[DEATHS] -= 1;
                let device = &mut next.devices[d];
                (device.link, device.in_hand) = (Link::Away, None);
                device.queue.clear();
                device.behind.clear();
                steps.push((format!("the session of device {d} dies"), next));
            }
        }
        let may_leave = state.in_flight.is_empty()
            && (!self.relaxed || !self.rules.relaxed_stays || state.queue.is_empty());
        if state.left[EVICTIONS] > 0 && may_leave {
            let mut next = state.clone();
            next.left[EVICTIONS] -= 1;
            next.known = self.known_on_disk(state);
            steps.push(("Alice is evicted and loaded again".into(), next));
        }
        self.fail(state, &mut steps);
        self.crash(state, &mut steps);
        steps
    }

    fn fail(&self, state: &State, steps: &mut Vec<(String, State)>) {
        if state.left[FAILURES] == 0 || state.queue.is_empty() {
            return;
        }
        for (kind, name) in [
            (failure::ROLLED_BACK, "rolled back"),
            (failure::KEPT, "kept"),
            (failure::IN_CACHE, "kept in the page cache only"),
            (failure::GHOST, "reads as rolled back, its frames still in the log"),
        ] {
            if self.failure_kinds & kind == 0 {
                continue;
            }
            let mut next = state.clone();
            next.left[FAILURES] -= 1;
            let (written, _) = self.written(&mut next, &state.cache, state.queue.len());
            match kind {
                failure::ROLLED_BACK => {}
                failure::KEPT => (next.cache, next.disk) = (written.clone(), written),
                failure::IN_CACHE => (next.cache, next.hole) = (written, true),
                _ => next.ghost = Some(written),
            }
            self.reopen(&mut next, false);
            steps.push((format!("a commit fails ({name}); the store is opened again"), next));
        }
    }

    fn crash(&self, state: &State, steps: &mut Vec<(String, State)>) {
        for count in 0..=state.queue.len() {
            if state.left[KILLS] > 0 {
                let mut next = state.clone();
                next.left[KILLS] -= 1;
                let (written, _) = self.written(&mut next, &state.cache, count);
                if count > 0 {
                    next.cache = written;
                } else if let Some(ghost) = next.ghost.take() {
                    next.cache = ghost;
                }
                next.ghost = None;
                self.reopen(&mut next, true);
                steps
                    .push((format!("kill, {count} of the queue written and not synced; opened again"), next));
            }
            if state.left[POWER_CUTS] > 0 {
                let mut next = state.clone();
                next.left[POWER_CUTS] -= 1;
                let (written, _) = self.written(&mut next, &state.disk, count);
                next.cache =
                    if count > 0 && state.disk == state.cache { written } else { state.disk.clone() };
                next.disk = next.cache.clone();
                next.hole = false;
                self.reopen(&mut next, true);
                steps.push((format!("power cut, {count} of the queue on disk; opened again"), next));
            }
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

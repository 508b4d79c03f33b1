//! What the writer makes of its queue, and how a file is opened.

use super::*;

impl Pipeline {
    /// What the first `count` of the queue make of a layer of the disk.
    pub(super) fn written(&self, state: &mut State, onto: &Disk, count: usize) -> (Disk, Vec<Done>) {
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

    pub(super) fn tell(&self, state: &mut State, done: Done) {
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
    pub(super) fn reopen(&self, state: &mut State, crash: bool) {
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
}

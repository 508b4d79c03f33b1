//! What happens by itself: decisions, installation, reading, deletion.

use super::*;

impl Pipeline {
    /// Steps that happen by themselves.
    pub(super) fn by_itself(&self, state: &State) -> Vec<(String, State)> {
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
}

//! The writer: one queue, one transaction for all that is ready, one sync.
//!
//! It alone gives positions, when it takes an item, and it alone tells the shards, in the order of positions. It is
//! also where a failed disk is noticed and where the one way back begins (see [`recovery`](crate::recovery)).

use crate::answers::ReplyTo;
use crate::checkpoint::ToCheckpointer;
use crate::command::Answer;
use crate::error::Error;
use crate::messages::{
    Countdown, DomainChange, Domains, Done, Flight, Job, LastAnswers, RowAddresses, Settling, ToShard,
    ToWrite,
};
use crate::options::Durability;
use crate::recovery::Recovery;
use crate::shared::Shared;
use crate::sync::atomic::Ordering;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::planted::{Bug, panic_if_planted, planted};
use rosterkit_core::row::Row;
use rosterkit_core::time::Tick;
use rosterkit_core::write::Write;
use rosterkit_store::{CommitError, Item, Store, StoreError, Writer as StoreWriter};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How many items one transaction takes at the most.
const MAX_BATCH: usize = 4_096;
/// How long a lazy effect waits for company.
const LAZY_MS: u64 = 1_000;
/// How long a row of a relaxed engine waits to be written.
const RELAXED_MS: u64 = 200;
/// How many bytes of a relaxed engine's rows wait, each counted with what surrounds its content in memory.
const RELAXED_BYTES: usize = 16 << 20;
const AROUND_A_ROW: usize = 256;

pub(crate) struct WriterStep {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) open: Option<Box<dyn StoreWriter>>,
    pub(crate) next: Position,
    pub(crate) domains: Domains,
    inbox: VecDeque<ToWrite>,
    batch: Vec<Taken>,
    items: Vec<Item>,
    lazy: Vec<Write>,
    /// Rows of a relaxed engine that were told and are not written yet.
    unwritten: Vec<Write>,
    unwritten_bytes: usize,
    /// When the queue was looked at.
    now: Tick,
    /// When what waits is to be written.
    due: Option<Tick>,
    flushes: Vec<Arc<Countdown>>,
    outgoing: Vec<Vec<ToShard>>,
}

/// An item that has its position; its writes stand at the same place in `items`.
enum Taken {
    Append {
        addresses: RowAddresses,
        flight: Flight,
    },
    Change {
        account: AddressId,
        position: Position,
    },
    Settle {
        settling: Box<Settling>,
    },
    Domains {
        table: DomainChange,
        reply: ReplyTo,
    },
    Other {
        reply: ReplyTo,
    },
    /// Told already, or nobody to tell.
    Silent,
}

impl WriterStep {
    pub(crate) fn new(shared: Arc<Shared>, store: Arc<dyn Store>) -> Self {
        let outgoing = shared.shards.iter().map(|_| Vec::new()).collect();
        WriterStep {
            shared,
            store,
            recovery: None,
            open: None,
            next: Position::ZERO,
            domains: Domains::default(),
            inbox: VecDeque::new(),
            batch: Vec::new(),
            items: Vec::new(),
            lazy: Vec::new(),
            unwritten: Vec::new(),
            unwritten_bytes: 0,
            now: Tick::default(),
            due: None,
            flushes: Vec::new(),
            outgoing,
        }
    }

    /// Waits for something to do. False when the engine is down.
    pub(crate) fn wait(&mut self) -> bool {
        let timeout = self
            .deadline()
            .map(|due| Duration::from_millis(due.0.saturating_sub(self.shared.clock.now().tick.0)));
        let shared = Arc::clone(&self.shared);
        shared.writer.wait(&mut self.inbox, timeout) != crate::mailbox::Taken::Closed
    }

    /// When it has something to do by itself.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        match &self.recovery {
            Some(recovery) => recovery.deadline(),
            None => self.due,
        }
    }

    /// Takes what is queued and writes it in one transaction; the indexes follow. Says whether there was anything to do.
    pub(crate) fn step(&mut self) -> bool {
        if self.recovery.is_some() {
            if self.shared.closed.load(Ordering::Acquire) {
                self.give_up();
            }
            return self.try_to_recover();
        }
        let shared = Arc::clone(&self.shared);
        shared.writer.take(&mut self.inbox);
        let took = self.take();
        let due = self.due.is_some_and(|due| due <= self.shared.clock.now().tick);
        if !self.batch.is_empty() || !self.flushes.is_empty() || due {
            self.commit();
            return true;
        }
        self.tell();
        took
    }

    /// Gives positions, in the order of the queue.
    fn take(&mut self) -> bool {
        let generation = self.shared.generation();
        self.now = self.shared.clock.now().tick;
        let mut took = false;
        while self.batch.len() < MAX_BATCH {
            let Some(ToWrite { generation: of, job }) = self.inbox.pop_front() else {
                break;
            };
            took = true;
            match job {
                // It was decided on a state that is gone; its caller has been answered by the reset.
                Job::Append { .. }
                | Job::Change { .. }
                | Job::Settle { .. }
                | Job::Lazy { .. }
                | Job::Reopen
                    if of != generation && !planted(Bug::StaleGenerationAccepted) => {}
                // Nobody else knows of its caller.
                Job::Other { reply, .. } if of != generation => reply.answer(Err(Error::outcome_unknown())),
                Job::Append { writes, addresses, flight } => self.take_row(writes, addresses, flight),
                Job::Change { account, mut writes } => {
                    let position = self.place(&mut writes);
                    self.items.push(Item { writes });
                    self.batch.push(Taken::Change { account, position });
                }
                Job::Settle { mut writes, settling } => {
                    self.place(&mut writes);
                    self.items.push(Item { writes });
                    self.batch.push(Taken::Settle { settling });
                }
                Job::Other { mut writes, reply } => {
                    self.place(&mut writes);
                    self.items.push(Item { writes });
                    self.batch.push(Taken::Other { reply });
                }
                Job::Domains { write, table, reply } => {
                    self.items.push(Item { writes: vec![*write] });
                    self.batch.push(Taken::Domains { table, reply });
                }
                Job::Lazy { writes } => {
                    self.lazy.extend(writes);
                    self.be_due_in(LAZY_MS);
                }
                Job::Flush(countdown) => self.flushes.push(countdown),
                Job::Reopen => {
                    self.begin_recovery();
                    return true;
                }
            }
        }
        took
    }

    fn take_row(&mut self, mut writes: Vec<Write>, addresses: RowAddresses, flight: Flight) {
        // What leaves the system must not be more than the file will remember of it.
        let queued = matches!(writes.first(), Some(Write::Append(row)) if row.entry.is_queued());
        // What does more than add a row is no row that could wait in memory.
        let relaxed =
            self.shared.options.durability == Durability::Relaxed || planted(Bug::AnswerBeforeCommit);
        let relaxed = relaxed && !queued && writes.len() == 1;
        // A position that was not reserved on disk must not be shown before its commit, not even here.
        let reserved = self.open.as_ref().is_some_and(|open| self.next < open.reserved());
        self.place(&mut writes);
        // Told is in the order of positions: behind something that waits for its commit everything does. So does what
        // comes when too much waits to be written.
        let at_once = self.batch.is_empty() && self.unwritten_bytes < RELAXED_BYTES;
        if relaxed && reserved && at_once {
            if let Some(Write::Append(row)) = writes.first() {
                self.unwritten_bytes += row.entry.size() + AROUND_A_ROW;
                let done = Done::Row { row: Arc::clone(row), addresses, flight };
                self.tell_both(flight, done);
            }
            self.unwritten.append(&mut writes);
            self.be_due_in(RELAXED_MS);
            if self.unwritten_bytes >= RELAXED_BYTES {
                self.due = Some(Tick::default());
            }
        } else {
            self.items.push(Item { writes });
            self.batch.push(Taken::Append { addresses, flight });
        }
    }

    /// Puts positions into the writes of an item: the first is the item's, each further row gets one of its own.
    fn place(&mut self, writes: &mut [Write]) -> Position {
        let position = self.next;
        let mut rows = 0;
        for write in writes {
            match write {
                Write::Append(_) => {
                    rows += 1;
                    if rows > 1 {
                        self.next = self.next.next();
                    }
                    write.place(self.next);
                }
                // About the row before it.
                Write::Forward(_) | Write::Due { .. } | Write::Release { .. } => write.place(self.next),
                _ => write.place(position),
            }
        }
        self.next = self.next.next();
        position
    }

    fn be_due_in(&mut self, millis: u64) {
        let due = self.now.after(millis);
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    fn commit(&mut self) {
        panic_if_planted(Bug::PanicInWriter);
        self.tell();
        self.drop_what_nobody_needs();
        let waiting: Vec<Write> = self.unwritten.drain(..).chain(self.lazy.drain(..)).collect();
        // First: rows that were told have lower positions than those of the batch, and an account's progress as it was
        // when it was handed over must not undo what a change of the batch says of it.
        if !waiting.is_empty() {
            self.items.insert(0, Item { writes: waiting });
            self.batch.insert(0, Taken::Silent);
        }
        self.due = None;
        self.unwritten_bytes = 0;
        while !self.items.is_empty() {
            let Some(open) = &mut self.open else { break };
            match open.commit(&self.items) {
                Ok(()) => {
                    self.committed();
                    break;
                }
                // Several accounts' effects: those that touch nothing broken are written.
                Err(CommitError::Item { item, source })
                    if source.is_damage() && self.items[item].writes.len() > 1 && self.is_silent(item) =>
                {
                    let writes = self.items.remove(item).writes;
                    self.batch.remove(item);
                    let count = writes.len();
                    self.items
                        .splice(item..item, writes.into_iter().map(|write| Item { writes: vec![write] }));
                    self.batch.splice(item..item, (0..count).map(|_| Taken::Silent));
                }
                Err(CommitError::Item { item, source }) => {
                    match &source {
                        // It names what it contradicts, an account for instance: that is for who asked, not for the log.
                        StoreError::Conflict(_) => tracing::info!("an item contradicts what the file holds"),
                        _ => tracing::warn!(error = %source, "an item cannot be written"),
                    }
                    let Item { writes } = self.items.remove(item);
                    let taken = self.batch.remove(item);
                    if matches!(taken, Taken::Silent) {
                        // It never will be on disk: nobody waits for it.
                        self.tell_saved(&writes);
                    }
                    self.failed(taken, &source.into());
                }
                Err(CommitError::RolledBack(source)) => {
                    tracing::warn!(error = %source, "nothing was written");
                    let damaged = source.is_damage();
                    let error = Error::from(source);
                    let items = std::mem::take(&mut self.items);
                    for (taken, item) in std::mem::take(&mut self.batch).into_iter().zip(items) {
                        match taken {
                            // What is broken stays so.
                            Taken::Silent if damaged => self.tell_saved(&item.writes),
                            Taken::Silent => self.wait_again(item.writes),
                            taken => self.failed(taken, &error),
                        }
                    }
                }
                Err(CommitError::Unknown(source)) => {
                    tracing::error!(error = %source, "the result of a commit is unknown");
                    self.begin_recovery();
                    return;
                }
            }
        }
        self.flushes.clear();
        self.tell();
        self.index();
    }

    fn is_silent(&self, item: usize) -> bool {
        matches!(self.batch.get(item), Some(Taken::Silent))
    }

    /// What was told, or counts in memory, is to be written still when the disk takes nothing at the moment.
    fn wait_again(&mut self, writes: Vec<Write>) {
        for write in writes {
            if let Write::Append(row) = &write {
                self.unwritten_bytes += row.entry.size() + AROUND_A_ROW;
                self.unwritten.push(write);
            } else {
                self.lazy.push(write);
            }
        }
        self.be_due_in(LAZY_MS);
    }

    /// A row that both sides have cleared before it was written is never written; only its client id is.
    fn drop_what_nobody_needs(&mut self) {
        if self.unwritten.is_empty() {
            return;
        }
        let first = match self.unwritten.first() {
            Some(Write::Append(row)) => row.position,
            _ => return,
        };
        self.lazy.retain(|write| {
            let Write::ClearSide { position, side } = write else {
                return true;
            };
            if *position < first {
                return true;
            }
            let at = self.unwritten.binary_search_by_key(position, |w| match w {
                Write::Append(row) => row.position,
                _ => Position::MAX,
            });
            let Ok(at) = at else { return true };
            if let Write::Append(row) = &mut self.unwritten[at] {
                let row = Arc::make_mut(row);
                row.sides = row.sides.cleared(*side);
            }
            false
        });
        self.unwritten.retain_mut(|write| match write {
            Write::Append(row) if row.sides.is_clear() => match rosterkit_core::write::ClientIdEntry::of(row)
            {
                Some(entry) => {
                    *write = Write::ClientId(row.entry.sender, entry);
                    true
                }
                None => false,
            },
            _ => true,
        });
    }

    /// Everything in the batch is on disk.
    fn committed(&mut self) {
        for (item, taken) in std::mem::take(&mut self.items).into_iter().zip(std::mem::take(&mut self.batch))
        {
            self.shared.file.committed(&item.writes);
            match taken {
                Taken::Append { addresses, flight } => {
                    if let Some(Write::Append(row)) = item.writes.into_iter().next() {
                        tell_both(
                            &self.shared,
                            &mut self.outgoing,
                            flight,
                            Done::Row { row, addresses, flight },
                        );
                    }
                }
                Taken::Change { account, position } => {
                    // Rows that a change brings are installed with it.
                    let rows = item.writes.into_iter().filter_map(|w| match w {
                        Write::Append(row) => Some(row),
                        _ => None,
                    });
                    let done = Done::Change { account, result: Ok((position, rows.collect())) };
                    push(&self.shared, &mut self.outgoing, self.shared.shard_of(account), done);
                }
                Taken::Settle { settling } => {
                    let row = item.writes.into_iter().find_map(|w| match w {
                        Write::Append(row) => Some(row),
                        _ => None,
                    });
                    self.tell_settled(settling, Ok(row));
                }
                Taken::Other { reply } => reply.answer(Ok(Answer::Done)),
                Taken::Domains { table, reply } => self.install_domains(table, reply),
                Taken::Silent => self.tell_saved(&item.writes),
            }
        }
    }

    /// Shards keep accounts in memory until their progress is on disk.
    fn tell_saved(&mut self, writes: &[Write]) {
        let mut saved: Vec<Vec<AddressId>> = self.outgoing.iter().map(|_| Vec::new()).collect();
        for write in writes {
            if let Write::Progress(account, _) = write {
                saved[self.shared.shard_of(*account)].push(*account);
            }
        }
        for (shard, accounts) in saved.into_iter().enumerate().filter(|(_, accounts)| !accounts.is_empty()) {
            push(&self.shared, &mut self.outgoing, shard, Done::Saved(accounts));
        }
    }

    fn failed(&mut self, taken: Taken, error: &Error) {
        match taken {
            Taken::Append { flight, .. } => {
                self.tell_both(flight, Done::RowFailed { flight, error: error.clone() });
            }
            Taken::Change { account, .. } => {
                let done = Done::Change { account, result: Err(error.clone()) };
                push(&self.shared, &mut self.outgoing, self.shared.shard_of(account), done);
            }
            Taken::Settle { settling } => self.tell_settled(settling, Err(error.clone())),
            Taken::Domains { reply, .. } | Taken::Other { reply } => reply.answer(Err(error.clone())),
            Taken::Silent => {}
        }
    }

    fn tell_settled(&mut self, settling: Box<Settling>, result: Result<Option<Arc<Row>>, Error>) {
        let [from, to] =
            [settling.delivery.sender, settling.delivery.recipient].map(|id| self.shared.shard_of(id));
        let done = Done::Settled { settling, result };
        if from != to {
            push(&self.shared, &mut self.outgoing, from, done.clone());
        }
        push(&self.shared, &mut self.outgoing, to, done);
    }

    fn install_domains(&mut self, change: DomainChange, reply: ReplyTo) {
        let mut table = (*self.domains).clone();
        match change {
            DomainChange::Set(domain, overrides) => {
                table.domains.entry(domain.as_str().into()).or_default().overrides = overrides;
            }
            DomainChange::Removed(domain) => drop(table.domains.remove(domain.as_str())),
            DomainChange::Rules(None, rules) => table.rules = rules,
            DomainChange::Rules(Some(domain), rules) => {
                if let Some(hosted) = table.domains.get_mut(domain.as_str()) {
                    hosted.rules = rules;
                }
            }
        }
        self.domains = Arc::new(table);
        *crate::sync::lock(&self.shared.domains) = Arc::clone(&self.domains);
        let installed = LastAnswers::new(self.shared.shards.len(), reply);
        for shard in 0..self.shared.shards.len() {
            let done = Done::Domains { table: Arc::clone(&self.domains), installed: Arc::clone(&installed) };
            push(&self.shared, &mut self.outgoing, shard, done);
        }
    }

    fn tell_both(&mut self, flight: Flight, done: Done) {
        tell_both(&self.shared, &mut self.outgoing, flight, done);
    }

    fn tell(&mut self) {
        for (mailbox, messages) in self.shared.shards.iter().zip(&mut self.outgoing) {
            mailbox.put_all(messages);
        }
    }

    /// Lets the indexes follow what was committed, and the checkpointer look at it.
    fn index(&mut self) {
        // What is not indexed when the engine closes is read again at the next opening; that is quicker than this.
        let mut behind = !self.shared.closed.load(Ordering::Acquire);
        while behind && let Some(open) = &mut self.open {
            behind = match open.index(false) {
                Ok(behind) => behind,
                Err(CommitError::Unknown(source)) => {
                    tracing::error!(error = %source, "the result of an index slice is unknown");
                    return self.begin_recovery();
                }
                Err(error) => {
                    // The tail is in memory still; the next slice tries again, unless the file is damaged.
                    tracing::warn!(%error, "an index slice was not written");
                    false
                }
            };
        }
        if self.shared.checkpointer.is_empty() {
            let _ = self.shared.checkpointer.put(ToCheckpointer::Look);
        }
    }

    /// The engine shuts down while the disk fails: nobody waits for what cannot be written.
    fn give_up(&mut self) {
        let shared = Arc::clone(&self.shared);
        shared.writer.take(&mut self.inbox);
        self.inbox.clear();
    }

    /// Forgets what was under way: its callers are answered by their shards.
    pub(crate) fn drop_batch(&mut self) {
        self.items.clear();
        for taken in std::mem::take(&mut self.batch) {
            if let Taken::Domains { reply, .. } | Taken::Other { reply } = taken {
                reply.answer(Err(Error::outcome_unknown()));
            }
        }
        self.lazy.clear();
        self.unwritten.clear();
        self.unwritten_bytes = 0;
        self.due = None;
        for messages in &mut self.outgoing {
            messages.clear();
        }
        self.flushes.clear();
    }
}

impl Drop for WriterStep {
    fn drop(&mut self) {
        self.shared.writer.abandon();
    }
}

fn push(shared: &Shared, outgoing: &mut [Vec<ToShard>], shard: usize, done: Done) {
    outgoing[shard].push(ToShard::Done(shared.generation(), done));
}

fn tell_both(shared: &Shared, outgoing: &mut [Vec<ToShard>], flight: Flight, done: Done) {
    let (sender, recipient) = (shared.shard_of(flight.sender), shared.shard_of(flight.recipient));
    if sender != recipient && !planted(Bug::ToldByRecipient) {
        push(shared, outgoing, sender, done.clone());
    }
    push(shared, outgoing, recipient, done);
}

//! One world: machines with a disk, an engine and clients each, a link between them, and one clock. A seed decides
//! everything; nothing else does.

use crate::audit::{Audit, Depth};
use crate::disk::{Cut, Disk, Entry, Fault, Image};
use crate::handshake::View;
use crate::history::History;
use crate::host::Host;
use crate::hosting::{check_refused_elsewhere, hosted};
use crate::kept::{Kept, Known};
use crate::ledger::{Ledger, Left};
use crate::link::{Carried, Link};
use crate::people::{ORDINARY, Reader, User, actor, domain, wall};
use crate::report::{Coverage, Report};
use crate::visitor::look_in;
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::store::vfs::{Call, Disk as Vfs, Failure, FileKind, Layer};
use rosterkit::{
    Actor, Answer, Body, Command, Engine, EngineOptions, Error, ErrorKind, MessageId, Rate, Relay, Serves,
    Session, State,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many file calls an engine may make while only time passes: it does what was due, and tries again what fails.
const CALLS_AT_ONCE: u64 = 5_000;
const CALLS_A_SECOND: u64 = 60;

/// How many requests an account may have unanswered: more than those who live here make, fewer than a step can.
pub const MOST_UNANSWERED: usize = 6;
/// Limits that nobody reaches who does not mean to.
pub const SENDS: Rate = Rate { burst: 120, per_minute: 6_000 };
pub const UNCLAIMED_FROM_ONE: usize = 80;
pub const IN_FLIGHT: usize = 300;

/// What something differed in.
pub type Step = Result<(), String>;

/// A session, and what its client knows.
pub struct Client {
    pub reader: Reader,
    pub session: Session,
    pub host: Option<Arc<Host>>,
    /// Its host vanished: it ends by itself at that time.
    pub ends_at: Option<u64>,
    /// What it shows to others.
    pub shows: Option<Shows>,
    pub is_invisible: bool,
    /// What it was handed and has not acknowledged, and when that was.
    pub in_hand: BTreeMap<MessageId, u64>,
    /// What it was told of others: a state, and a note.
    pub saw: BTreeMap<User, (State, Option<String>)>,
    /// What other sessions ask it, and what became of what it asked.
    pub asked: Vec<u64>,
    pub answered: Vec<(u64, Option<Body>)>,
    /// It was told to read it all again.
    pub is_behind: bool,
    /// What it was told of its account's roster since this version.
    pub roster: Known,
}

/// What a session shows.
#[derive(Clone, Debug)]
pub struct Shows {
    pub state: State,
    pub note: Option<String>,
    /// When it is over, and the session is plainly online.
    pub until: Option<u64>,
    /// Which of two was shown later.
    pub order: u32,
}

impl Client {
    pub fn new(reader: Reader, session: Session) -> Self {
        Client {
            reader,
            session,
            host: None,
            ends_at: None,
            shows: None,
            is_invisible: false,
            in_hand: BTreeMap::new(),
            saw: BTreeMap::new(),
            asked: Vec::new(),
            answered: Vec::new(),
            is_behind: false,
            roster: Known::default(),
        }
    }
}

/// A machine between two starts.
pub struct Life {
    pub image: Image,
    pub ledger: Ledger,
    pub entries: Vec<Entry<Left>>,
}

pub struct Machine {
    pub number: usize,
    pub disk: Arc<Disk<Left>>,
    pub engine: Option<Engine>,
    pub relay: Option<Relay>,
    pub ledger: Ledger,
    pub clients: BTreeMap<u32, Client>,
    pub lives: Vec<Life>,
    /// What steps keep until they come again.
    pub kept: Kept,
    directory: tempfile::TempDir,
    image: Image,
    at_start: Ledger,
    pub boots: u64,
    shards: usize,
    sqlite: SqliteOptions,
    /// When a call failed last, and how many have.
    failed: (u64, u64),
}

pub struct World {
    pub seed: u64,
    pub now: u64,
    /// The same, for who is called in the middle of something.
    pub clock: Arc<AtomicU64>,
    pub machines: Vec<Machine>,
    /// There is a second machine, and a link to it.
    pub is_pair: bool,
    pub link: Link,
    pub history: Arc<History>,
    pub covered: Coverage,
    pub report: Report,
    /// Those on two machines between whom something went.
    pub across: BTreeSet<(User, User)>,
    /// Numbers messages, values and clients.
    pub next: u32,
}

/// What a call came to.
pub enum Came {
    Done(Answer),
    /// Surely not done.
    Not(Error),
    /// Nobody says.
    Unknown,
}

/// A disk that is only read back.
struct Quick;

impl Layer for Quick {
    fn call(&self, _file: FileKind, _path: &str, _call: Call<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn syncs(&self) -> bool {
        false
    }
}

/// A folder in memory, where there is one: what is synced is worked out, not kept.
pub fn folder() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

fn options(machine: usize, shards: usize, idle: usize) -> EngineOptions {
    let mut options = EngineOptions::hosting(hosted(machine));
    options.shards = shards;
    options.idle_accounts = idle;
    options.limits.sends = SENDS;
    options.limits.requests = Rate { burst: 1_000_000, per_minute: 1_000_000 };
    options.limits.unanswered_requests = MOST_UNANSWERED;
    options.limits.unclaimed_from_one.count = UNCLAIMED_FROM_ONE;
    options.max_in_flight = IN_FLIGHT;
    options
}

fn serves_the_other(machine: usize) -> Serves {
    Serves::Domains(vec![domain(1 - machine)])
}

/// Opens what a cut left, on a good disk, and looks at it.
pub fn look_after(
    image: &Image,
    ledger: &Ledger,
    machine: usize,
    depth: Depth,
    covered: &Coverage,
) -> Result<(), String> {
    let failed = |error: String| format!("opening what was left: {error}");
    let directory = folder().map_err(|e| failed(e.to_string()))?;
    image.write(directory.path()).map_err(|e| failed(e.to_string()))?;
    if matches!(depth, Depth::Some(seed) if seed % 8 == 1) {
        look_in(directory.path());
        covered.add("engine.other-sqlite");
    }
    let sqlite = SqliteOptions {
        disk: Vfs::through(Arc::new(Quick)),
        tail_rows: 64,
        cache_kib: 512,
        ..SqliteOptions::small()
    };
    let path = directory.path().join("im.db");
    if matches!(depth, Depth::Some(seed) if seed % 16 == 0) && !ledger.accounts.is_empty() {
        ledger.invitations.check_secret(directory.path(), covered)?;
        check_refused_elsewhere(&path, &sqlite)?;
        covered.add("domain.refused");
    }
    let store = SqliteStore::new(path, sqlite);
    let now = ledger.until;
    let engine = Engine::open_virtual(store, options(machine, 1, 4), 1, wall(now))
        .map_err(|e| failed(e.to_string()))?;
    let _relay = engine.open_relay(serves_the_other(machine)).map_err(|e| failed(e.to_string()))?;
    // What was under way between two accounts arrives.
    engine.advance(1_500).map_err(|e| failed(e.to_string()))?;
    Audit { engine: &engine, machine, ledger, until: now + 1_500, depth, covered }.run()?;
    engine.shutdown(true).map_err(|e| failed(e.to_string()))
}

impl Machine {
    /// The engine ends, and nobody is there any more.
    fn sessions_end(&mut self) {
        self.clients.values().for_each(|client| client.host.iter().for_each(|host| host.vanish()));
        let shows = |client: &&Client| client.shows.is_some() && !client.is_invisible;
        self.kept
            .engine_ended(self.clients.values().filter(shows).map(|client| client.reader.user).collect());
        self.clients.clear();
    }

    /// What happened since the start is a life, to be looked at later. Gives what is on the disk.
    pub fn end_life(&mut self) -> Image {
        let entries = self.disk.take();
        let before = std::mem::take(&mut self.image);
        let mut image = before.clone();
        entries.iter().for_each(|entry| image.apply(entry));
        let at_start = std::mem::replace(&mut self.at_start, self.ledger.clone());
        self.lives.push(Life { image: before, ledger: at_start, entries });
        image
    }
}

impl World {
    pub fn new(seed: u64, history: &Arc<History>) -> Result<World, String> {
        Vfs::seed_randomness(1 + (seed % 1_000_000) as i32);
        let mut random = fastrand::Rng::with_seed(seed);
        // Two machines in every third world.
        let is_pair = random.u8(0..3) == 0;
        let mut world = World {
            seed,
            now: 0,
            clock: Arc::default(),
            machines: Vec::new(),
            is_pair,
            link: Link::default(),
            history: Arc::clone(history),
            covered: Coverage::default(),
            report: Report { seeds: 1, ..Report::default() },
            across: BTreeSet::new(),
            next: 1,
        };
        for number in 0..=usize::from(is_pair) {
            let disk = Disk::new(history);
            let sqlite = SqliteOptions {
                disk: Vfs::through(disk.clone()),
                tail_rows: random.usize(4..48),
                checkpoint_pages: random.u64(8..80),
                cache_kib: 256,
                ..SqliteOptions::small()
            };
            world.machines.push(Machine {
                number,
                disk,
                engine: None,
                relay: None,
                ledger: Ledger::default(),
                clients: BTreeMap::new(),
                lives: Vec::new(),
                kept: Kept::default(),
                directory: folder().map_err(|e| e.to_string())?,
                image: Image::default(),
                at_start: Ledger::default(),
                boots: 0,
                shards: *random.choice(&[1, 1, 2, 3]).unwrap_or(&1),
                sqlite,
                failed: (0, 0),
            });
            world.boot(number)?;
        }
        Ok(world)
    }

    pub fn engine(&self, machine: usize) -> Result<&Engine, String> {
        self.machines[machine].engine.as_ref().ok_or_else(|| format!("machine {machine} is down"))
    }

    /// Writes down what left a machine, or what its clients do.
    pub fn note(&mut self, machine: usize, left: Left) {
        if let Left::Tries(_) | Left::TriesEdit(..) | Left::TriesAmend(..) = left {
            self.history.say(format_args!("{left:?}"));
        }
        let machine = &mut self.machines[machine];
        machine.ledger.take(&left);
        machine.disk.left(left);
    }

    pub fn count_fault(&mut self, fault: &str) {
        *self.report.faults.entry(fault.to_owned()).or_default() += 1;
    }

    // ---- calls ------------------------------------------------------------------------------------------------

    /// A call, as a client makes it that knows nothing of disks.
    pub fn call(&mut self, machine: usize, actor: &Actor, command: Command) -> Result<Came, String> {
        let result = self.engine(machine)?.call(actor, command);
        self.history.say(format_args!("{result:?}"));
        self.came(machine, result)
    }

    pub fn came(&mut self, machine: usize, result: rosterkit::Result<Answer>) -> Result<Came, String> {
        if self.machines[machine].disk.is_off() {
            return Ok(Came::Unknown);
        }
        match result {
            Ok(answer) => Ok(Came::Done(answer)),
            Err(error) => match error.kind {
                // It waits for a store that is being opened again.
                ErrorKind::Misuse | ErrorKind::Storage { outcome_unknown: true } => {
                    let now = self.now;
                    self.note(machine, Left::Trouble(now));
                    self.let_recover(machine)?;
                    Ok(Came::Unknown)
                }
                ErrorKind::Storage { outcome_unknown: false } => {
                    let now = self.now;
                    self.note(machine, Left::Trouble(now));
                    Ok(Came::Not(error))
                }
                ErrorKind::Internal => Err(format!("machine {machine} has a defect: {error}")),
                ErrorKind::Closed => {
                    let failure = self.engine(machine)?.failure();
                    Err(format!("machine {machine} is closed: {error}; {failure:?}"))
                }
                _ => Ok(Came::Not(error)),
            },
        }
    }

    /// Lets time pass until the store answers again. What was under way is over then.
    pub fn let_recover(&mut self, machine: usize) -> Step {
        for _ in 0..60 {
            self.advance(1_000)?;
            if self.machines[machine].disk.is_off() {
                return Ok(());
            }
            let user = if machine == 0 { 0 } else { 7 };
            match self.engine(machine)?.call(&actor(user), Command::ReadDevices) {
                Err(error) if matches!(error.kind, ErrorKind::Storage { .. } | ErrorKind::Misuse) => {
                    // A full disk has room again some time.
                    self.machines[machine].disk.make_room();
                }
                _ => {
                    let now = self.now;
                    self.note(machine, Left::Trouble(now));
                    return Ok(());
                }
            }
        }
        Err(format!("machine {machine} does not come back: {:?}", self.machines[machine].disk.failed()))
    }

    /// Time passes, everywhere alike.
    pub fn advance(&mut self, millis: u64) -> Step {
        self.now += millis;
        let now = self.now;
        self.clock.store(now, Ordering::Relaxed);
        for number in 0..self.machines.len() {
            self.note(number, Left::Passes(now));
            let machine = &mut self.machines[number];
            let before = machine.disk.counts().calls;
            if let Some(engine) = &machine.engine {
                let result = engine.advance(millis);
                let calls = machine.disk.counts().calls - before;
                if calls > CALLS_AT_ONCE + millis / 1_000 * CALLS_A_SECOND {
                    return Err(format!(
                        "machine {number} does not come to rest: {calls} file calls in {millis} ms"
                    ));
                }
                if let (Err(error), false) = (result, machine.disk.is_off()) {
                    return Err(format!("machine {number} cannot go on: {error}"));
                }
            }
            self.notice(number);
            self.note(number, Left::Clock(now));
        }
        self.carry()
    }

    /// The link carries what there is.
    pub fn carry(&mut self) -> Step {
        let [a, b] = self.machines.as_slice() else { return Ok(()) };
        let (Some(left), Some(right)) = (&a.relay, &b.relay) else { return Ok(()) };
        let mut random = fastrand::Rng::with_seed(self.seed ^ (self.now << 20) ^ u64::from(self.next));
        let taken = self.link.carry([left, right], self.now, &mut random, &self.history);
        for taken in taken {
            self.refused(taken.by, &taken.refused)?;
            let is_known = taken.is_known && !self.machines[taken.by].disk.is_off();
            for (id, number) in taken.messages {
                let sender = &self.machines[1 - taken.by].ledger;
                if let Some(number) = number.or_else(|| sender.mail_of(id).map(|mail| mail.sent.number)) {
                    let left = if is_known { Left::TakenIn(number, id) } else { Left::Unclear(number) };
                    self.note(taken.by, left);
                }
            }
        }
        Ok(())
    }

    /// A machine did not take these.
    fn refused(&mut self, machine: usize, refused: &[Carried]) -> Step {
        for (id, number) in refused {
            let sender = &self.machines[1 - machine].ledger;
            let numbered = number.and_then(|number| sender.mails.get(&number));
            let Some(mail) = numbered.or_else(|| sender.mail_of(*id)) else { continue };
            let (sent, ledger) = (Arc::clone(&mail.sent), &self.machines[machine].ledger);
            let admits = ledger.admits(sent.recipient, sent.sender);
            if ORDINARY.contains(&sent.recipient) && admits == Ok(Some(true)) && sent.expires.is_none() {
                return Err(format!("{sent:?} was refused by the other machine"));
            }
            let is_late = sent.expires.is_some_and(|expires| expires <= self.now);
            self.covered.add(if is_late { "expiry.relay" } else { "relay.failed" });
            self.note(machine, Left::Unclear(sent.number));
        }
        Ok(())
    }

    // ---- starting and ending ----------------------------------------------------------------------------------

    /// Starts the machine's engine on what is on its disk.
    pub fn boot(&mut self, number: usize) -> Step {
        for _ in 0..20 {
            let machine = &mut self.machines[number];
            machine.boots += 1;
            let seed = self.seed.wrapping_mul(31).wrapping_add(machine.boots * 2 + number as u64);
            let store = SqliteStore::new(machine.directory.path().join("im.db"), machine.sqlite.clone());
            let idle = [0, 2, 8][machine.boots as usize % 3];
            let mut options = options(number, machine.shards, idle);
            options.presence_order = crate::order::order(self.seed)?;
            let opened = Engine::open_virtual(store, options, seed, wall(self.now));
            match opened {
                Ok(engine) if !machine.disk.is_off() => {
                    if self.is_pair {
                        machine.relay = engine.open_relay(serves_the_other(number)).ok();
                    }
                    machine.engine = Some(engine);
                    self.connect();
                    let now = self.now;
                    self.note(number, Left::Trouble(now));
                    return Ok(());
                }
                opened => {
                    let why = opened.err().map(|e| e.to_string());
                    self.history.say(format_args!("machine {number} does not start: {why:?}"));
                    if self.machines[number].disk.is_off() {
                        self.power_cut(number, Cut::Torn(seed))?;
                    } else {
                        self.machines[number].disk.make_room();
                    }
                    self.now += 100;
                }
            }
        }
        Err(format!("machine {number} does not start: {:?}", self.machines[number].disk.failed()))
    }

    /// Connects the link, when both are up.
    pub fn connect(&mut self) {
        if let [a, b] = self.machines.as_slice()
            && let (Some(left), Some(right)) = (&a.relay, &b.relay)
        {
            self.link.connect([left, right]);
        }
    }

    /// The power goes. What was not synced is as the cut says; the files are there again, and no engine is.
    pub fn power_cut(&mut self, number: usize, cut: Cut) -> Step {
        let failed = |error: std::io::Error| format!("cutting a disk: {error}");
        self.collect()?;
        let seed = self.seed;
        let machine = &mut self.machines[number];
        machine.disk.turn_off();
        machine.sessions_end();
        machine.relay = None;
        machine.engine = None;
        machine.image = machine.end_life().cut(cut);
        machine.directory = folder().map_err(failed)?;
        machine.image.write(machine.directory.path()).map_err(failed)?;
        if fastrand::Rng::with_seed(seed ^ !self.now).u8(0..4) == 0 {
            self.history.say(format_args!("somebody looks into the file of machine {number}"));
            look_in(machine.directory.path());
            machine.image = Image::of(machine.directory.path()).map_err(failed)?;
        }
        let disk = Disk::new(&self.history);
        let counts = machine.disk.counts();
        self.report.calls += counts.calls;
        machine.sqlite.disk = Vfs::through(disk.clone());
        machine.disk = disk;
        machine.failed = (self.now, 0);
        let mut random = fastrand::Rng::with_seed(seed ^ self.now);
        self.link.lose(number, &mut random);
        let now = self.now;
        let machine = &mut self.machines[number];
        machine.ledger.take(&Left::Trouble(now));
        machine.at_start = machine.ledger.clone();
        Ok(())
    }

    /// After a shutdown everything is in the main file, and who looks changes nothing. (The log of a disk that failed in the
    /// middle of that has to wait for the next opening.)
    fn is_at_rest(&mut self, number: usize) -> Step {
        let Machine { disk, directory, .. } = &self.machines[number];
        if disk.failed().is_some() {
            return Ok(());
        }
        let read = || Image::of(directory.path()).map_err(|error| format!("reading the files: {error}"));
        let before = read()?;
        if before.has("im.db-wal") {
            return Err(format!("machine {number} was shut down, and its log is not empty"));
        }
        look_in(directory.path());
        if read()? != before {
            return Err(format!("somebody looked into the file of machine {number}, and it is another"));
        }
        self.covered.add("engine.other-sqlite");
        Ok(())
    }

    /// Shuts an engine down in good order and starts the next one.
    pub fn restart(&mut self, number: usize) -> Step {
        self.collect()?;
        let machine = &mut self.machines[number];
        let was_good = machine.disk.failed().is_none();
        machine.sessions_end();
        machine.relay = None;
        if let Some(engine) = machine.engine.take() {
            let result = engine.shutdown(true);
            if let (Err(error), false) = (result, machine.disk.is_off()) {
                return Err(format!("machine {number} does not shut down: {error}"));
            }
        }
        if self.machines[number].disk.is_off() {
            self.power_cut(number, Cut::Kept)?;
        } else if was_good {
            self.note(number, Left::ShutDown);
            self.is_at_rest(number)?;
        }
        let mut random = fastrand::Rng::with_seed(self.seed ^ self.now);
        self.link.lose(number, &mut random);
        let shards = random.usize(1..4);
        self.machines[number].shards = shards;
        self.boot(number)
    }

    /// A machine whose power went while something was asked of it is started again.
    pub fn revive(&mut self, random: &mut fastrand::Rng) -> Step {
        for number in 0..self.machines.len() {
            if self.machines[number].disk.is_off() {
                let cut = match random.u8(0..3) {
                    0 => Cut::Dropped,
                    1 => Cut::Kept,
                    _ => Cut::Torn(random.u64(..)),
                };
                self.history.say(format_args!("machine {number} is cut: {cut:?}"));
                self.power_cut(number, cut)?;
                self.boot(number)?;
            }
        }
        Ok(())
    }

    /// Something is to go wrong with a disk.
    pub fn plan(&mut self, machine: usize, fault: Fault) {
        let name = match fault {
            Fault::Call { failure: Failure::Io, .. } => "a call fails",
            Fault::Call { failure: Failure::Full, .. } => "no room for a call",
            Fault::Sync { .. } => "a sync fails",
            Fault::PowerOff { .. } => "the power goes during a call",
            Fault::Full => "the disk is full",
        };
        self.count_fault(name);
        self.machines[machine].disk.plan(fault);
    }

    /// Whether everything that follows by itself has followed: no call has failed for some seconds.
    pub fn is_quiet(&mut self, machine: usize) -> bool {
        self.notice(machine);
        let Machine { disk, failed: (at, count), .. } = &self.machines[machine];
        !disk.is_off() && (*count == 0 || self.now > at + 10_000)
    }

    /// Writes it down when calls have failed.
    pub fn notice(&mut self, machine: usize) {
        let (now, failed) = (self.now, self.machines[machine].disk.counts().failed);
        if failed > self.machines[machine].failed.1 {
            self.machines[machine].failed = (now, failed);
            self.note(machine, Left::Trouble(now));
        }
    }

    /// What two believe of each other, looked at.
    pub fn both_views(&self, machine: usize, a: User, b: User) -> Result<(View, View), String> {
        let engine = self.engine(machine)?;
        // What follows from an answer may come behind it.
        engine.advance(0).map_err(|error| error.to_string())?;
        let of = |user, peer| crate::ledger::roster_view(engine, user, peer);
        Ok((of(a, b)?, of(b, a)?))
    }

    /// Looks at a running engine.
    pub fn audit(&self, machine: usize, depth: Depth) -> Audit<'_> {
        let Machine { engine, ledger, .. } = &self.machines[machine];
        // Whoever asks has seen that it is up.
        let engine = engine.as_ref().expect("an engine that is up");
        Audit { engine, machine, ledger, until: self.now, depth, covered: &self.covered }
    }
}

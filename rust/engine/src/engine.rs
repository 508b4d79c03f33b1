//! The engine, as a host has it.

use crate::answers::{Answers, Call, Credit, Credits, ReplyTo};
use crate::clock::{Clock, SystemClock, VirtualClock};
use crate::command::{
    Actor, Amend, Answer, Answered, Command, ListenerError, Receipt, Send, SessionOptions, Ticket,
};
use crate::dispatch::{Batch, Ready, is_in_callback};
use crate::drive::Steps;
use crate::drive::threads::Threads;
use crate::drive::virtual_time::World;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{HostEvent, HostEvents};
use crate::mailbox::Mailbox;
use crate::messages::{DomainChange, Job, Signal, ToReader, ToShard, ToWrite};
use crate::options::EngineOptions;
use crate::portable::{self, ExportSummary, ImportProgress};
use crate::queue::SessionQueue;
use crate::readers::{ReadConnection, Readers};
use crate::relay::{FileIdentity, Relay, Relays, Serves};
use crate::session::Session;
use crate::shared::Shared;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, lock};
use crate::wakeup::Wakeup;
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::id::{AddressId, SessionId};
use rosterkit_core::preferences::Overrides;
use rosterkit_core::refusal::Refusal;
use rosterkit_core::row::Amendment;
use rosterkit_core::rules::{Owner, RuleSet};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{RulesOf, Write};
use rosterkit_store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit_store::{Item, Store, StoreError};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A running engine on one store. Clones are the same engine; it shuts down when [`shutdown`](Engine::shutdown) is
/// called or the last clone is dropped.
///
/// Every call may be made from any thread, also from inside a listener; only *waiting* for shutdown inside a listener
/// is refused. Calls that change something return when it is on disk.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    driver: Driver,
}

enum Driver {
    Threads(Threads),
    Virtual(Arc<World>),
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens an engine on an SQLite file; the file is made when it is not there.
    pub fn open_file(path: impl AsRef<Path>, options: EngineOptions) -> Result<Engine> {
        Engine::open(SqliteStore::new(path, SqliteOptions::default()), options)
    }

    /// Opens an engine on a store, with threads of its own.
    pub fn open(store: Arc<dyn Store>, options: EngineOptions) -> Result<Engine> {
        Engine::open_on_threads(store, options, Arc::new(SystemClock::new()), fastrand::u64(..))
    }

    pub(crate) fn open_on_threads(
        store: Arc<dyn Store>,
        options: EngineOptions,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Result<Engine> {
        let (shared, steps) = prepare(store, options, clock, seed)?;
        let driver = Driver::Threads(Threads::start(&shared, steps)?);
        Ok(Engine { inner: Arc::new(Inner { shared, driver }) })
    }

    /// Opens an engine that starts no thread: it runs on its caller's, and time moves only by
    /// [`advance`](Engine::advance). The seed fixes everything that is random.
    pub fn open_virtual(
        store: Arc<dyn Store>,
        options: EngineOptions,
        seed: u64,
        wall: Timestamp,
    ) -> Result<Engine> {
        let clock = Arc::new(VirtualClock::starting_at(wall));
        let (shared, steps) = prepare(store, options, Arc::clone(&clock) as Arc<dyn Clock>, seed)?;
        let world = World::new(&shared, steps, clock);
        world.pump()?;
        Ok(Engine { inner: Arc::new(Inner { shared, driver: Driver::Virtual(world) }) })
    }

    // ---- accounts and domains -------------------------------------------------------------------------------

    /// Makes an account in a hosted domain.
    pub fn create_account(&self, address: &Address) -> Result<()> {
        self.handle().call(&account(address)?, None, Command::CreateAccount).map(|_| ())
    }

    /// Deletes an account: its buddies are told, its sessions end. A new account of the same name inherits nothing.
    pub fn delete_account(&self, address: &Address) -> Result<()> {
        self.handle().call(&account(address)?, None, Command::DeleteAccount).map(|_| ())
    }

    /// Hosts a domain, or changes what is set for it.
    pub fn set_domain(&self, domain: Domain, overrides: Overrides) -> Result<()> {
        if self.inner.shared.relays.serving(domain.as_str()).is_some_and(|relay| relay.names(domain.as_str()))
        {
            return Err(
                Refusal::Conflict(format!("a relay serves the domain {domain}: close it first")).into()
            );
        }
        let table = Arc::clone(&crate::sync::lock(&self.inner.shared.domains));
        let hosted = table.domains.get(domain.as_str());
        let unknown = hosted.map(|hosted| hosted.overrides.unknown.clone()).unwrap_or_default();
        let overrides = Overrides { unknown, ..overrides };
        let write = Write::Domain(domain.clone(), overrides.clone());
        self.change_domains(write, DomainChange::Set(domain, overrides))
    }

    /// Hosts a domain no more. It must have no accounts left.
    pub fn remove_domain(&self, domain: Domain) -> Result<()> {
        self.change_domains(Write::DomainRemoved(domain.clone()), DomainChange::Removed(domain))
    }

    /// The hosted domains and what is set for them.
    pub fn domains(&self) -> Vec<(String, Overrides)> {
        let table = Arc::clone(&crate::sync::lock(&self.inner.shared.domains));
        table.domains.iter().map(|(name, hosted)| (name.clone(), hosted.overrides.clone())).collect()
    }

    /// Replaces the rules of the server, or of a domain, by those of this JSON document (`docs/rules.md`). What would loop,
    /// or names an account that is not there, is `InvalidArgument` and says where it stands.
    pub fn set_rules(&self, domain: Option<Domain>, json: &str) -> Result<()> {
        let hosting = Arc::clone(&crate::sync::lock(&self.inner.shared.domains));
        let hosts = |name: &str| hosting.hosts(name);
        if let Some(domain) = domain.as_ref().filter(|domain| !hosts(domain.as_str())) {
            return Err(Refusal::NotFound(format!("the domain {domain} is not hosted")).into());
        }
        let owner = match &domain {
            Some(domain) => Owner::Domain(domain),
            None => Owner::Server(&hosts),
        };
        let rules = RuleSet::from_json(owner, json).map_err(Refusal::from)?;
        let named = crate::shard::named(&rules, hosts);
        let exist: Vec<bool> = self.handle().read_file(|connection| {
            named.iter().map(|address| Ok(connection.store.account(address)?.is_some())).collect()
        })?;
        crate::shard::check_named(&rules, hosts, &exist)?;
        let rules = (!rules.rules().is_empty()).then(|| Arc::new(rules));
        let of = domain.clone().map_or(RulesOf::Server, RulesOf::Domain);
        self.change_domains(Write::Rules(of, rules.clone()), DomainChange::Rules(domain, rules))
    }

    /// The rules of the server, or of a domain, as JSON.
    pub fn rules(&self, domain: Option<&Domain>) -> Result<String> {
        let hosting = Arc::clone(&crate::sync::lock(&self.inner.shared.domains));
        let rules = match domain {
            None => hosting.rules.as_deref(),
            Some(domain) => match hosting.domains.get(domain.as_str()) {
                Some(hosted) => hosted.rules.as_deref(),
                None => return Err(Refusal::NotFound(format!("the domain {domain} is not hosted")).into()),
            },
        };
        Ok(crate::shard::json(rules))
    }

    fn change_domains(&self, write: Write, table: DomainChange) -> Result<()> {
        let shared = &self.inner.shared;
        let (call, reply) = self.handle().prepare_call(0)?;
        let job = Job::Domains { write: Box::new(write), table, reply };
        let _ = shared.writer.put(ToWrite { generation: shared.generation(), job });
        self.handle().wait_for(&call).map(|_| ())
    }

    /// Imports the accounts of an XEP-0227 file, and of files beside it that it includes: rosters with groups and
    /// requests, blocked addresses, SCRAM credentials, messages that wait, with their times. All of it or nothing. What
    /// has no place yet (vCards, private XML, foreign namespaces) is kept as files of the account.
    ///
    /// The domains must be hosted, the accounts must not exist. The whole file is read into memory. `progress` is called
    /// on this thread after each account that was read; when it fails, the import is `Forbidden` and nothing was done.
    pub fn import_xep0227(
        &self,
        path: impl AsRef<Path>,
        mut progress: impl FnMut(ImportProgress) -> std::result::Result<(), ListenerError>,
    ) -> Result<ImportProgress> {
        let hosted = Arc::clone(&crate::sync::lock(&self.inner.shared.domains));
        let plan = portable::read(path.as_ref(), |domain| hosted.hosts(domain), &mut progress)?;
        let found = plan.found;
        let (call, reply) = self.handle().prepare_call(0)?;
        let _ = self.inner.shared.reader.put(ToReader::Import { plan, reply });
        self.handle().wait_for(&call)?;
        for shard in &self.inner.shared.shards {
            let _ = shard.put(ToShard::Signal(Signal::LookForDue));
        }
        Ok(found)
    }

    /// Writes all accounts into a new XEP-0227 file, which has its name when it is whole and synced: rosters and requests,
    /// credentials, who is blocked, files with the vCard, and the messages that wait. History, preferences, rules and devices
    /// have no place there: [`backup_to`](Engine::backup_to) has them. Names lose control characters. Runs on this thread; each
    /// account is as of when it is read, and what was acknowledged within the last second may be among what waits.
    ///
    /// `Conflict` when there is a file of that name.
    pub fn export_xep0227(&self, path: impl AsRef<Path>) -> Result<ExportSummary> {
        let domains = self.domains().into_iter().map(|(domain, _)| Domain::new(&domain));
        let domains = domains.collect::<std::result::Result<Vec<_>, _>>()?;
        self.handle().read_file(|connection| portable::write(connection, &domains, path.as_ref()))
    }

    /// Copies everything that was committed before the call into a new file, from which an engine can be opened. It has that
    /// name when it is whole and synced. Other calls go on meanwhile, on a copy of one moment; the write-ahead log is not cut
    /// until it is done. Runs on this thread.
    ///
    /// `Conflict` when there is a file of that name; `Misuse` when the engine keeps everything in memory. Of what a relaxed
    /// engine has answered, what was not written yet is not in it.
    pub fn backup_to(&self, path: impl AsRef<Path>) -> Result<()> {
        self.handle().read_file(|connection| match connection.store.backup(path.as_ref()) {
            Err(StoreError::Refused(why)) => Err(Error::misuse(why)),
            result => Ok(result?),
        })
    }

    // ---- sessions -------------------------------------------------------------------------------------------

    /// Opens a session of an account.
    pub fn open_session(&self, address: &Address, options: SessionOptions) -> Result<Session> {
        match self.handle().call(&account(address)?, None, Command::OpenSession(options))? {
            Answer::Session(session) => Ok(session),
            _ => Err(Error::internal("opening a session gave something else")),
        }
    }

    /// Sends a message for an account that has no session open.
    pub fn send(&self, sender: &Address, send: Send) -> Result<Receipt> {
        match self.handle().call(&account(sender)?, None, Command::Send(send))? {
            Answer::Receipt(receipt) => Ok(receipt),
            _ => Err(Error::internal("a send was answered with something else")),
        }
    }

    /// Asks anything.
    pub fn call(&self, actor: &Actor, command: Command) -> Result<Answer> {
        self.handle().call(&account(&actor.account)?, actor.session, command)
    }

    /// Hands over commands without waiting for any of them. Takes a prefix of the batch and gives its tickets, whose
    /// answers come by [`next_answers`](Engine::next_answers); an error when not even the first is taken, for instance
    /// `LimitExceeded`.
    pub fn submit(&self, commands: Vec<(Actor, Command)>) -> Result<Vec<Ticket>> {
        let shared = &self.inner.shared;
        let mut tickets = Vec::with_capacity(commands.len());
        for (actor, command) in commands {
            let taken = account(&actor.account).and_then(|a| Ok((a, self.handle().credit(&command)?)));
            let (address, credit) = match taken {
                Ok(taken) => taken,
                Err(error) if tickets.is_empty() => return Err(error),
                Err(_) => break,
            };
            let ticket = Ticket(shared.next_ticket.fetch_add(1, Ordering::Relaxed));
            let reply = ReplyTo::ticket(ticket, Arc::clone(&shared.answers), credit);
            self.handle().put(&address, actor.session, command, reply);
            tickets.push(ticket);
        }
        Ok(tickets)
    }

    /// Takes up to `max` answers, waiting up to `timeout` for the first; empty when none came or it was
    /// [interrupted](Engine::interrupt).
    pub fn next_answers(&self, max: usize, timeout: Duration) -> Result<Vec<Answered>> {
        let answers = &self.inner.shared.answers;
        self.handle().next(timeout, |wait| answers.take(max, wait.unwrap_or_default()))
    }

    /// Takes batches of events from sessions opened with [`Consumer::Engine`](crate::Consumer::Engine), up to
    /// `max_events` and `max_bytes` of content in all, waiting up to `timeout` for the first; empty when none came or it was
    /// [interrupted](Engine::interrupt). An event that alone is larger comes alone.
    pub fn next_batches(&self, max_events: usize, max_bytes: usize, timeout: Duration) -> Result<Vec<Batch>> {
        let shared = &self.inner.shared;
        self.handle().next(timeout, |wait| {
            shared.ready.next_batches(max_events, max_bytes, wait.unwrap_or_default(), &**shared)
        })
    }

    /// Ends every wait in [`next_answers`](Engine::next_answers) and [`next_batches`](Engine::next_batches): it returns at
    /// once, with nothing. Of either, when nobody waits, the next wait does so. It touches nothing that is under way: a
    /// plain call still waits for its answer, and a session's waits are ended by
    /// [`Session::interrupt`].
    pub fn interrupt(&self) {
        self.inner.shared.answers.interrupt();
        self.inner.shared.ready.interrupt();
        self.inner.shared.host.interrupt();
    }

    /// A descriptor for a host that waits for many things at once (Unix). It is readable as long as there are
    /// answers or batches to take, and from the end of the engine on: it tells the level, not the edge. Nobody but the
    /// engine reads, writes or closes it; it is good until the last clone of the engine is dropped.
    pub fn wakeup_fd(&self) -> Result<i32> {
        let shared = &self.inner.shared;
        if let Driver::Virtual(_) = &self.inner.driver {
            return Err(Error::misuse(
                "nothing comes by itself in virtual time: there is nothing to wait for",
            ));
        }
        if shared.closed.load(Ordering::Acquire) {
            return Err(Error::closed());
        }
        let mut there = lock(&shared.wakeup);
        let wakeup = match &*there {
            Some(wakeup) => wakeup,
            None => {
                let wakeup = there.insert(Arc::new(Wakeup::new()?));
                shared.answers.watch(wakeup);
                shared.ready.watch(wakeup);
                wakeup
            }
        };
        Ok(wakeup.descriptor())
    }

    /// Takes up to `max` of what the host itself is asked to do, waiting up to `timeout` for the first; empty when none came
    /// or it was [interrupted](Engine::interrupt). Nothing of it is kept: with more than 8,192 untaken the oldest are lost,
    /// and [`Missed`](crate::HostEvent::Missed) says so.
    pub fn next_host_events(&self, max: usize, timeout: Duration) -> Result<Vec<HostEvent>> {
        let host = &self.inner.shared.host;
        self.handle().next(timeout, |wait| host.take(max, wait.unwrap_or_default()))
    }

    /// Acknowledges a batch by its last event's number.
    pub fn ack(&self, session: SessionId, seq: u64) {
        if let Some(queue) = self.inner.shared.ready.queue(session) {
            queue.ack(seq, &*self.inner.shared);
        }
    }

    /// Opens a relay to these addresses. They become reachable at once; what is sent to them waits for a connection.
    ///
    /// It may speak for them and for nobody else: that is decided here, never by what comes in. `Conflict` when one of the
    /// domains is hosted, or served by another relay.
    pub fn open_relay(&self, serves: Serves) -> Result<Relay> {
        if self.inner.shared.closed.load(Ordering::Acquire) {
            return Err(Error::closed());
        }
        Relay::open(&self.inner.shared, serves)
    }

    // ---- time and the end -----------------------------------------------------------------------------------

    /// Moves a virtual engine's time and does everything that falls due on the way.
    pub fn advance(&self, millis: u64) -> Result<()> {
        match &self.inner.driver {
            Driver::Virtual(world) => world.advance(millis),
            Driver::Threads(_) => Err(Error::misuse("only a virtual engine's time can be moved")),
        }
    }

    /// Shuts the engine down: sessions end, everything is written, the file is let go. Idempotent.
    ///
    /// With `wait` it returns when that is done, and is refused inside a listener; without, it returns at once.
    pub fn shutdown(&self, wait: bool) -> Result<()> {
        if wait && is_in_callback() {
            return Err(Error::misuse("waiting for shutdown inside a listener would wait for itself"));
        }
        match &self.inner.driver {
            Driver::Threads(threads) => threads.shut_down(&self.inner.shared, wait),
            Driver::Virtual(world) => world.shut_down()?,
        }
        Ok(())
    }

    /// What made the engine fail: the text of a panic on one of its own threads, after which it takes no more work.
    pub fn failure(&self) -> Option<String> {
        self.inner.shared.credits.failure().map(str::to_owned)
    }

    fn handle(&self) -> Handle<'_> {
        Handle(&self.inner.shared)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        match &self.driver {
            Driver::Threads(threads) => threads.shut_down(&self.shared, false),
            Driver::Virtual(world) => drop(world.shut_down()),
        }
    }
}

/// How commands get in and answers out; what the engine and its sessions share.
pub(crate) struct Handle<'a>(pub(crate) &'a Arc<Shared>);

impl Handle<'_> {
    pub(crate) fn call(
        &self,
        account: &Address,
        session: Option<SessionId>,
        command: Command,
    ) -> Result<Answer> {
        let (call, reply) = self.prepare_call(size(&command))?;
        self.put(account, session, command, reply);
        self.wait_for(&call)
    }

    pub(crate) fn prepare_call(&self, bytes: usize) -> Result<(Arc<Call>, ReplyTo)> {
        if self.0.closed.load(Ordering::Acquire) {
            return Err(self.0.ended());
        }
        let credit = self.0.credits.take(bytes)?;
        let call = Call::new();
        let reply = ReplyTo::call(Arc::clone(&call), credit);
        Ok((call, reply))
    }

    fn credit(&self, command: &Command) -> Result<Credit> {
        self.credit_for(size(command))
    }

    /// A credit for something that holds so many bytes.
    pub(crate) fn credit_for(&self, bytes: usize) -> Result<Credit> {
        if self.0.closed.load(Ordering::Acquire) {
            return Err(self.0.ended());
        }
        self.0.credits.take(bytes)
    }

    fn put(&self, account: &Address, session: Option<SessionId>, command: Command, reply: ReplyTo) {
        let shard = self.0.shard_of_address(account);
        let command = Box::new(command);
        // A closed mailbox gives the command back, and its reply, dropped, says so.
        let _ =
            self.0.shards[shard].put(ToShard::Command { account: account.clone(), session, command, reply });
    }

    pub(crate) fn wait_for(&self, call: &Call) -> Result<Answer> {
        match self.world() {
            None => call.wait(),
            Some(world) => world.pump_until(|| call.take())?,
        }
    }

    /// Takes something that comes by itself: by waiting, or in virtual time by doing what there is to do. `None` asks
    /// for what is there already.
    pub(crate) fn next<T>(
        &self,
        timeout: Duration,
        take: impl Fn(Option<Duration>) -> Result<T>,
    ) -> Result<T> {
        match self.world() {
            None => take(Some(timeout)),
            Some(world) => {
                world.pump()?;
                take(None)
            }
        }
    }

    /// Reads from the store on this thread, for a session.
    pub(crate) fn read<T>(
        &self,
        session: &SessionQueue,
        read: impl FnOnce(&mut ReadConnection) -> Result<T>,
    ) -> Result<T> {
        self.read_file(|connection| match session.has_ended() {
            true => Err(Error::session_closed()),
            false => read(connection),
        })
    }

    /// Reads from the store on this thread.
    pub(crate) fn read_file<T>(&self, read: impl FnOnce(&mut ReadConnection) -> Result<T>) -> Result<T> {
        if let Some(world) = self.world() {
            world.pump()?;
        }
        if self.0.closed.load(Ordering::Acquire) {
            return Err(self.0.ended());
        }
        self.0.readers.read(read)
    }

    fn world(&self) -> Option<Arc<World>> {
        self.0.world.get().and_then(std::sync::Weak::upgrade)
    }
}

/// The account that an address names.
fn account(address: &Address) -> Result<Address> {
    if address.user().is_none() {
        return Err(Refusal::InvalidArgument("an account's address has the form user@domain".into()).into());
    }
    Ok(address.bare())
}

/// What a command holds, in bytes, as far as it matters.
fn size(command: &Command) -> usize {
    match command {
        Command::Send(send) => send.content.size(),
        Command::WriteFile { bytes, .. } => bytes.len(),
        Command::Amend(Amend { amendment: Amendment::Edit(content), .. }) => content.size(),
        _ => 0,
    }
}

/// Opens the store and builds everything that runs on it.
fn prepare(
    store: Arc<dyn Store>,
    options: EngineOptions,
    clock: Arc<dyn Clock>,
    seed: u64,
) -> Result<(Arc<Shared>, Steps)> {
    if options.shards == 0 || options.shards as u64 > AddressId::SLOTS {
        let what = format!("an engine has 1 to {} shards", AddressId::SLOTS);
        return Err(Refusal::InvalidArgument(what).into());
    }
    let mut opened = store.open()?;
    let stranger = opened.facts.domains.iter().find(|(domain, _)| !options.domains.contains(domain));
    if let Some((domain, _)) = stranger {
        let what = format!("the file holds the domain {domain}, which is not among those to be hosted");
        return Err(Error::new(ErrorKind::Conflict, what));
    }
    let missing: Vec<Domain> = options
        .domains
        .iter()
        .filter(|domain| opened.facts.domains.iter().all(|(d, _)| d != *domain))
        .cloned()
        .collect();
    if !missing.is_empty() {
        let writes =
            missing.iter().map(|domain| Write::Domain(domain.clone(), Overrides::default())).collect();
        opened.writer.commit(&[Item { writes }]).map_err(Error::storage)?;
        opened.facts.domains.extend(missing.into_iter().map(|domain| (domain, Overrides::default())));
    }
    let shared = Arc::new(Shared {
        shards: (0..options.shards).map(|_| Mailbox::new()).collect(),
        writer: Mailbox::new(),
        reader: Mailbox::new(),
        checkpointer: Mailbox::new(),
        answers: Answers::new(),
        wakeup: Mutex::new(None),
        credits: Credits::new(options.max_in_flight, options.max_in_flight_bytes),
        ready: Ready::new(),
        readers: Readers::new(),
        relays: Relays::new(),
        host: HostEvents::default(),
        file: FileIdentity::default(),
        generation: AtomicU64::new(1),
        closed: AtomicBool::new(false),
        next_ticket: AtomicU64::new(1),
        next_session: AtomicU64::new(1),
        domains: Mutex::new(Arc::default()),
        world: OnceLock::new(),
        more_dispatchers: OnceLock::new(),
        clock,
        options,
    });
    // The same seed on the same file must not give the same ids again: the first position differs at each opening.
    let mut steps = Steps::new(&shared, store, seed ^ opened.facts.first_position.0.rotate_left(32));
    steps.writer.come_up(opened)?;
    Ok((shared, steps))
}

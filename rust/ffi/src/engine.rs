//! The engine, as hosts in other languages have it.

use crate::boundary::{Boundary, Owned};
use crate::command::{Answered, SubmittedCommand};
use crate::convert::{account, count, domain, number, session, signed, timeout};
use crate::error::RosterKitError;
use crate::event::EventBatch;
use crate::host::HostEvent;
use crate::import::{ExportSummary, ImportListener, ImportSummary, tell_progress};
use crate::link::PeerLink;
use crate::listener::{HostListener, SessionListener};
use crate::options::{EngineOptions, PreferenceOverrides, SessionOptions};
use crate::relay::Relay;
use crate::session::{Receipt, SendOptions, Session, message};
use rosterkit::store::memory::MemoryStore;
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{Body, Consumer, Serves, Timestamp};
use std::sync::Arc;

type Result<T> = std::result::Result<T, RosterKitError>;

/// A running engine on one file. It shuts down by `shutdown`, or when the last handle is dropped.
///
/// Every call may be made from any thread, also from inside a listener. Calls that change something return when it is on
/// disk. After a panic inside the library every call is `Internal`; in a fork of the process every call is `Closed`.
#[derive(uniffi::Object)]
pub struct Engine {
    engine: Owned<rosterkit::Engine>,
    is_virtual: bool,
}

/// A hosted domain and what is set for it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct HostedDomain {
    /// Its name.
    pub name: String,
    /// What is set for it.
    pub preferences: PreferenceOverrides,
}

impl Engine {
    fn open(is_virtual: bool, open: impl FnOnce() -> Result<rosterkit::Engine>) -> Result<Arc<Self>> {
        let (boundary, engine) = Boundary::open(open)?;
        Ok(Arc::new(Engine { engine: Owned::new(engine, &boundary), is_virtual }))
    }

    fn call<T>(&self, work: impl FnOnce(&rosterkit::Engine) -> Result<T>) -> Result<T> {
        self.engine.call(work)
    }
}

#[uniffi::export]
impl Engine {
    /// Opens an engine on a file; the file is made when it is not there.
    #[uniffi::constructor]
    pub fn open_file(path: String, options: EngineOptions) -> Result<Arc<Self>> {
        Engine::open(false, || Ok(rosterkit::Engine::open_file(path, options.try_into()?)?))
    }

    /// Opens an engine that keeps everything in memory and nothing beyond its end.
    #[uniffi::constructor]
    pub fn open_in_memory(options: EngineOptions) -> Result<Arc<Self>> {
        Engine::open(false, || Ok(rosterkit::Engine::open(MemoryStore::new(), options.try_into()?)?))
    }

    /// Opens an engine for tests: it starts no thread but runs on its caller's, and time moves only by `advance`. The
    /// seed fixes everything that is random. Without a path it keeps everything in memory.
    #[uniffi::constructor]
    pub fn open_virtual(
        path: Option<String>,
        options: EngineOptions,
        seed: i64,
        start_ms: i64,
    ) -> Result<Arc<Self>> {
        Engine::open(true, || {
            let store: Arc<dyn rosterkit::store::Store> = match path {
                Some(path) => SqliteStore::new(path, SqliteOptions::default()),
                None => MemoryStore::new(),
            };
            let seed = u64::from_ne_bytes(seed.to_ne_bytes());
            Ok(rosterkit::Engine::open_virtual(store, options.try_into()?, seed, Timestamp(start_ms))?)
        })
    }

    // ---- accounts and domains -------------------------------------------------------------------------------

    /// Makes an account in a hosted domain.
    pub fn create_account(&self, address: String) -> Result<()> {
        self.call(|engine| Ok(engine.create_account(&account(&address)?)?))
    }

    /// Deletes an account: its buddies are told, its sessions end. A new account of the same name inherits nothing.
    pub fn delete_account(&self, address: String) -> Result<()> {
        self.call(|engine| Ok(engine.delete_account(&account(&address)?)?))
    }

    /// Hosts a domain, or changes what is set for it.
    #[uniffi::method(default(preferences))]
    pub fn set_domain(&self, name: String, preferences: PreferenceOverrides) -> Result<()> {
        self.call(|engine| Ok(engine.set_domain(domain(&name)?, preferences.try_into()?)?))
    }

    /// Hosts a domain no more. It must have no accounts left.
    pub fn remove_domain(&self, name: String) -> Result<()> {
        self.call(|engine| Ok(engine.remove_domain(domain(&name)?)?))
    }

    /// The hosted domains and what is set for them.
    pub fn domains(&self) -> Result<Vec<HostedDomain>> {
        self.call(|engine| {
            let all = engine.domains().into_iter();
            Ok(all.map(|(name, set)| HostedDomain { name, preferences: set.into() }).collect())
        })
    }

    /// Replaces the rules of the server, or of a domain, by those of this JSON document. What would loop, or names an account
    /// that is not there, is `InvalidArgument` and says where it stands.
    #[uniffi::method(default(domain = None))]
    pub fn set_rules(&self, json: String, domain: Option<String>) -> Result<()> {
        self.call(|engine| {
            let domain = domain.map(|name| crate::convert::domain(&name)).transpose()?;
            Ok(engine.set_rules(domain, &json)?)
        })
    }

    /// The rules of the server, or of a domain, as JSON.
    #[uniffi::method(default(domain = None))]
    pub fn rules(&self, domain: Option<String>) -> Result<String> {
        self.call(|engine| {
            let domain = domain.map(|name| crate::convert::domain(&name)).transpose()?;
            Ok(engine.rules(domain.as_ref())?)
        })
    }

    /// Imports the accounts of an XEP-0227 file, all or nothing. The domains must be hosted, the accounts must not exist.
    /// The listener is told on this thread after each account that was read; when it throws, the import is `Forbidden` and
    /// nothing was done.
    pub fn import_xep0227(
        &self,
        path: String,
        listener: Option<Arc<dyn ImportListener>>,
    ) -> Result<ImportSummary> {
        self.call(|engine| {
            let found = engine.import_xep0227(path, |progress| match &listener {
                Some(listener) => tell_progress(&**listener, progress.into()),
                None => Ok(()),
            })?;
            Ok(found.into())
        })
    }

    /// Copies everything that was committed before the call into a new file, from which an engine can be opened. It has that
    /// name when it is whole and synced. Other calls go on meanwhile. `Conflict` when there is a file of that name, `Misuse`
    /// when the engine keeps everything in memory.
    pub fn backup_to(&self, path: String) -> Result<()> {
        self.call(|engine| Ok(engine.backup_to(path)?))
    }

    /// Writes all accounts into a new XEP-0227 file, which has its name when it is whole and synced: rosters and requests,
    /// credentials, who is blocked, files with the vCard, and the messages that wait. `backup_to` has everything else too.
    /// `Conflict` when there is a file of that name.
    pub fn export_xep0227(&self, path: String) -> Result<ExportSummary> {
        self.call(|engine| Ok(engine.export_xep0227(path)?.into()))
    }

    // ---- sessions -------------------------------------------------------------------------------------------

    /// Opens a session of an account. With a listener it is called back; without one its queue is read as the options say.
    #[uniffi::method(default(listener = None, options))]
    pub fn open_session(
        &self,
        address: String,
        options: SessionOptions,
        listener: Option<Arc<dyn SessionListener>>,
    ) -> Result<Arc<Session>> {
        let boundary = self.engine.boundary();
        self.call(|engine| {
            let is_read_otherwise = options.read_through_engine;
            let mut options: rosterkit::SessionOptions = options.try_into()?;
            if let Some(listener) = listener {
                if is_read_otherwise {
                    let what = "a session has a listener or is read through the engine, not both";
                    return Err(RosterKitError::invalid(what));
                }
                options.consumer = Consumer::Listener(Arc::new(HostListener::new(listener, boundary)));
            }
            Ok(Session::new(engine.open_session(&account(&address)?, options)?, boundary))
        })
    }

    /// Sends a text for an account that has no session open.
    #[uniffi::method(default(options))]
    pub fn send(
        &self,
        sender: String,
        recipient: String,
        text: String,
        options: SendOptions,
    ) -> Result<Receipt> {
        self.call(|engine| {
            let send = message(&recipient, Body::Text(text.into()), options)?;
            Ok(engine.send(&account(&sender)?, send)?.into())
        })
    }

    /// Hands over commands without waiting for any of them. Takes a prefix of the batch and gives its tickets, whose
    /// answers come by `next_answers`; an error when not even the first is taken, for instance `LimitExceeded`.
    pub fn submit(&self, commands: Vec<SubmittedCommand>) -> Result<Vec<i64>> {
        self.call(|engine| {
            let mut taken = Vec::with_capacity(commands.len());
            for command in commands {
                match command.try_into() {
                    Ok(command) => taken.push(command),
                    Err(error) if taken.is_empty() => return Err(error),
                    Err(_) => break,
                }
            }
            Ok(engine.submit(taken)?.into_iter().map(|ticket| signed(ticket.0)).collect())
        })
    }

    /// Takes up to `max` answers, waiting for the first; empty when none came or it was interrupted.
    pub fn next_answers(&self, max: i32, timeout_ms: i64) -> Result<Vec<Answered>> {
        self.call(|engine| {
            let answers = engine.next_answers(count("max", max)?, timeout(timeout_ms)?)?;
            Ok(answers.into_iter().map(Answered::from).collect())
        })
    }

    /// Takes up to `max` of what the host itself is asked to do, waiting for the first; empty when none came or it was
    /// interrupted. Nothing of it is kept: with more than 8,192 untaken the oldest are lost, and `Missed` says so.
    pub fn next_host_events(&self, max: i32, timeout_ms: i64) -> Result<Vec<HostEvent>> {
        self.call(|engine| {
            let events = engine.next_host_events(count("max", max)?, timeout(timeout_ms)?)?;
            Ok(events.into_iter().map(HostEvent::from).collect())
        })
    }

    /// Takes batches of sessions that are read through the engine, up to `max_events` and `max_bytes` of content in all,
    /// waiting for the first; empty when none came or it was interrupted. An event that alone is larger comes alone.
    pub fn next_batches(&self, max_events: i32, max_bytes: i64, timeout_ms: i64) -> Result<Vec<EventBatch>> {
        self.call(|engine| {
            let bytes = number("max_bytes", max_bytes)?;
            let batches =
                engine.next_batches(count("max_events", max_events)?, bytes, timeout(timeout_ms)?)?;
            Ok(batches.iter().map(|batch| EventBatch::new(batch.session, &batch.events)).collect())
        })
    }

    /// Ends every wait in `next_answers` and `next_batches`, which then returns nothing. Of either, when nobody waits, the
    /// next wait ends at once. A plain call still waits for its answer; a session's waits are ended by its own `interrupt`.
    pub fn interrupt(&self) -> Result<()> {
        self.engine.call_even_if_failed(|engine| {
            engine.interrupt();
            Ok(())
        })
    }

    /// A descriptor for a host that waits for many things at once, on Unix; elsewhere and in virtual time it is `Misuse`. It
    /// is readable as long as there are answers or batches to take, and from the end of the engine on: it tells the
    /// level, not the edge. Nobody but the engine reads, writes or closes it; it is good until the last handle of the
    /// engine is dropped.
    pub fn wakeup_fd(&self) -> Result<i32> {
        self.call(|engine| Ok(engine.wakeup_fd()?))
    }

    /// Acknowledges a batch by its session and its last event's number.
    pub fn ack(&self, session_id: i64, seq: i64) -> Result<()> {
        self.call(|engine| {
            engine.ack(session(session_id)?, number("an event's number", seq)?);
            Ok(())
        })
    }

    // ---- to other systems -----------------------------------------------------------------------------------

    /// Opens a relay, for a transport of the host's: to the addresses of these domains, or of all that are not hosted and
    /// have no other relay. They become reachable at once, and what is sent to them waits for `connect`. It may speak for them
    /// and for nobody else. `Conflict` when one of them is hosted, or served by another relay.
    #[uniffi::method(default(domains = None))]
    pub fn open_relay(&self, domains: Option<Vec<String>>) -> Result<Arc<Relay>> {
        let boundary = self.engine.boundary();
        self.call(|engine| {
            let serves = match domains {
                Some(names) => Serves::Domains(names.iter().map(|name| domain(name)).collect::<Result<_>>()?),
                None => Serves::Everything,
            };
            Ok(Relay::new(engine.open_relay(serves)?, boundary))
        })
    }

    /// Opens a peer link to another engine, which hosts these domains: the relay that comes with the library. The host
    /// supplies the pipe. The other side may speak for these domains and for nobody else.
    pub fn open_peer_link(&self, domains: Vec<String>) -> Result<Arc<PeerLink>> {
        let boundary = self.engine.boundary();
        self.call(|engine| {
            let domains = domains.iter().map(|name| domain(name)).collect::<Result<_>>()?;
            Ok(PeerLink::new(rosterkit_peer::PeerLink::open(engine, domains)?, boundary))
        })
    }

    // ---- time and the end -----------------------------------------------------------------------------------

    /// Moves a virtual engine's time and does everything that falls due on the way.
    pub fn advance(&self, millis: i64) -> Result<()> {
        self.call(|engine| Ok(engine.advance(number("milliseconds", millis)?)?))
    }

    /// Shuts the engine down: sessions end, everything is written, the file is let go. Idempotent. With `wait` it returns
    /// when that is done, and is refused inside a listener.
    #[uniffi::method(default(wait = true))]
    pub fn shutdown(&self, wait: bool) -> Result<()> {
        self.engine.call_even_if_failed(|engine| Ok(engine.shutdown(wait)?))
    }

    /// What made the engine fail: the text of a panic inside the library, after which it takes no more work.
    pub fn failure(&self) -> Result<Option<String>> {
        self.engine
            .call_even_if_failed(|engine| Ok(self.engine.boundary().failure().or_else(|| engine.failure())))
    }

    /// What the records of its log name it by.
    pub fn engine_id(&self) -> Result<i64> {
        self.engine.call_even_if_failed(|_| Ok(self.engine.boundary().id))
    }

    /// Fails a virtual engine by a panic, so that a host can test what it does then.
    pub fn panic_for_test(&self, details: String) -> Result<()> {
        self.call(|_| match self.is_virtual {
            #[allow(clippy::panic)]
            true => panic!("{details}"),
            false => {
                Err(RosterKitError::Misuse { details: "only a virtual engine fails when asked to".into() })
            }
        })
    }
}

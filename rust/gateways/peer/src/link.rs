//! The link: a relay of the engine's, spoken over the protocol.

use crate::error::Unsendable;
use crate::{FileMark, Hello, Incoming, PeerHello, Protocol, ProtocolError};
use rosterkit::{
    Contents, Domain, Engine, Error, ErrorKind, Notice, Outgoing, Parcel, Position, Relay, Result, Serves,
    Settlement, sent_at,
};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much is asked of the relay at once.
const AT_ONCE: usize = 64;

/// A peer link: the relay that joins this engine with another one.
///
/// It has one connection at a time: [`connect`](Self::connect) begins one, and with its first bytes the other side's begins.
/// Bytes that come are given to [`feed`](Self::feed), bytes to be sent are asked of [`take`](Self::take); one thread may do
/// the one while another waits in the other. When the pipe breaks, [`disconnect`](Self::disconnect): nothing is lost by it,
/// and the next connection goes on. Dropping it closes the relay.
pub struct PeerLink {
    relay: Relay,
    inner: Mutex<Inner>,
    /// Held while bytes come in, and while bytes are asked for: a new connection waits for what an old one is about, as a
    /// number of one means something else in the other.
    feeding: Mutex<()>,
    taking: Mutex<()>,
}

#[derive(Default)]
struct Inner {
    connection: Option<Connection>,
    peer: Option<PeerHello>,
    restored: bool,
    last_error: Option<String>,
}

/// What is known of one connection.
struct Connection {
    protocol: Protocol,
    /// It has ended; only what says so may still leave.
    over: bool,
    /// What the other side's file is known by; said in its Hello.
    peer_generation: Option<u64>,
    /// The delivery ids of the parcels that were sent, by number.
    sent: HashMap<u64, Vec<Arc<str>>>,
    /// Where the other side has the parcels that came in, by number.
    coming: HashMap<u64, Position>,
    /// What has no room in the protocol yet.
    parcels: VecDeque<Parcel>,
    notices: VecDeque<Notice>,
}

/// How a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// A connection was begun and has not ended.
    pub connected: bool,
    /// What the other side said of itself in this connection or the last one: the domains it hosts, which give it no right.
    pub peer_domains: Vec<Domain>,
    /// The other side has seen more of this file than it holds: it was restored from a backup.
    pub restored_from_backup: bool,
    /// Why the last connection ended, when it was not the host that ended it.
    pub last_error: Option<String>,
}

impl std::fmt::Debug for PeerLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerLink").field("relay", &self.relay).finish_non_exhaustive()
    }
}

impl PeerLink {
    /// Opens a link to whoever hosts these domains, without a connection yet. The other side may speak for them and for
    /// nobody else. `Conflict` when one of them is hosted here, or another relay serves it.
    pub fn open(engine: &Engine, domains: Vec<Domain>) -> Result<PeerLink> {
        let relay = engine.open_relay(Serves::Domains(domains))?;
        Ok(PeerLink { relay, inner: Mutex::default(), feeding: Mutex::default(), taking: Mutex::default() })
    }

    /// Begins a connection; one that was there ends.
    pub fn connect(&self) -> Result<()> {
        self.disconnect();
        let _feeding = lock(&self.feeding);
        let _taking = lock(&self.taking);
        let file = FileMark { generation: self.relay.file_generation(), log_end: self.relay.sent().0 };
        let hello = Hello { domains: self.relay.hosted(), file };
        lock(&self.inner).connection = Some(Connection::new(Protocol::new(hello)));
        Ok(())
    }

    /// Ends the connection, if there is one. What was sent and not settled is sent again by the next.
    pub fn disconnect(&self) {
        lock(&self.inner).connection = None;
        self.relay.disconnect();
        self.relay.interrupt();
    }

    /// How it is.
    pub fn state(&self) -> LinkState {
        let inner = lock(&self.inner);
        LinkState {
            connected: inner.connection.as_ref().is_some_and(|connection| !connection.over),
            peer_domains: inner.peer.as_ref().map(|peer| peer.domains.clone()).unwrap_or_default(),
            restored_from_backup: inner.restored,
            last_error: inner.last_error.clone(),
        }
    }

    /// Closes the link for good: its domains are unreachable from here on.
    pub fn close(&self) {
        self.disconnect();
        self.relay.close();
    }

    // ---- bytes ------------------------------------------------------------------------------------------------

    /// Takes bytes from the pipe. `InvalidArgument` when they are none of the protocol's, `Closed` when the other side said
    /// goodbye: the connection has ended, and the host closes its pipe. `Misuse` without a connection.
    pub fn feed(&self, bytes: &[u8]) -> Result<()> {
        let _feeding = lock(&self.feeding);
        let mut incoming = Vec::new();
        let fed = lock(&self.inner).connection()?.protocol.feed(bytes, &mut incoming);
        let mut ended = fed.err().map(broken);
        for incoming in incoming {
            match self.receive(incoming) {
                Ok(()) => {}
                // The connection was ended meanwhile: nobody waits for the rest.
                Err(error) => {
                    ended = Some(error);
                    break;
                }
            }
        }
        // Answers, and what the other side's window has room for.
        self.relay.interrupt();
        let Some(error) = ended else { return Ok(()) };
        {
            let mut inner = lock(&self.inner);
            inner.last_error = Some(error.details.clone());
            if let Some(connection) = &mut inner.connection {
                connection.over = true;
            }
        }
        self.relay.disconnect();
        Err(error)
    }

    /// Gives up to `max` bytes for the pipe, waiting up to `timeout` for the first. Empty when there is nothing, also earlier
    /// when something came that makes nothing to say, and at once without a connection. Who comes second waits for the first.
    pub fn take(&self, max: usize, timeout: Duration) -> Result<Vec<u8>> {
        let _taking = lock(&self.taking);
        let mut woken = false;
        loop {
            {
                let mut inner = lock(&self.inner);
                let Some(connection) = &mut inner.connection else {
                    return Ok(Vec::new());
                };
                if !connection.over {
                    connection.fill(&self.relay);
                }
                let bytes = connection.protocol.take(max);
                if !bytes.is_empty() || woken || connection.over {
                    return Ok(bytes);
                }
            }
            let outgoing = self.relay.next(AT_ONCE, timeout)?;
            // What came in makes something to say of its own.
            woken = outgoing.is_empty();
            self.put(outgoing);
        }
    }

    /// What the relay has, into the connection. Without one it is given out again by the next.
    fn put(&self, outgoing: Vec<Outgoing>) {
        let mut inner = lock(&self.inner);
        let Some(connection) = &mut inner.connection else { return };
        let (peer, mut seen) = (connection.peer_generation, None);
        for out in outgoing {
            match out {
                Outgoing::Parcel(parcel) => connection.parcels.push_back(parcel),
                Outgoing::Notice(notice) => connection.notices.push_back(notice),
                Outgoing::Received { number, result } => {
                    seen = seen.max(connection.coming.remove(&number).filter(|_| result.is_ok()));
                    // On an error nothing of it was taken: it may come again.
                    connection.protocol.settle(number, result.ok());
                }
            }
        }
        if let (Some(generation), Some(seen)) = (peer, seen) {
            self.relay.remember_seen(generation, seen);
        }
    }

    fn receive(&self, incoming: Incoming) -> Result<()> {
        match incoming {
            Incoming::Hello(hello) => {
                let generation = hello.file.generation;
                let seen = self.relay.seen(generation)?;
                let mut inner = lock(&self.inner);
                inner.peer = Some(hello);
                inner.last_error = None;
                let connection = inner.connection()?;
                connection.peer_generation = Some(generation);
                connection.protocol.remember(seen.map(|at| FileMark { generation, log_end: at.0 }));
            }
            Incoming::Seen(seen) => {
                if let Some(FileMark { generation, log_end }) = seen
                    && self.relay.was_restored(generation, Position(log_end))?
                {
                    lock(&self.inner).restored = true;
                }
                // Both know who the other is: from here on things pass.
                self.relay.connect();
            }
            Incoming::Parcel { number, parcel } => self.submit(number, parcel)?,
            Incoming::Settled { number, answer } => {
                let sent = {
                    let mut inner = lock(&self.inner);
                    inner.connection()?.sent.remove(&number)
                };
                let deliveries = sent.unwrap_or_default();
                let answer = answer.unwrap_or_else(|| vec![Settlement::Retry; deliveries.len()]);
                for (delivery, settlement) in deliveries.iter().zip(answer) {
                    self.relay.settle(delivery, settlement)?;
                }
            }
            // One that it may not speak for is nobody's loss.
            Incoming::Notice(notice) => drop(self.relay.notify(notice)),
            Incoming::Goodbye { reason } => {
                let details = format!("the other side ended the connection: {reason}");
                return Err(Error { kind: ErrorKind::Closed, details });
            }
        }
        Ok(())
    }

    fn submit(&self, number: u64, parcel: Parcel) -> Result<()> {
        if let Some(seen) = delivery_ids(&parcel).iter().filter_map(|id| sent_at(id)).max() {
            let mut inner = lock(&self.inner);
            inner.connection()?.coming.insert(number, seen);
        }
        let items = parcel.items();
        let Err(error) = self.relay.submit(number, parcel) else {
            return Ok(());
        };
        let answer = match error.kind {
            ErrorKind::Forbidden | ErrorKind::InvalidArgument => {
                Some(vec![Settlement::Failed { reason: error.details.into() }; items])
            }
            ErrorKind::LimitExceeded { .. } => None,
            _ => return Err(error),
        };
        let mut inner = lock(&self.inner);
        let connection = inner.connection()?;
        connection.coming.remove(&number);
        connection.protocol.settle(number, answer);
        Ok(())
    }
}

impl Inner {
    /// The connection that lasts.
    fn connection(&mut self) -> Result<&mut Connection> {
        self.connection.as_mut().filter(|connection| !connection.over).ok_or_else(no_connection)
    }
}

impl Drop for PeerLink {
    fn drop(&mut self) {
        self.close();
    }
}

impl Connection {
    fn new(protocol: Protocol) -> Self {
        Connection {
            protocol,
            over: false,
            peer_generation: None,
            sent: HashMap::new(),
            coming: HashMap::new(),
            parcels: VecDeque::new(),
            notices: VecDeque::new(),
        }
    }

    /// Gives the protocol what it has room for.
    fn fill(&mut self, relay: &Relay) {
        while self.protocol.may_send()
            && let Some(parcel) = self.parcels.pop_front()
        {
            match self.protocol.send(&parcel) {
                Ok(number) => drop(self.sent.insert(number, delivery_ids(&parcel))),
                Err(Unsendable::NoRoom) => return self.parcels.push_front(parcel),
                // It never will be, by this link.
                Err(error) => {
                    let reason: Arc<str> = error.to_string().into();
                    for delivery in delivery_ids(&parcel) {
                        // The ids are the relay's own.
                        let _ = relay.settle(&delivery, Settlement::Failed { reason: Arc::clone(&reason) });
                    }
                }
            }
        }
        while self.protocol.may_notify()
            && let Some(notice) = self.notices.pop_front()
        {
            // One that cannot be said is as lost as one that nobody hears.
            let _ = self.protocol.notify(&notice);
        }
    }
}

/// What is behind these locks is whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn delivery_ids(parcel: &Parcel) -> Vec<Arc<str>> {
    match &parcel.contents {
        Contents::Messages(messages) => messages.iter().filter_map(|m| m.delivery_id.clone()).collect(),
        Contents::Roster(signal) => signal.delivery_id.iter().cloned().collect(),
    }
}

fn no_connection() -> Error {
    Error { kind: ErrorKind::Misuse, details: "the link has no connection: connect it first".into() }
}

fn broken(error: ProtocolError) -> Error {
    let details = format!("{error}; the connection has ended, open another one");
    Error { kind: ErrorKind::InvalidArgument, details }
}

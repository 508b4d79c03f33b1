//! The engine's log, in the host's hands.
//!
//! Records are filtered where they arise and handed to sinks by one thread, over a bounded queue: the engine never waits
//! for a sink. A record that arises while a sink runs on that thread is left out, so that none makes another for ever.

mod pump;
mod subscriber;

use crate::error::{CallbackError, RosterKitError};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// How much a record matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, uniffi::Enum)]
pub enum LogLevel {
    /// Something is wrong.
    Error,
    /// Something may become wrong.
    Warn,
    /// Something worth knowing.
    Info,
    /// What a developer looks for.
    Debug,
    /// Everything.
    Trace,
}

/// One line of the log. It never has what people wrote.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LogRecord {
    /// How much it matters.
    pub level: LogLevel,
    /// Which part of the library it comes from, as in `rosterkit::writer`.
    pub target: String,
    /// What happened.
    pub text: String,
    /// Which engine, when it is known.
    pub engine_id: Option<i64>,
    /// When, in Unix milliseconds.
    pub time_ms: i64,
}

/// Where a host wants the log.
#[uniffi::export(foreign)]
pub trait LogSink: Send + Sync {
    /// Takes a record, on a thread of the library's own. It may take its time: when too many wait, newer ones are left
    /// out and counted. What it throws is ignored.
    fn on_record(&self, record: LogRecord) -> Result<(), CallbackError>;
}

/// A sink and what it is to get.
#[derive(Clone)]
struct Registered {
    handle: i64,
    sink: Arc<dyn LogSink>,
    level: LogLevel,
    target: String,
}

impl Registered {
    fn takes(&self, level: LogLevel, target: &str) -> bool {
        let below = target.strip_prefix(self.target.as_str());
        let is_below = below.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        level <= self.level && (is_below || self.target.is_empty())
    }
}

struct Sinks {
    next_handle: i64,
    registered: Vec<Registered>,
    pump: Option<pump::Pump>,
}

/// The log of a process. A fork has its parent's memory but not its threads: a lock that one of them held stays locked there,
/// and the thread that hands records over is missing. So it begins anew, and leaves what is the parent's alone.
struct Log {
    /// Whose it is; nobody's yet, 0.
    process: AtomicU32,
    sinks: Mutex<Sinks>,
    /// Held while sinks run, so that whoever removes one can wait for it.
    in_hand: Mutex<()>,
    /// Records that found no place since the last one that did.
    left_out: AtomicU64,
    /// The one of a fork.
    next: OnceLock<Box<Log>>,
}

impl Log {
    const fn new() -> Self {
        Log {
            process: AtomicU32::new(0),
            sinks: Mutex::new(Sinks { next_handle: 1, registered: Vec::new(), pump: None }),
            in_hand: Mutex::new(()),
            left_out: AtomicU64::new(0),
            next: OnceLock::new(),
        }
    }

    /// This process's.
    fn here() -> &'static Self {
        static FIRST: Log = Log::new();
        let process = std::process::id();
        let mut log = &FIRST;
        loop {
            let taken = log.process.compare_exchange(0, process, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_ok() || taken == Err(process) {
                return log;
            }
            log = log.next.get_or_init(|| Box::new(Log::new()));
        }
    }
}

fn sinks() -> MutexGuard<'static, Sinks> {
    lock(&Log::here().sinks)
}

fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens to the library's log from here on. A Rust program that links this crate and has a subscriber of its own keeps
/// it; sinks then get nothing, and adding one says so.
pub(crate) fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| tracing::subscriber::set_global_default(subscriber::ToSinks).is_ok())
}

/// Adds a sink for records of at least this level, of this target and what is below it; an empty target is all of them.
/// Gives the handle to remove it by.
#[uniffi::export]
pub fn add_log_sink(sink: Arc<dyn LogSink>, level: LogLevel, target: String) -> Result<i64, RosterKitError> {
    if !install() {
        let details = "this program has a tracing subscriber of its own, which gets the log";
        return Err(RosterKitError::Conflict { details: details.into() });
    }
    let mut sinks = sinks();
    if sinks.pump.is_none() {
        let started = pump::Pump::start().map_err(|error| RosterKitError::Storage {
            details: format!("the system gives no thread: {error}"),
            outcome_unknown: false,
        })?;
        sinks.pump = Some(started);
    }
    let handle = sinks.next_handle;
    sinks.next_handle += 1;
    sinks.registered.push(Registered { handle, sink, level, target });
    sinks.update_filter();
    Ok(handle)
}

/// Removes a sink. It gets nothing more once this has returned, except when it is called by the sink itself. Says whether
/// it was there.
#[uniffi::export]
pub fn remove_log_sink(handle: i64) -> Result<bool, RosterKitError> {
    let (removed, pump) = {
        let mut sinks = sinks();
        let at = sinks.registered.iter().position(|r| r.handle == handle);
        let removed = at.map(|at| sinks.registered.remove(at));
        sinks.update_filter();
        let is_last = sinks.registered.is_empty();
        (removed, if is_last { sinks.pump.take() } else { None })
    };
    match pump {
        Some(pump) => pump.stop(),
        None if removed.is_some() => pump::wait_for_the_record_in_hand(),
        None => {}
    }
    // Dropped outside of every lock: a host's destructor may log.
    Ok(removed.is_some())
}

impl Sinks {
    fn update_filter(&self) {
        subscriber::set_most_detailed(self.registered.iter().map(|r| r.level).max());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[derive(Default)]
    struct Kept(Mutex<Vec<LogRecord>>);

    impl LogSink for Kept {
        fn on_record(&self, record: LogRecord) -> Result<(), CallbackError> {
            // Would go round for ever.
            tracing::error!(target: "test::loop", "about {}", record.text);
            self.0.lock().unwrap().push(record);
            Ok(())
        }
    }

    impl Kept {
        fn texts(&self, at_least: usize) -> Vec<String> {
            for _ in 0..200 {
                if self.0.lock().unwrap().len() >= at_least {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            self.0.lock().unwrap().iter().map(|r| r.text.clone()).collect()
        }
    }

    // One test: there is one log in a process.
    #[test]
    fn sinks_get_what_they_asked_for_until_they_are_removed() {
        let (all, warnings) = (Arc::new(Kept::default()), Arc::new(Kept::default()));
        let first = add_log_sink(Arc::clone(&all) as _, LogLevel::Info, "test".into()).unwrap();
        let second = add_log_sink(Arc::clone(&warnings) as _, LogLevel::Warn, "test::a".into()).unwrap();
        let span = tracing::error_span!(target: "rosterkit", "engine", id = 7_i64);
        span.in_scope(|| tracing::warn!(target: "test::a", number = 1, "one"));
        tracing::info!(target: "test::a", "two");
        tracing::debug!(target: "test::a", "never");
        tracing::warn!(target: "testing", "never");
        tracing::warn!(target: "test::b", "three");
        assert_eq!(all.texts(3), ["one number=1", "two", "three"]);
        assert_eq!(warnings.texts(1), ["one number=1"]);
        let engines: Vec<_> = all.0.lock().unwrap().iter().map(|r| r.engine_id).collect();
        assert_eq!(engines, [Some(7), None, None]);

        assert_eq!(remove_log_sink(first), Ok(true));
        assert_eq!(remove_log_sink(first), Ok(false));
        tracing::warn!(target: "test::a", "four");
        assert_eq!(warnings.texts(2), ["one number=1", "four"]);
        assert_eq!(remove_log_sink(second), Ok(true));
        tracing::warn!(target: "test::a", "never");
        assert_eq!((all.texts(3).len(), warnings.texts(2).len()), (3, 2));
        assert_eq!((Arc::strong_count(&all), Arc::strong_count(&warnings)), (1, 1));
    }
}

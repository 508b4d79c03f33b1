//! The thread that hands records to sinks.

use super::{Log, LogLevel, LogRecord, Registered, lock, sinks};
use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// How many records may wait.
const WAITING: usize = 1_024;

thread_local! {
    static IS_PUMP: Cell<bool> = const { Cell::new(false) };
}

pub(super) struct Pump {
    records: SyncSender<Option<LogRecord>>,
    thread: JoinHandle<()>,
}

impl Pump {
    pub(super) fn start() -> std::io::Result<Self> {
        let (records, waiting) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("rosterkit-log".into()).spawn(move || run(&waiting))?;
        Ok(Pump { records, thread })
    }

    /// Hands a record over, without waiting.
    pub(super) fn put(&self, record: LogRecord) {
        if let Err(TrySendError::Full(_)) = self.records.try_send(Some(record)) {
            Log::here().left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends the thread, and waits for its end unless that is the caller.
    pub(super) fn stop(self) {
        if is_pump() {
            // The queue ends with its only sender, when this returns.
            return;
        }
        let _ = self.records.send(None);
        let _ = self.thread.join();
    }
}

/// Whether this thread is the one that hands records to sinks.
pub(super) fn is_pump() -> bool {
    IS_PUMP.with(Cell::get)
}

/// Waits until no sink runs that was there before.
pub(super) fn wait_for_the_record_in_hand() {
    if !is_pump() {
        drop(lock(&Log::here().in_hand));
    }
}

fn run(waiting: &Receiver<Option<LogRecord>>) {
    IS_PUMP.with(|is| is.set(true));
    while let Ok(Some(record)) = waiting.recv() {
        let left_out = Log::here().left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            hand_over(&LogRecord {
                level: LogLevel::Warn,
                target: "rosterkit".into(),
                text: format!("{left_out} records were left out: the sinks are too slow"),
                engine_id: None,
                time_ms: record.time_ms,
            });
        }
        hand_over(&record);
    }
}

fn hand_over(record: &LogRecord) {
    let _in_hand = lock(&Log::here().in_hand);
    let takers: Vec<Registered> =
        sinks().registered.iter().filter(|r| r.takes(record.level, &record.target)).cloned().collect();
    for taker in takers {
        // Nobody is left to tell of a sink that fails.
        let _ = taker.sink.on_record(record.clone());
    }
}

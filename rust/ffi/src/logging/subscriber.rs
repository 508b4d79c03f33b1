//! The subscriber: the least that takes what the library logs and knows whose span a thread is in.

use super::{LogLevel, LogRecord, pump, sinks};
use std::cell::RefCell;
use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_core::span::Current;

/// How many levels anybody wants, from `Error` on; none, nobody listens.
static MOST_DETAILED: AtomicU8 = AtomicU8::new(0);
/// Spans that are no engine's.
const NO_ENGINE: u64 = i64::MAX as u64;

/// What every engine's span is made of.
static OF_ENGINES: OnceLock<&'static Metadata<'static>> = OnceLock::new();

thread_local! {
    /// The spans that this thread is in.
    static SPANS: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn set_most_detailed(level: Option<LogLevel>) {
    MOST_DETAILED.store(level.map_or(0, |level| level as u8 + 1), Ordering::Relaxed);
}

fn level_of(level: &Level) -> LogLevel {
    match *level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

/// Hands events to the sinks. A span is known by its number, which is its engine's.
pub(super) struct ToSinks;

impl Subscriber for ToSinks {
    /// Sinks come and go, so the answer is never final.
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == "rosterkit"
            || (level_of(metadata.level()) as u8) < MOST_DETAILED.load(Ordering::Relaxed)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut engine = EngineNumber(NO_ENGINE);
        span.record(&mut engine);
        if engine.0 != NO_ENGINE {
            OF_ENGINES.get_or_init(|| span.metadata());
        }
        Id::from_u64(engine.0)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if pump::is_pump() {
            return;
        }
        let metadata = event.metadata();
        let level = level_of(metadata.level());
        let mut text = Text::default();
        event.record(&mut text);
        let record = LogRecord {
            level,
            target: metadata.target().into(),
            text: format!("{}{}", text.message, text.fields),
            engine_id: engine(),
            time_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64),
        };
        let sinks = sinks();
        if let Some(pump) = &sinks.pump
            && sinks.registered.iter().any(|r| r.takes(level, &record.target))
        {
            pump.put(record);
        }
    }

    /// Threads that an engine starts are in the span of the one that starts them.
    fn current_span(&self) -> Current {
        let engine = engine().and_then(|id| u64::try_from(id).ok());
        match (engine, OF_ENGINES.get()) {
            (Some(id), Some(metadata)) => Current::new(Id::from_u64(id), metadata),
            _ => Current::none(),
        }
    }

    fn enter(&self, span: &Id) {
        SPANS.with_borrow_mut(|spans| spans.push(span.clone()));
    }

    fn exit(&self, span: &Id) {
        SPANS.with_borrow_mut(|spans| {
            if let Some(at) = spans.iter().rposition(|s| s == span) {
                spans.remove(at);
            }
        });
    }
}

/// The engine whose span this thread is in.
fn engine() -> Option<i64> {
    SPANS
        .with_borrow(|spans| spans.iter().rev().map(Id::into_u64).find(|id| *id != NO_ENGINE))
        .and_then(|id| i64::try_from(id).ok())
}

struct EngineNumber(u64);

impl Visit for EngineNumber {
    fn record_i64(&mut self, field: &Field, number: i64) {
        if let (true, Ok(number @ 1..)) = (field.name() == "id", u64::try_from(number)) {
            self.0 = number;
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

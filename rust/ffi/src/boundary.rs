//! The boundary: what every call from a host passes, and what no panic does.

use crate::error::RosterKitError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

type Result<T> = std::result::Result<T, RosterKitError>;

/// What an engine and its sessions share.
pub(crate) struct Boundary {
    /// Distinguishes the engines of a process in its log.
    pub(crate) id: i64,
    /// The process that opened it. A fork of it has the memory, but neither the threads nor the lock on the file.
    process: u32,
    /// What a panic said. After one nobody knows what is still true, so no more work is taken.
    failure: OnceLock<String>,
    span: tracing::Span,
}

impl Boundary {
    /// Opens what is to be behind it. Threads that are started meanwhile are in its span.
    pub(crate) fn open<T>(open: impl FnOnce() -> Result<T>) -> Result<(Arc<Self>, T)> {
        static NEXT: AtomicI64 = AtomicI64::new(1);
        crate::logging::install();
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let boundary = Arc::new(Boundary {
            id,
            process: std::process::id(),
            failure: OnceLock::new(),
            // At the highest level, so that no filter takes it away.
            span: tracing::error_span!(target: "rosterkit", "engine", id),
        });
        let opened = boundary.call(open)?;
        Ok((boundary, opened))
    }

    /// Does what a host asks for, unless an earlier call failed or the process is another.
    pub(crate) fn call<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if let Some(failure) = self.failure.get() {
            let details = format!(
                "the engine has failed and takes no more work, shut it down; it failed by: {failure}"
            );
            return Err(RosterKitError::Internal { details });
        }
        self.call_even_if_failed(work)
    }

    /// The same for what is still allowed after a failure: the end.
    pub(crate) fn call_even_if_failed<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.is_forked() {
            let details = "this process is a fork of the one that opened the engine: open one in a process that is spawned, \
                           or was forked before";
            return Err(RosterKitError::Closed { details: details.into() });
        }
        let _in_span = self.span.enter();
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let text = panic_text(&*panic);
            tracing::error!(target: "rosterkit", "the engine failed");
            // The first one is what is told from here on.
            let _ = self.failure.set(text.clone());
            Err(RosterKitError::internal(format!(
                "the engine failed, which is a defect of the library: {text}"
            )))
        })
    }

    pub(crate) fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".into())
}

/// Something of the engine's that a fork must not drop: dropping it would shut down what the parent still uses.
pub(crate) struct Owned<T> {
    thing: Option<T>,
    boundary: Arc<Boundary>,
}

impl<T> Owned<T> {
    pub(crate) fn new(thing: T, boundary: &Arc<Boundary>) -> Self {
        Owned { thing: Some(thing), boundary: Arc::clone(boundary) }
    }

    pub(crate) fn boundary(&self) -> &Arc<Boundary> {
        &self.boundary
    }

    /// Does what a host asks for with it.
    pub(crate) fn call<R>(&self, work: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        self.boundary.call(|| work(self.get()?))
    }

    /// See [`Boundary::call_even_if_failed`].
    pub(crate) fn call_even_if_failed<R>(&self, work: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        self.boundary.call_even_if_failed(|| work(self.get()?))
    }

    fn get(&self) -> Result<&T> {
        self.thing.as_ref().ok_or_else(|| RosterKitError::internal("used while it is dropped"))
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        let thing = self.thing.take();
        if self.boundary.is_forked() {
            std::mem::forget(thing);
            return;
        }
        let _in_span = self.boundary.span.enter();
        // Nobody is there to be told.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(thing)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Result<Arc<Boundary>> {
        Boundary::open(|| Ok(())).map(|(boundary, ())| boundary)
    }

    #[test]
    fn a_panic_is_an_error_and_the_end() -> Result<()> {
        let boundary = open()?;
        assert_eq!(boundary.call(|| Ok(1)), Ok(1));
        assert_eq!(boundary.failure(), None);
        let failed: Result<()> = boundary.call(|| panic!("number {}", 7));
        assert!(matches!(failed, Err(RosterKitError::Internal { details }) if details.contains("number 7")));
        let refused = boundary.call(|| Ok(1));
        assert!(matches!(refused, Err(RosterKitError::Internal { details }) if details.contains("number 7")));
        assert_eq!(boundary.failure().as_deref(), Some("number 7"));
        assert_eq!(boundary.call_even_if_failed(|| Ok(1)), Ok(1));
        Ok(())
    }

    #[test]
    fn in_another_process_everything_is_closed_and_nothing_is_dropped() -> Result<()> {
        let mine = open()?;
        let theirs = Arc::new(Boundary {
            id: 0,
            process: mine.process + 1,
            failure: OnceLock::new(),
            span: tracing::Span::none(),
        });
        assert!(matches!(theirs.call(|| Ok(1)), Err(RosterKitError::Closed { .. })));
        let witness = Arc::new(());
        drop(Owned::new(Arc::clone(&witness), &mine));
        assert_eq!(Arc::strong_count(&witness), 1);
        drop(Owned::new(Arc::clone(&witness), &theirs));
        assert_eq!(Arc::strong_count(&witness), 2);
        Ok(())
    }
}

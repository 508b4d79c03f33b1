//! How far it has come, for who waits: on a terminal one line that changes, else a line now and then. Where it cannot be said
//! the check goes on.

use rosterkit::store::check::Progress;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line on a terminal changes.
const EVERY: Duration = Duration::from_millis(200);
/// What takes no longer than this says nothing elsewhere.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Shown {
    is_terminal: bool,
    begun: Instant,
    last: Option<Instant>,
    /// The last of ten steps that was told.
    tenth: u64,
}

impl Shown {
    pub(crate) fn new() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Shown { is_terminal, begun: Instant::now(), last: None, tenth: 0 }
    }

    pub(crate) fn show(&mut self, Progress { done, all }: Progress) {
        // Asking for the time costs more than a page.
        if !done.is_multiple_of(64) {
            return;
        }
        let now = Instant::now();
        if self.is_terminal {
            if self.last.is_none_or(|last| now - last >= EVERY) {
                self.last = Some(now);
                let mut output = std::io::stderr();
                let _ = write!(output, "\r{done} of {all} pages").and_then(|()| output.flush());
            }
        } else if now - self.begun >= PATIENCE && done * 10 / all.max(1) > self.tenth {
            self.tenth = done * 10 / all.max(1);
            let _ = writeln!(std::io::stderr(), "{done} of {all} pages");
        }
    }

    pub(crate) fn end(&self) {
        if self.last.is_some() {
            let _ = write!(std::io::stderr(), "\r{:40}\r", "");
        }
    }
}

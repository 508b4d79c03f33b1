//! How waits end early, and how a host waits on a descriptor instead.

use crate::error::{Error, Result};
use crate::sync::{Mutex, lock};

/// How often somebody asked that waits end. It stands beside what is waited for, under the same lock.
///
/// An interrupt ends every wait that has begun, and when there is none, the next one: it is not lost to a host that was
/// just about to wait.
#[derive(Default)]
pub(crate) struct Interrupts {
    raised: u64,
    noticed: u64,
}

impl Interrupts {
    pub(crate) fn raise(&mut self) {
        self.raised += 1;
    }

    /// A wait begins: what to ask [`end`](Self::end) with.
    pub(crate) fn begin(&self) -> u64 {
        self.noticed
    }

    /// Whether the wait that began so is to end.
    pub(crate) fn end(&mut self, begun: u64) -> bool {
        let ends = self.raised != begun;
        if ends {
            self.noticed = self.raised;
        }
        ends
    }
}

/// What a host waits for by the descriptor.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    Answers,
    Batches,
}

/// A descriptor that is readable as long as one of the sources has something: one byte is in it, or none.
pub(crate) struct Wakeup {
    pipe: Pipe,
    /// Which sources have something.
    there: Mutex<[bool; 2]>,
}

impl Wakeup {
    pub(crate) fn new() -> Result<Self> {
        Ok(Wakeup { pipe: Pipe::new()?, there: Mutex::new([false; 2]) })
    }

    /// A source has something, or has nothing any more. It says so under its own lock, so that what is said last is true.
    pub(crate) fn show(&self, source: Source, is_there: bool) {
        let mut there = lock(&self.there);
        let before = there.contains(&true);
        there[source as usize] = is_there;
        match (before, there.contains(&true)) {
            (false, true) => self.pipe.fill(),
            (true, false) => self.pipe.empty(),
            _ => {}
        }
    }

    pub(crate) fn descriptor(&self) -> i32 {
        self.pipe.descriptor()
    }
}

#[cfg(unix)]
use unix::Pipe;

#[cfg(unix)]
mod unix {
    use super::{Error, Result};
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    /// Two connected ends. Neither blocks: a host that reads the byte, which it should not, only misses being woken.
    pub(super) struct Pipe {
        pub(super) read: UnixStream,
        write: UnixStream,
    }

    impl Pipe {
        pub(super) fn new() -> Result<Self> {
            let ends = UnixStream::pair().and_then(|(read, write)| {
                read.set_nonblocking(true)?;
                write.set_nonblocking(true)?;
                Ok(Pipe { read, write })
            });
            ends.map_err(|error| Error::storage(format!("the system gives no descriptor: {error}")))
        }

        pub(super) fn fill(&self) {
            // There is room: it was empty.
            let _ = (&self.write).write(&[1]);
        }

        pub(super) fn empty(&self) {
            let _ = (&self.read).read(&mut [0]);
        }

        pub(super) fn descriptor(&self) -> i32 {
            self.read.as_raw_fd()
        }
    }
}

#[cfg(not(unix))]
use elsewhere::Pipe;

#[cfg(not(unix))]
mod elsewhere {
    use super::{Error, Result};

    /// There is none, so none of its functions is ever called.
    pub(super) enum Pipe {}

    impl Pipe {
        pub(super) fn new() -> Result<Self> {
            Err(Error::misuse(
                "this system has no descriptor to wait on: wait in next_answers and next_batches",
            ))
        }

        pub(super) fn fill(&self) {
            match *self {}
        }

        pub(super) fn empty(&self) {
            match *self {}
        }

        pub(super) fn descriptor(&self) -> i32 {
            match *self {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_descriptor_is_readable_as_long_as_a_source_has_something() {
        use std::io::Read;
        let wakeup = Wakeup::new().unwrap();
        let readable = || {
            let is = (&wakeup.pipe.read).read(&mut [0]).is_ok();
            if is {
                wakeup.pipe.fill();
            }
            is
        };
        let steps = [
            (Source::Answers, false, false),
            (Source::Answers, true, true),
            (Source::Answers, true, true),
            (Source::Batches, true, true),
            (Source::Answers, false, true),
            (Source::Batches, false, false),
            (Source::Batches, true, true),
        ];
        for (source, is_there, wanted) in steps {
            wakeup.show(source, is_there);
            assert_eq!(readable(), wanted);
        }
        // A host that takes the byte away misses it, and stops nobody.
        assert_eq!((&wakeup.pipe.read).read(&mut [0]).unwrap(), 1);
        wakeup.show(Source::Batches, false);
        wakeup.show(Source::Batches, true);
        assert!(readable());
    }

    #[test]
    fn an_interrupt_ends_the_waits_that_have_begun_or_else_the_next() {
        let mut interrupts = Interrupts::default();
        let (one, two) = (interrupts.begin(), interrupts.begin());
        assert!(!interrupts.end(one));
        interrupts.raise();
        assert!(interrupts.end(one) && interrupts.end(two));
        let later = interrupts.begin();
        assert!(!interrupts.end(later));
        interrupts.raise();
        interrupts.raise();
        let next = interrupts.begin();
        assert!(interrupts.end(next));
        let after = interrupts.begin();
        assert!(!interrupts.end(after));
    }
}

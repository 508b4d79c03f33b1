//! A store whose commits fail, and that dies, when told to: a process that ends between two commits, without the
//! process.

use rosterkit::Position;
use rosterkit::store::{CommitError, Item, Opened, Store, StoreError, Writer};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What becomes of the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is written.
    Written,
    /// It is rolled back, and says so; the one after it is written.
    RolledBack,
    /// It is not written, and nobody can tell.
    Lost,
    /// It is written, and nobody can tell.
    WrittenUnknown,
    /// Nothing is written any more: the process is gone, as far as the disk is concerned.
    Dead,
}

/// A store with a [`Fate`].
pub struct Mortal {
    inner: Arc<dyn Store>,
    fate: Arc<Mutex<Fate>>,
}

impl Mortal {
    pub fn new(inner: Arc<dyn Store>) -> Arc<Mortal> {
        Arc::new(Mortal { inner, fate: Arc::new(Mutex::new(Fate::Written)) })
    }

    pub fn fate(&self) -> Fate {
        *lock(&self.fate)
    }

    pub fn decide(&self, fate: Fate) {
        *lock(&self.fate) = fate;
    }
}

impl Store for Mortal {
    fn open(&self) -> Result<Opened, StoreError> {
        if *lock(&self.fate) == Fate::Dead {
            return Err(StoreError::Refused("the process is gone"));
        }
        let opened = self.inner.open()?;
        let writer = Box::new(MortalWriter { inner: opened.writer, fate: Arc::clone(&self.fate) });
        Ok(Opened { writer, ..opened })
    }
}

struct MortalWriter {
    inner: Box<dyn Writer>,
    fate: Arc<Mutex<Fate>>,
}

impl MortalWriter {
    fn fail(&self) -> Option<Fate> {
        let mut fate = lock(&self.fate);
        match *fate {
            Fate::Written => None,
            Fate::Dead => Some(Fate::Dead),
            once => {
                *fate = Fate::Written;
                Some(once)
            }
        }
    }
}

impl Writer for MortalWriter {
    fn reserved(&self) -> Position {
        self.inner.reserved()
    }

    fn commit(&mut self, items: &[Item]) -> Result<(), CommitError> {
        let error = StoreError::Refused("told to fail");
        match self.fail() {
            None | Some(Fate::Written) => self.inner.commit(items),
            Some(Fate::RolledBack | Fate::Dead) => Err(CommitError::RolledBack(error)),
            Some(Fate::Lost) => Err(CommitError::Unknown(error)),
            Some(Fate::WrittenUnknown) => {
                self.inner.commit(items)?;
                Err(CommitError::Unknown(error))
            }
        }
    }

    fn index(&mut self, all: bool) -> Result<bool, CommitError> {
        if *lock(&self.fate) == Fate::Dead {
            return Err(CommitError::RolledBack(StoreError::Refused("the process is gone")));
        }
        self.inner.index(all)
    }
}

fn lock(fate: &Mutex<Fate>) -> MutexGuard<'_, Fate> {
    fate.lock().unwrap_or_else(PoisonError::into_inner)
}

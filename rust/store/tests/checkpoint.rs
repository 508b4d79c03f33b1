//! What a commit is worth while a checkpoint is at work.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rosterkit_core::address::Domain;
use rosterkit_core::preferences::Overrides;
use rosterkit_core::write::Write;
use rosterkit_store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit_store::vfs::{Call, Disk, Failure, FileKind, Layer};
use rosterkit_store::{CommitError, Item, Opened, Store};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The checkpointer's sync of the write-ahead log says that it has begun, and ends as it is told to.
struct Held {
    begun: Sender<()>,
    ends: Mutex<Receiver<Result<(), Failure>>>,
}

const CHECKPOINTER: &str = "checkpointer";

impl Layer for Held {
    fn call(&self, file: FileKind, _path: &str, call: Call<'_>) -> Result<(), Failure> {
        let is_its = std::thread::current().name() == Some(CHECKPOINTER);
        if is_its && matches!((file, call), (FileKind::Wal, Call::Sync)) {
            self.begun.send(()).unwrap();
            return self.ends.lock().unwrap().recv().unwrap();
        }
        Ok(())
    }
}

fn item(number: usize) -> Item {
    let domain = Domain::new(&format!("d{number}.example.org")).unwrap();
    Item { writes: vec![Write::Domain(domain, Overrides::default())] }
}

#[test]
fn a_commit_counts_when_the_sync_of_a_checkpoint_beside_it_has_succeeded() {
    for outcome in [Ok(()), Err(Failure::Io)] {
        let directory = tempfile::tempdir().unwrap();
        let (begun, has_begun) = channel();
        let (end, ends) = channel();
        let disk = Disk::through(Arc::new(Held { begun, ends: Mutex::new(ends) }));
        let options = SqliteOptions { checkpoint_pages: 4, disk, ..SqliteOptions::small() };
        let Opened { mut writer, mut checkpointer, .. } =
            SqliteStore::new(directory.path().join("im.db"), options).open().unwrap();
        for number in 0..6 {
            writer.commit(&[item(number)]).unwrap();
        }
        let checkpoint = std::thread::Builder::new()
            .name(CHECKPOINTER.into())
            .spawn(move || checkpointer.checkpoint_if_due().is_ok())
            .unwrap();
        has_begun.recv_timeout(Duration::from_secs(10)).unwrap();
        let (committed, commit) = channel();
        let committing = std::thread::spawn(move || committed.send(writer.commit(&[item(6)])).unwrap());
        let early = commit.recv_timeout(Duration::from_millis(100));
        assert!(
            matches!(early, Err(RecvTimeoutError::Timeout)),
            "it counted before that was known: {early:?}"
        );
        end.send(outcome).unwrap();
        let result = commit.recv_timeout(Duration::from_secs(10)).unwrap();
        match outcome {
            Ok(()) => result.unwrap(),
            Err(_) => assert!(matches!(result, Err(CommitError::Unknown(_))), "{result:?}"),
        }
        assert_eq!(checkpoint.join().unwrap(), outcome.is_ok());
        committing.join().unwrap();
    }
}

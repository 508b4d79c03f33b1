//! A broken frame in a write-ahead log: what stands behind it, before an open writes over it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use rosterkit::store::check::{check, salvage};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use world::{change, contents, copy, read};

const FRAME: usize = 24 + world::PAGE;

/// A file with many commits in its write-ahead log, as a kill leaves it.
fn killed() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    world::make(&path, 1_000);
    let engine = world::open(&path, 1_000_000);
    let mut random = fastrand::Rng::with_seed(4);
    let sends = (1_000..2_000).map(|number| world::message(&mut random, number)).collect();
    world::run(&engine, sends, 8);
    let (killed, path) = copy(&path);
    drop(engine);
    (killed, path)
}

fn wal(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", path.display()))
}

fn frame_of(bytes: &mut [u8], frame: usize) -> &mut [u8] {
    &mut bytes[32 + frame * FRAME..][..FRAME]
}

#[test]
fn what_stands_behind_a_broken_frame_is_told_and_comes_back() {
    let (_directory, original) = killed();
    let report = check(&original, &mut |_| {}).unwrap();
    assert!(report.is_whole(), "{report}");
    let found = report.wal.as_ref().unwrap();
    assert_eq!((found.valid, found.committed, found.broken), (found.frames, found.frames, None), "{report}");
    let frames = found.frames as usize;
    assert!(frames > 200, "{frames}");
    let all = read(&copy(&original).1);
    let middle = frames / 2;

    // What is done to it; how many frames behind it are as they were written; how many messages are lost at the most.
    type Break = (&'static str, fn(&mut [u8], usize), usize, u64);
    let breaks: [Break; 5] = [
        ("a flipped bit of the page", |wal, frame| frame_of(wal, frame)[2_000] ^= 1, 1, 1),
        // The one behind it proves that nothing else of it is broken.
        ("a flipped bit of the checksum", |wal, frame| frame_of(wal, frame)[20] ^= 1, 0, 0),
        ("a flipped bit of the salts", |wal, frame| frame_of(wal, frame)[10] ^= 1, 0, 0),
        ("a whole frame", |wal, frame| frame_of(wal, frame).fill(0xa5), 2, 20),
        (
            "a block of the disk",
            |wal, frame| wal[(32 + frame * FRAME).next_multiple_of(4096)..][..4096].fill(0),
            3,
            40,
        ),
    ];
    for (what, destroy, gone, lost_most) in breaks {
        let (directory, path) = copy(&original);
        change(&wal(&path), |wal| destroy(wal, middle));
        let before = contents(directory.path());
        let new = tempfile::tempdir().unwrap();
        let new = new.path().join("new.db");
        let (report, salvaged) = salvage(&path, &new, &mut |_| {}).unwrap();
        assert_eq!(contents(directory.path()), before, "the original is as it was");
        assert!(!report.is_whole());
        let found = report.wal.as_ref().unwrap();
        assert_eq!(found.valid as usize, middle, "{what}");
        assert_eq!(found.broken, Some(middle as u64 + 1), "{what}");
        let behind = found.valid_behind as usize;
        assert!(behind >= frames - middle - gone, "{what}: {behind} of {}", frames - middle);
        assert!(found.commits_behind > 20 && !found.pages_behind.is_empty());
        // The engine sees nothing behind the break.
        let seen = read(&copy(&path).1);
        assert!(seen.messages.len() < all.messages.len());

        let positions = |held: &world::Held| held.messages.keys().map(|key| key.1).collect::<BTreeSet<_>>();
        let (was, is) = (positions(&all), positions(&seen));
        let behind: BTreeSet<u64> = found.messages_behind.iter().map(|message| message.position).collect();
        assert!(behind.is_disjoint(&is), "they are nowhere else");
        assert!(
            found
                .messages_behind
                .iter()
                .all(|message| message.sender.is_some() && message.recipient.is_some())
        );
        assert!(check(&new, &mut |_| {}).unwrap().is_whole());
        let held = read(&new);
        let lost = was.len() - positions(&held).len();
        println!(
            "{what}: frame {} of {frames}; {} valid behind it; {} messages, of them {} only behind it; {lost} lost",
            middle + 1,
            found.valid_behind,
            salvaged.messages,
            behind.len(),
        );
        assert!(lost as u64 <= lost_most, "{what}: {lost}");
        for (key, message) in &held.messages {
            assert_eq!(all.messages.get(key), Some(message));
        }
    }
}

#[test]
fn a_broken_header_hides_the_log_and_loses_no_message() {
    let (_directory, path) = killed();
    let all = read(&copy(&path).1);
    change(&wal(&path), |wal| wal[17] ^= 1);
    let new = tempfile::tempdir().unwrap();
    let new = new.path().join("new.db");
    let (report, _) = salvage(&path, &new, &mut |_| {}).unwrap();
    let found = report.wal.as_ref().unwrap();
    assert!(found.header_is_broken && found.valid_behind == found.frames, "{report}");
    assert_eq!(read(&new).messages, all.messages);
}

/// A process that dies in the middle of a commit leaves the like, and nobody had an answer.
#[test]
fn a_commit_that_was_never_finished_is_no_damage_and_is_not_brought_back() {
    let (_directory, path) = killed();
    let frames = check(&path, &mut |_| {}).unwrap().wal.unwrap().frames as usize;
    let file = std::fs::OpenOptions::new().write(true).open(wal(&path)).unwrap();
    // The last commit lacks its last frame, or half of it.
    for missing in [FRAME as u64 / 2, FRAME as u64] {
        file.set_len((32 + frames * FRAME) as u64 - missing).unwrap();
        let report = check(&path, &mut |_| {}).unwrap();
        assert!(report.is_whole(), "{report}");
        let found = report.wal.as_ref().unwrap();
        assert!(found.committed < frames as u64 && found.messages_behind.is_empty(), "{report}");
        assert_eq!(found.unfinished, found.valid > found.committed);
    }
}

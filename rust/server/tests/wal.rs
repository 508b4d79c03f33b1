//! A broken frame in a write-ahead log: what stands behind it, before an open writes over it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use rosterkit::store::check::check;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use world::{change, contents, copy, read, salvage};

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

/// The frames that end a transaction.
fn ends(wal: &[u8]) -> Vec<usize> {
    let frames = wal[32..].chunks_exact(FRAME).enumerate();
    frames.filter(|(_, frame)| frame[4..8] != [0; 4]).map(|(number, _)| number).collect()
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
        let (report, salvaged) = salvage(&path, &new);
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
    let (report, _) = salvage(&path, &new);
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

/// The first block of the disk holds the header, which alone has the salts, and the frame behind it.
#[test]
fn whichever_block_of_the_log_is_gone_it_is_damaged_and_what_is_behind_comes_back() {
    let (_directory, original) = killed();
    let all = read(&copy(&original).1).messages.len();
    let before = check(&original, &mut |_| {}).unwrap();
    let ends = ends(&std::fs::read(wal(&original)).unwrap());
    let mut random = fastrand::Rng::with_seed(5);
    // What is behind the last blocks is one commit of messages, and slices of the index: it cannot tell.
    let blocks = (32 + ends[ends.len() - 5] * FRAME) / 4096;
    for block in (0..8).chain((8..blocks - 8).step_by(17)).chain(blocks - 8..blocks) {
        let at = block * 4096;
        let (_directory, path) = copy(&original);
        match block % 2 {
            0 => change(&wal(&path), |wal| wal[at..][..4096].fill(0)),
            _ => change(&wal(&path), |wal| random.fill(&mut wal[at..][..4096])),
        }
        let report = check(&path, &mut |_| {}).unwrap();
        let found = report.wal.as_ref().unwrap();
        assert!(!report.is_whole() && found.broken.is_some(), "block at {at}: {report}");
        assert_eq!(found.header_is_broken, at == 0, "{report}");
        let there = report.messages as usize + found.messages_behind.len();
        assert!(there + 40 >= before.messages as usize, "block at {at}: {there}\n{report}");
    }
    // Whatever is in the block, also where the header says how numbers are summed up.
    for noise in [false, true] {
        let (_directory, path) = copy(&original);
        change(&wal(&path), |wal| match noise {
            true => random.fill(&mut wal[..4096]),
            false => wal[..4096].fill(0),
        });
        let new = tempfile::tempdir().unwrap();
        let new = new.path().join("new.db");
        let (report, _) = salvage(&path, &new);
        assert!(report.to_string().contains("its header is broken"), "{report}");
        let lost = all - read(&new).messages.len();
        assert!(lost <= 80, "{lost}");
    }
}

#[test]
fn a_log_without_its_header_of_which_nothing_proves_itself_is_damaged() {
    let (_directory, path) = killed();
    change(&wal(&path), |wal| wal.fill(0xa5));
    let report = check(&path, &mut |_| {}).unwrap();
    assert!(!report.is_whole() && report.to_string().contains("its header is broken"), "{report}");
}

/// The disk takes the frames of a transaction in whichever order, and of it only the last may be there after a power cut.
#[test]
fn a_commit_that_did_not_all_reach_the_disk_is_no_damage_and_what_stands_in_it_is_told() {
    let (_directory, path) = killed();
    let mut bytes = std::fs::read(wal(&path)).unwrap();
    let messages = || check(&path, &mut |_| {}).unwrap().messages;
    // The last that brings messages: behind it may be slices of the index.
    let all = messages();
    let (before, last) = loop {
        let [.., before, last] = ends(&bytes)[..] else { panic!() };
        std::fs::write(wal(&path), &bytes[..32 + (before + 1) * FRAME]).unwrap();
        if messages() < all {
            break (before, last);
        }
        bytes.truncate(32 + (before + 1) * FRAME);
    };
    std::fs::write(wal(&path), &bytes).unwrap();
    assert!(last > before + 1, "it has several frames");
    change(&wal(&path), |wal| frame_of(wal, before + 1).fill(0));
    let new = tempfile::tempdir().unwrap();
    let new = new.path().join("new.db");
    let (report, salvaged) = salvage(&path, &new);
    let found = report.wal.as_ref().unwrap();
    assert!(report.is_whole() && found.unfinished, "{report}");
    assert_eq!(found.committed as usize, before + 1);
    let told = report.to_string();
    assert!(told.contains("never finished") && told.contains("or the last one is damaged"), "{told}");
    // They come back, and it is said that they do.
    let behind = found.messages_behind.len();
    assert!(behind > 0 && told.contains(&format!("{behind} messages stand in it")), "{told}");
    assert_eq!(salvaged.messages, report.messages + behind as u64);
    // A slice of the index before it is not synced by itself; messages before that were.
    let [.., sent, slice, _] = ends(&bytes)[..] else { panic!() };
    for (broken, is_whole) in [(slice, true), (sent, false)] {
        let mut bytes = bytes.clone();
        frame_of(&mut bytes, broken)[2_000] ^= 1;
        std::fs::write(wal(&path), &bytes).unwrap();
        let report = check(&path, &mut |_| {}).unwrap();
        assert_eq!(report.is_whole(), is_whole, "{report}");
    }
}

//! A pipe that loses, doubles, moves and changes bytes: it is noticed or it does no harm, and never makes a wrong parcel.
#![allow(clippy::unwrap_used)]

mod world;

use rosterkit::{Content, Contents, Notice, Parcel, Settlement};
use rosterkit_peer::{Incoming, Protocol, ProtocolError};
use world::{address, carry_all, hello, joined, text};

const CASES: u64 = 3_000;

/// What a pipe does to the bytes that pass it.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Dropped,
    Doubled,
    Swapped,
    Changed,
    CutShort,
}

const FAULTS: [Fault; 5] = [Fault::Dropped, Fault::Doubled, Fault::Swapped, Fault::Changed, Fault::CutShort];

/// A listener, what a speaker has for it, and the speaker. The same for the same seed. Half of them begin with Hello, the
/// others have answers for the listener.
fn conversation(seed: u64) -> (Protocol, Vec<u8>, Protocol) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut listener = Protocol::new(hello("there.example", 2));
    let mut speaker = Protocol::new(hello("here.example", 1));
    let mut bytes = Vec::new();
    if seed.is_multiple_of(2) {
        (speaker, listener) = joined();
        for _ in 0..4 {
            listener.send(&text("to be answered")).unwrap();
        }
        carry_all(&mut listener, &mut speaker);
        for number in 1..=rng.u64(0..=4) {
            speaker.settle(number, Some(vec![Settlement::Failed { reason: "no".into() }]));
        }
    } else {
        bytes = speaker.take(usize::MAX);
        carry_all(&mut Protocol::new(hello("there.example", 2)), &mut speaker);
        speaker.remember(None);
    }
    for number in 0..rng.usize(1..8) {
        let length = rng.usize(0..200);
        let body: String = std::iter::repeat_with(|| rng.alphanumeric()).take(length).collect();
        speaker.send(&with_body(&format!("id {number}"), &body)).unwrap();
        let watcher = address(&format!("w{number}@here.example"));
        speaker.notify(&Notice::Probe { watcher, subject: address("bob@there.example") }).unwrap();
    }
    bytes.extend(speaker.take(usize::MAX));
    (listener, bytes, speaker)
}

fn with_body(id: &str, body: &str) -> Parcel {
    let mut parcel = text(id);
    if let Contents::Messages(messages) = &mut parcel.contents {
        messages[0].content = Content::text(body);
    }
    parcel
}

/// What comes of bytes in random cuts, and how it ends.
fn hear(
    listener: &mut Protocol,
    mut bytes: &[u8],
    rng: &mut fastrand::Rng,
) -> (Vec<Incoming>, Result<(), ProtocolError>) {
    let mut incoming = Vec::new();
    while !bytes.is_empty() {
        let (cut, rest) = bytes.split_at(rng.usize(1..=bytes.len().min(300)));
        if let Err(error) = listener.feed(cut, &mut incoming) {
            return (incoming, Err(error));
        }
        listener.remember(None);
        bytes = rest;
    }
    (incoming, Ok(()))
}

fn damage(bytes: &[u8], fault: Fault, rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut at = [rng.usize(0..=bytes.len()), rng.usize(0..=bytes.len()), rng.usize(0..=bytes.len())];
    at.sort_unstable();
    let [a, b, c] = at;
    let (start, first, second, end) = (&bytes[..a], &bytes[a..b], &bytes[b..c], &bytes[c..]);
    match fault {
        Fault::Dropped => [start, second, end].concat(),
        Fault::Doubled => [start, first, first, second, end].concat(),
        Fault::Swapped => [start, second, first, end].concat(),
        Fault::CutShort => bytes[..a].to_vec(),
        Fault::Changed => {
            let mut changed = bytes.to_vec();
            for _ in 0..rng.usize(1..4) {
                changed[rng.usize(0..bytes.len())] ^= 1 << rng.u8(0..8);
            }
            changed
        }
    }
}

/// More than the longest frame, so that what waits for the rest of a frame gets it.
fn more(speaker: &mut Protocol) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < (1 << 20) + 64 {
        speaker.send(&with_body("more", &"m".repeat(300_000))).unwrap();
        bytes.extend(speaker.take(usize::MAX));
    }
    bytes
}

#[test]
fn a_fault_is_noticed_or_harmless() {
    let (mut at_once, mut later, mut harmless) = (0, 0, 0);
    for case in 0..CASES {
        let fault = FAULTS[(case % 5) as usize];
        let mut rng = fastrand::Rng::with_seed(case);
        let (mut listener, bytes, _) = conversation(case);
        let (expected, sound) = hear(&mut listener, &bytes, &mut rng);
        assert_eq!(sound, Ok(()));

        let (mut listener, bytes, mut speaker) = conversation(case);
        let damaged = damage(&bytes, fault, &mut rng);
        let (came, ended) = hear(&mut listener, &damaged, &mut rng);
        assert!(came.len() <= expected.len(), "case {case}, {fault:?}: too much came");
        assert_eq!(came, expected[..came.len()], "case {case}, {fault:?}: something else came");
        if let Err(error) = ended {
            at_once += 1;
            assert_eq!(listener.feed(&bytes, &mut Vec::new()), Err(error), "nothing comes after the end");
        } else if damaged == bytes {
            harmless += 1;
            assert_eq!(came, expected);
        } else {
            // It waits for what it takes for the rest of a frame.
            later += 1;
            let (follows, mut more) = (more(&mut speaker), Vec::new());
            let ended = listener.feed(&follows, &mut more);
            let rest = &expected[came.len()..];
            let undamaged = more.len() >= rest.len() && more[..rest.len()] == *rest;
            assert!(ended.is_err() && more.is_empty() || undamaged, "case {case}, {fault:?}: {ended:?}");
        }
    }
    let all = format!("{at_once} noticed at once, {later} with what follows, {harmless} harmless");
    assert!(at_once > CASES / 2 && later > CASES / 20 && harmless < CASES / 20, "{all}");
}

/// Where frames begin, by the format's own words.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some(length) = bytes.first_chunk() {
        let (frame, rest) = bytes.split_at(4 + 8 + 1 + u32::from_be_bytes(*length) as usize + 4);
        frames.push(frame);
        bytes = rest;
    }
    frames
}

#[test]
fn doubled_frames_are_dropped_and_lost_or_moved_ones_noticed() {
    for case in 0..1_000 {
        let mut rng = fastrand::Rng::with_seed(case);
        let (mut listener, bytes, _) = conversation(case);
        let (expected, _) = hear(&mut listener, &bytes, &mut rng);
        let all = frames(&bytes);
        let mut heard = |frames: Vec<&[u8]>| hear(&mut conversation(case).0, &frames.concat(), &mut rng);

        // Each again, some later than others.
        let mut doubled = Vec::new();
        for (index, frame) in all.iter().enumerate() {
            doubled.push(*frame);
            doubled.extend(all[..=index].iter().filter(|_| case % 3 == 0));
            doubled.push(*frame);
        }
        assert_eq!(heard(doubled), (expected, Ok(())), "case {case}");

        let at = (case as usize * 7) % (all.len() - 1);
        let mut lost = all.clone();
        lost.remove(at);
        let mut moved = all.clone();
        moved.swap(at, at + 1);
        for frames in [lost, moved] {
            let (_, ended) = heard(frames);
            assert!(matches!(ended, Err(ProtocolError::Gap { .. })), "case {case}: {ended:?}");
        }
    }
}

//! What the fuzzer found, and what it begins with, as an ordinary test; and as many neighbours of each as there is time for.
#![allow(clippy::unwrap_used)]

use rosterkit_fuzz::{address, boundary, boundary_seeds, calls, import, peer_link, rules, vcard};
use std::path::Path;

const NEIGHBOURS: usize = 300;

/// How many inputs of the corpus are values.
fn replay(corpus: &str, target: fn(&[u8]) -> bool) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cargo-fuzz/corpus").join(corpus);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut values = 0;
    for file in files {
        let input = std::fs::read(file).unwrap();
        values += usize::from(target(&input));
        for _ in 0..NEIGHBOURS {
            target(&neighbour(&input, &mut rng));
        }
    }
    values
}

fn neighbour(input: &[u8], rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = input.to_vec();
    for _ in 0..rng.usize(1..4) {
        // The first byte says what the rest is.
        let at = rng.usize(1..=input.len().max(1)).min(input.len());
        match rng.u8(0..4) {
            0 => input.truncate(at),
            1 => input.insert(at, rng.u8(..)),
            _ if at < input.len() => input[at] = rng.u8(..),
            _ => {}
        }
    }
    input
}

#[test]
fn the_peer_link_takes_what_was_found() {
    assert!(replay("peer_link", peer_link) >= 6);
}

#[test]
fn the_boundary_takes_what_was_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cargo-fuzz/corpus/boundary");
    let seeds = boundary_seeds();
    for (name, bytes) in &seeds {
        let file = folder.join(name);
        if std::env::var_os("ROSTERKIT_REWRITE").is_some() {
            std::fs::write(&file, bytes).unwrap();
        }
        let is_current = std::fs::read(&file).is_ok_and(|file| file == *bytes);
        assert!(is_current, "{name} is another one: ROSTERKIT_REWRITE=1 cargo test -p rosterkit-fuzz");
        assert!(boundary(bytes), "{name} is no value");
    }
    assert!(replay("boundary", boundary) >= seeds.len());
}

#[test]
fn calls_take_what_was_found() {
    assert!(replay("calls", calls) >= 8);
    // Sequences out of nothing meet more of each other than neighbours do.
    let sequences = std::env::var("ROSTERKIT_SEQUENCES").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let mut random = fastrand::Rng::with_seed(sequences);
    for _ in 0..sequences {
        let input: Vec<u8> = (0..random.usize(200..1_500)).map(|_| random.u8(..)).collect();
        assert!(calls(&input));
    }
}

#[test]
fn addresses_take_what_was_found() {
    assert!(replay("address", address) >= 5);
}

#[test]
fn vcards_take_what_was_found() {
    assert!(replay("vcard", vcard) >= 4);
}

// behaviour: import.all-or-nothing
#[test]
fn imports_take_what_was_found() {
    assert!(replay("import", import) >= 2);
}

// behaviour: rules.json-round-trip
#[test]
fn rules_take_what_was_found() {
    assert!(replay("rules", rules) >= 8);
}

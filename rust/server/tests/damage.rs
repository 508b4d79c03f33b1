//! Every kind of page broken in turn: what the check says, what salvage brings back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use rosterkit::store::check::{Part, Report, Salvaged, check};
use rosterkit::{ClientId, Command, Send, Serves};
use std::collections::BTreeSet;
use std::path::Path;
use world::{
    Held, account, act, change, contents, copy, free_pages, page_of, pages, read, read_some, salvage, settle,
};

/// So many that the way to them is two pages long.
const MESSAGES: usize = 4_000;

/// Salvages, and sees that the original and what is beside it are as they were.
fn salvaged(path: &Path, new: &Path) -> (Report, Salvaged) {
    let before = contents(path.parent().unwrap());
    let found = salvage(path, new);
    assert_eq!(contents(path.parent().unwrap()), before, "the original is as it was");
    assert_eq!(check(path, &mut |_| {}).unwrap(), found.0, "salvage finds what the check finds");
    assert_eq!(contents(path.parent().unwrap()), before, "the original is as it was");
    found
}

/// What is in a salvaged file: it is whole, and an engine opens it.
fn held(new: &Path) -> Held {
    held_by_some(new, 1)
}

fn held_by_some(new: &Path, one_in: usize) -> Held {
    let report = check(new, &mut |_| {}).unwrap();
    assert!(report.is_whole(), "{report}");
    read_some(new, one_in)
}

fn percent(part: usize, of: usize) -> f64 {
    100.0 * part as f64 / of as f64
}

#[test]
fn every_kind_of_page_is_named_and_what_is_elsewhere_comes_back() {
    let original = tempfile::tempdir().unwrap();
    let original = original.path().join("im.db");
    world::make(&original, MESSAGES);
    let report = check(&original, &mut |_| {}).unwrap();
    assert!(report.is_whole(), "{report}");
    let rows_of_log = report.messages as usize;
    assert!(rows_of_log >= MESSAGES);
    let all = read(&copy(&original).1);
    assert_eq!(all.files.len(), world::ACCOUNTS);

    // What it is, of which table, and which pages are broken, one at a time or several together.
    let mut kinds: Vec<(String, Option<String>, Vec<u32>, u32)> = Vec::new();
    let mut of_empty = Vec::new();
    for ((name, kind), mut found) in pages(&original) {
        // From the middle, and the last.
        found.sort_unstable();
        let mut some = vec![found[found.len() / 2]];
        if name == "log" && kind == "leaf" {
            some.extend([found[0], *found.last().unwrap(), found[found.len() / 3]]);
        }
        for (page, rows) in some {
            match kind == "root, leaf" && rows == 0 {
                true => of_empty.push(page),
                false => kinds.push((format!("{name}, {kind}"), Some(name.clone()), vec![page], rows)),
            }
        }
    }
    of_empty.sort_unstable();
    kinds.push(("tables with nothing in them".into(), None, of_empty, 0));
    let [list, free] = free_pages(&original);
    kinds.push(("the list of free pages".into(), None, vec![list], 0));
    kinds.push(("a free page".into(), None, vec![free], 0));

    println!(
        "{:<44} {:>5} {:>5} {:>10} {:>10} {:>9} {:>9} {:>9}",
        "broken page", "page", "rows", "messages", "untouched", "lost", "buddies", "files"
    );
    let mut random = fastrand::Rng::with_seed(2);
    for (kind, table, broken, rows) in kinds {
        let page = broken[0];
        let (directory, path) = copy(&original);
        change(&path, |bytes| broken.iter().for_each(|page| random.fill(page_of(bytes, *page))));
        let new = tempfile::tempdir().unwrap();
        let new = new.path().join("new.db");
        let (report, salvaged) = salvaged(&path, &new);
        assert!(!report.is_whole());
        assert_eq!(report.broken.iter().map(|page| page.page).collect::<Vec<_>>(), broken, "{report}");
        if let Some(table) = &table {
            assert_eq!(report.broken[0].table.as_ref(), Some(table), "{report}");
        }
        let part = report.broken[0].part;
        let expected = match kind.split_once(", ").map_or(kind.as_str(), |(_, part)| part) {
            "leaf" => Part::Leaf,
            "internal" => Part::Interior,
            "overflow" => Part::Overflow,
            "a free page" => Part::Free,
            "the list of free pages" => Part::FreeList,
            // Nothing else is at that depth that is known to be a leaf.
            "root, leaf" | "tables with nothing in them" => Part::Tree,
            "root, internal" if report.pages.unplaced == 0 && part == Part::Tree => Part::Tree,
            _ => Part::Interior,
        };
        assert_eq!(part, expected, "{kind}: {report}");
        assert!(report.findings.is_empty(), "{report}");

        // It takes most of the time: where the log is whole some of the accounts show it.
        let one_in = if kind.starts_with("log") { 1 } else { 10 };
        let held = held_by_some(&new, one_in);
        // What is there is as it was, and what is not is named.
        let lost: BTreeSet<u64> = report.lost.messages.iter().map(|lost| lost.message.position).collect();
        let read = all.messages.iter().filter(|(key, _)| key.0.is_multiple_of(one_in));
        for (key, message) in read.clone() {
            match held.messages.get(key) {
                Some(found) => {
                    assert_eq!(found.1, message.1);
                    let is_named = found.0 == message.0;
                    assert!(is_named || kind.starts_with("address"), "{kind}: {found:?} {message:?}");
                }
                None => assert!(
                    lost.contains(&key.1) || report.lost.unnamed_messages,
                    "{kind}: {key:?} is gone without a word\n{report}"
                ),
            }
        }
        assert!(held.messages.keys().all(|key| all.messages.contains_key(key)), "nothing is made up");
        assert!(held.buddies == all.buddies, "{kind}");
        for (number, bytes) in &all.files {
            match held.files.get(number) {
                Some(found) => assert_eq!(found, bytes),
                None => assert!(
                    report.lost.files.iter().any(|lost| lost.account == account(*number).as_str()),
                    "{kind}: a file of {number} is gone without a word\n{report}"
                ),
            }
        }
        assert_eq!(salvaged.accounts, world::ACCOUNTS as u64);
        assert_eq!(salvaged.made_anew, report.lost.accounts, "{kind}");
        assert_eq!(salvaged.made_anew.is_empty(), kind != "account, leaf", "{kind}");

        let touched = match kind.as_str() {
            "log, leaf" => rows as usize,
            "log, overflow" => 1,
            _ => 0,
        };
        let untouched = percent(salvaged.messages as usize, rows_of_log - touched);
        println!(
            "{kind:<44} {page:>5} {rows:>5} {:>9.3}% {untouched:>9.3}% {:>9} {:>9} {:>8.2}%",
            percent(salvaged.messages as usize, rows_of_log),
            report.lost.messages.len(),
            report.lost.buddies.len(),
            percent(held.files.len(), all.files.len()),
        );
        // What is asked for is 99 % for a leaf of the log. It is everything, for every kind.
        assert!(untouched >= 100.0, "{kind}: {untouched}");
        assert!(held.messages.len() >= read.count() * 99 / 100);
        let files = if matches!(kind.as_str(), "file, leaf" | "file, overflow") { 80.0 } else { 100.0 };
        assert!(percent(held.files.len(), all.files.len()) >= files, "{kind}");
        drop(directory);
    }
}

#[test]
fn of_a_page_with_a_flipped_bit_what_proves_itself_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    world::make(&path, 3_000);
    let rows = check(&path, &mut |_| {}).unwrap().messages;
    let all = read(&copy(&path).1);
    let leaves = &pages(&path)[&("log".to_owned(), "leaf".to_owned())];
    let (page, on_page) = leaves[leaves.len() / 4];
    // In the content of the last row that was written there, which is the first in the page.
    change(&path, |bytes| {
        let page = page_of(bytes, page);
        let content = usize::from(u16::from_be_bytes([page[5], page[6]]));
        page[content + 60] ^= 4;
    });
    let new = directory.path().join("new.db");
    let (report, salvaged) = salvage(&path, &new);
    assert_eq!((report.broken.len(), report.broken[0].page), (1, page), "{report}");
    assert_eq!((report.messages, report.rescued), (rows - u64::from(on_page), u64::from(on_page) - 1));
    assert_eq!(salvaged.messages, rows - 1);
    let [before, after]: [BTreeSet<u64>; 2] =
        [all, held(&new)].map(|held| held.messages.into_keys().map(|(_, position)| position).collect());
    let gone: Vec<&u64> = BTreeSet::difference(&before, &after).collect();
    assert_eq!(gone, report.lost.messages.iter().map(|lost| &lost.message.position).collect::<Vec<_>>());
}

#[test]
fn several_broken_pages_are_told_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    world::make(&path, 4_000);
    let all = read(&copy(&path).1);
    let pages = pages(&path);
    let mut random = fastrand::Rng::with_seed(3);
    // One page in fifty, of whatever kind, the first among them.
    let mut broken: BTreeSet<u32> =
        pages.values().flatten().map(|(page, _)| *page).filter(|_| random.u8(..50) == 0).collect();
    broken.insert(1);
    change(&path, |bytes| broken.iter().for_each(|page| random.fill(page_of(bytes, *page))));
    let new = directory.path().join("new.db");
    let (report, salvaged) = salvage(&path, &new);
    let told: BTreeSet<u32> = report.broken.iter().map(|page| page.page).collect();
    assert_eq!(told, broken);
    let held = held(&new);
    let kept = percent(held.messages.len(), all.messages.len());
    println!("{} pages broken: {kept:.2} % of what the accounts see, {salvaged:?}", broken.len());
    assert!(kept >= 97.5, "{kept}");
    assert!(held.messages.keys().all(|key| all.messages.contains_key(key)));
    assert_eq!(salvaged.accounts, world::ACCOUNTS as u64);
}

/// The way to the rows is broken, nothing is indexed, and some of the rows are where nobody can see that they were there.
#[test]
fn messages_of_which_nothing_is_known_may_be_lost() {
    let directory = tempfile::tempdir().unwrap();
    let original = directory.path().join("im.db");
    world::make(&original, 500);
    let of_log = |kind: &str| pages(&original)[&("log".to_owned(), kind.to_owned())].clone();
    let (root, mut leaves) = (of_log("root, internal")[0].0, of_log("leaf"));
    leaves.sort_unstable();
    let last = leaves.last().unwrap().0;
    let cut = |bytes: &mut Vec<u8>| bytes.truncate((last as usize - 1) * world::PAGE);
    type Break<'a> = (&'a dyn Fn(&mut Vec<u8>), bool);
    let breaks: [Break<'_>; 3] =
        [(&|_| {}, false), (&|bytes| page_of(bytes, last).fill(0), true), (&cut, true)];
    for (destroy, may_be_lost) in breaks {
        let (_directory, path) = copy(&original);
        let mut bytes = std::fs::read(&path).unwrap();
        page_of(&mut bytes, root)[2_000] ^= 1;
        destroy(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let report = check(&path, &mut |_| {}).unwrap();
        assert!(!report.is_whole());
        assert_eq!(report.lost.unnamed_messages, may_be_lost, "{report}");
    }
}

/// The new file is to the old one as a restored backup is, and goes on from there.
#[test]
fn a_salvaged_file_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    world::make(&path, 500);
    let (alice, bob) = (account(0), account(1));
    let once = Send { client_id: ClientId::new("once").ok(), ..Send::text(&bob, "said once") };
    let engine = world::open(&path, 1_000);
    let before = engine.send(&alice, once.clone()).unwrap();
    let generation = engine.open_relay(Serves::Everything).unwrap().file_generation();
    engine.shutdown(true).unwrap();
    drop(engine);
    settle(&path);
    // The root of the ring of client ids, and of what is remembered of the file.
    let pages = pages(&path);
    let roots = ["client_id", "meta"].map(|name| pages[&(name.to_owned(), "root, leaf".to_owned())][0].0);
    change(&path, |bytes| roots.iter().for_each(|root| page_of(bytes, *root).fill(1)));
    let new = directory.path().join("new.db");
    let (report, _) = salvage(&path, &new);
    assert!(!report.is_whole());
    let engine = world::open(&new, 1_000);
    let again = engine.send(&alice, once).unwrap();
    assert_eq!((again.id, again.position), (before.id, before.position), "a repeat is known as one");
    let next = engine.send(&alice, Send::text(&bob, "and more")).unwrap();
    assert!(next.position.0 > before.position.0 + (1 << 31), "no position is given that may have been given");
    assert_ne!(engine.open_relay(Serves::Everything).unwrap().file_generation(), generation);
    engine.shutdown(true).unwrap();
    drop(engine);
    held(&new);
}

#[test]
fn what_was_deleted_stays_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    world::make(&path, 4_000);
    let indexed = |path: &Path| -> i64 {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.query_row("SELECT value FROM meta WHERE key = 'indexed'", [], |row| row.get(0)).unwrap()
    };
    let engine = world::open(&path, 1_000);
    world::run(
        &engine,
        (0..world::ACCOUNTS).map(|number| act(number, Command::Forget { peer: None })).collect(),
        8,
    );
    engine.advance(5_000).unwrap();
    let mut random = fastrand::Rng::with_seed(6);
    world::run(&engine, (10_000..10_050).map(|number| world::message(&mut random, number)).collect(), 1);
    engine.shutdown(true).unwrap();
    drop(engine);
    settle(&path);
    let indexed = indexed(&path) as u64;
    settle(&path);
    let all = read(&copy(&path).1);
    assert!(all.messages.keys().map(|key| key.1).collect::<BTreeSet<_>>().len() == 50 && indexed > 2_000);
    // Nothing leads to any row, and nobody knows which pages are free.
    let log = pages(&path).into_iter().filter(|((name, kind), _)| name == "log" && kind.starts_with("root"));
    let root = log.flat_map(|(_, pages)| pages).next().unwrap().0;
    let [list, _] = free_pages(&path);
    change(&path, |bytes| [root, list].iter().for_each(|page| page_of(bytes, *page).fill(9)));
    let new = directory.path().join("new.db");
    let (report, _) = salvage(&path, &new);
    assert!(report.pages.unplaced == 0 && !report.is_whole(), "{report}");
    for (key, message) in held(&new).messages {
        assert!(key.1 > indexed || all.messages.get(&key) == Some(&message), "{key:?} was deleted");
    }
}

#[test]
fn who_cannot_be_named_any_more_has_a_name_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("im.db");
    world::make(&path, 300);
    let rows = check(&path, &mut |_| {}).unwrap().messages;
    let of_names = ["address", "address_live", "account", "account_by_domain", "buddy"];
    let broken = pages(&path).into_iter().filter(|((name, _), _)| of_names.contains(&name.as_str()));
    let broken: Vec<u32> = broken.flat_map(|(_, pages)| pages).map(|(page, _)| page).collect();
    change(&path, |bytes| broken.iter().for_each(|page| page_of(bytes, *page).fill(9)));
    let new = directory.path().join("new.db");
    let (_, salvaged) = salvage(&path, &new);
    assert_eq!((salvaged.messages, salvaged.accounts), (rows, 0));
    assert_eq!(salvaged.unknown_addresses, world::ACCOUNTS as u64);
    let report = check(&new, &mut |_| {}).unwrap();
    assert!(report.is_whole(), "{report}");
    // Whoever is made anew is somebody else: no id is used again.
    let engine = world::open(&new, 1_000);
    engine.create_account(&account(0)).unwrap();
    engine.shutdown(true).unwrap();
}

//! `cargo xtask broken`: breaks sentences of `docs/behaviour.md` by a switch each, and sees that a test of theirs fails.
//!
//! The switches stand in `docs/behaviour-switches.txt`, beside the code and not in it: they are woven into a copy of the
//! checkout, which is built once. An entry is
//!
//! ```text
//! [roster.asking-twice] rust/core/src/roster/subscription.rs
//! - before.flags() != self.flags();
//! + true;
//! ```
//!
//! The expression behind `-` is what stands behind `+` while the sentence is broken. Each text stands once in its file; `~`
//! instead of `-` takes statements instead of an expression. A sentence that is kept twice over has several entries, one behind
//! the other, which break together.

use crate::behaviour;
use crate::needs::{self, C, GIT, RUST};
use crate::run;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SWITCHES: &str = "docs/behaviour-switches.txt";
/// How many are drawn.
const DRAWN: usize = 30;
/// A test that takes longer than this hangs, which is as good as failing.
const SECONDS: &str = "120";

struct Switch {
    id: String,
    file: String,
    old: String,
    new: String,
    is_statement: bool,
}

/// Breaks the sentences that are drawn by this seed, or the one of this name, or all that have a switch.
pub(crate) fn run(which: &str) -> Result<(), String> {
    needs::check(&[RUST, C, GIT])?;
    let tests = behaviour::tests()?;
    let mut ids: Vec<String> = checked(&tests)?.into_iter().map(|switch| switch.id).collect();
    ids.dedup();
    let (with, all) = (ids.len(), tests.len());
    match which.parse::<u64>() {
        Ok(seed) => {
            let mut state = seed;
            while ids.len() > DRAWN {
                // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                ids.swap_remove(((mixed ^ (mixed >> 31)) % ids.len() as u64) as usize);
            }
        }
        Err(_) if which != "all" => ids.retain(|id| id == which),
        Err(_) => {}
    }
    if ids.is_empty() {
        return Err(format!("{which} has no switch in {SWITCHES}"));
    }
    let tree = woven()?;
    let mut unnoticed = Vec::new();
    for id in &ids {
        let of_it = tests.get(id).map(Vec::as_slice).unwrap_or_default();
        let mut noticed = None;
        for (path, test) in of_it {
            if fails(&tree, path, test, id)? {
                noticed = Some(test);
                break;
            }
        }
        match noticed {
            Some(test) => println!("{id}: {test} fails"),
            None => {
                println!("{id}: NOT NOTICED");
                unnoticed.push(id.clone());
            }
        }
    }
    println!("{} broken, of {with} with a switch, of {all} sentences", ids.len());
    if unnoticed.is_empty() { Ok(()) } else { Err(format!("nobody notices {unnoticed:?}")) }
}

/// Fails on a switch of a sentence that is not there, or whose text is not.
pub(crate) fn check() -> Result<usize, String> {
    let mut ids: Vec<String> = checked(&behaviour::tests()?)?.into_iter().map(|switch| switch.id).collect();
    ids.dedup();
    Ok(ids.len())
}

fn checked(tests: &BTreeMap<String, Vec<(String, String)>>) -> Result<Vec<Switch>, String> {
    let switches = read()?;
    for switch in &switches {
        if !tests.contains_key(&switch.id) {
            return Err(format!("{SWITCHES}: there is no sentence {}", switch.id));
        }
        let file = run::root().join(&switch.file);
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let count = text.matches(&switch.old).count();
        if count != 1 {
            return Err(format!(
                "{SWITCHES}: the text of {} stands in {} {count} times",
                switch.id, switch.file
            ));
        }
    }
    Ok(switches)
}

fn read() -> Result<Vec<Switch>, String> {
    let text = fs::read_to_string(run::root().join(SWITCHES)).map_err(|e| format!("{SWITCHES}: {e}"))?;
    let mut switches: Vec<Switch> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let wrong = || format!("{SWITCHES}: {line:?}");
        if let Some((id, file)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            let (id, file) = (id.to_owned(), file.to_owned());
            switches.push(Switch { id, file, old: String::new(), new: String::new(), is_statement: false });
            continue;
        }
        let (sign, rest) = (line.get(..1).ok_or_else(wrong)?, line.get(2..).unwrap_or_default());
        let switch = switches.last_mut().ok_or_else(wrong)?;
        let place = match sign {
            "-" => &mut switch.old,
            "~" => {
                switch.is_statement = true;
                &mut switch.old
            }
            "+" => &mut switch.new,
            _ => return Err(wrong()),
        };
        if !place.is_empty() {
            place.push('\n');
        }
        place.push_str(rest);
    }
    Ok(switches)
}

/// A copy of the checkout with every switch in it.
fn woven() -> Result<PathBuf, String> {
    let tree = run::target().join("broken").join("tree");
    let files = run::quietly("git", &["ls-files", "--cached", "--others", "--exclude-standard"])?;
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for switch in read()? {
        let path = run::root().join(&switch.file);
        let text = match texts.remove(&switch.file) {
            Some(text) => text,
            None => fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?,
        };
        let core = if switch.file.starts_with("rust/core/") { "crate" } else { "rosterkit_core" };
        let Switch { id, old, new, .. } = &switch;
        let either = format!("if {core}::planted::broken({id:?}) {{ {new} }} else {{ {old} }}");
        let either = if switch.is_statement { either } else { format!("({either})") };
        texts.insert(switch.file.clone(), text.replacen(&switch.old, &either, 1));
    }
    for file in files.lines() {
        let (from, to) = (run::root().join(file), tree.join(file));
        let mut bytes = match texts.get(file) {
            Some(text) => text.clone().into_bytes(),
            None => match fs::read(&from) {
                Ok(bytes) => bytes,
                // It was removed, and that is not committed yet.
                Err(_) => continue,
            },
        };
        if file == "rust/core/src/planted.rs" {
            bytes.extend_from_slice(ASKED.as_bytes());
        }
        // What is as it was keeps its time: cargo builds only what is another.
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        let folder = to.parent().map(Path::to_owned).unwrap_or_default();
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        fs::write(&to, bytes).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    remove_what_is_gone(&tree, &files)?;
    Ok(tree)
}

/// What was in the checkout when the copy was made last, and is not now: a module of the old name would stand beside the new.
fn remove_what_is_gone(tree: &Path, files: &str) -> Result<(), String> {
    let kept: BTreeSet<PathBuf> =
        files.lines().filter(|file| run::root().join(file).exists()).map(|file| tree.join(file)).collect();
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
            let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if !kept.contains(&path) {
                fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
    }
    Ok(())
}

const ASKED: &str = "
/// Whether this sentence is the one that is broken in this process.
pub fn broken(id: &str) -> bool {
    static BROKEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    BROKEN.get_or_init(|| std::env::var(\"ROSTERKIT_BROKEN\").ok()).as_deref() == Some(id)
}
";

/// Whether a test fails while a sentence is broken; whole again, it must pass.
fn fails(tree: &Path, path: &str, test: &str, id: &str) -> Result<bool, String> {
    let target = target_of(path).ok_or_else(|| format!("{path}: whose test is that?"))?;
    let try_with = |broken: Option<&str>| -> Result<bool, String> {
        let mut command = Command::new("timeout");
        command.args([SECONDS, &run::cargo_program(), "test", "--quiet"]).args(&target);
        command.args(["--", test]).current_dir(tree).stdin(Stdio::null());
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env("CARGO_TARGET_DIR", tree.with_file_name("target"));
        command.env("RUSTFLAGS", "--cap-lints=allow").env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
        command.env("PROPTEST_MAX_SHRINK_ITERS", "0").env_remove("ROSTERKIT_BROKEN");
        command.envs(broken.map(|id| ("ROSTERKIT_BROKEN", id)));
        let status = command.status().map_err(|error| format!("timeout cannot be run: {error}"))?;
        Ok(status.success())
    };
    // The build is not on the clock, and not what fails.
    let mut build = Command::new(run::cargo_program());
    build.args(["test", "--quiet", "--no-run"]).args(&target).current_dir(tree).stdin(Stdio::null());
    build.env("CARGO_TARGET_DIR", tree.with_file_name("target")).env("RUSTFLAGS", "--cap-lints=allow");
    let built = build.status().map_err(|error| format!("cargo cannot be run: {error}"))?;
    if !built.success() {
        return Err("the copy with the switches does not compile".into());
    }
    if try_with(Some(id))? {
        return Ok(false);
    }
    match try_with(None)? {
        true => Ok(true),
        false => Err(format!("{test} fails when nothing is broken")),
    }
}

/// What cargo calls the tests of this file.
fn target_of(path: &str) -> Option<Vec<String>> {
    let (package, rest) = [
        ("rosterkit-core", "rust/core/"),
        ("rosterkit-store", "rust/store/"),
        ("rosterkit-peer", "rust/gateways/peer/"),
        ("rosterkit", "rust/engine/"),
        ("rosterkit-promises", "tests/promises/"),
        ("rosterkit-fuzz", "tests/fuzz/"),
    ]
    .into_iter()
    .find_map(|(package, folder)| Some((package, path.strip_prefix(folder)?)))?;
    let mut target = vec!["--package".to_owned(), package.to_owned()];
    match rest.strip_prefix("tests/") {
        Some(test) => {
            let name = test.split('/').next()?.trim_end_matches(".rs");
            target.extend(["--test".to_owned(), name.to_owned()]);
        }
        None => target.push("--lib".to_owned()),
    }
    Some(target)
}

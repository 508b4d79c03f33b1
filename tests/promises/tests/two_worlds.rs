//! Two engines in two processes, on two files, for two domains, joined by a pipe that loses, doubles, delays, moves and cuts
//! what it carries, while either side is killed again and again.
//!
//! The pipe is this process: it is also what a host has to be, one that notices when nothing comes any more.
//! `ROSTERKIT_SECONDS=600 ROSTERKIT_SEED=7 cargo test --release -p rosterkit-promises --test two_worlds -- --nocapture`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::{
    Anchor, Direction, Domain, Engine, EngineOptions, HistoryRequest, Message, Outcome, SessionOptions,
};
use rosterkit_promises::worlds::{ACCOUNTS, STATES, account, domain};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const FAULTS: [&str; 5] = ["dropped", "doubled", "delayed", "swapped", "cut"];
/// How often each fault is done, and how often a side is killed, at the least.
const ENOUGH: (u64, u64) = (1_000, 50);
/// How long a pipe that did harm may be silent.
const SILENCE: Duration = Duration::from_millis(150);

fn from_env(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

// ---- the pipe -------------------------------------------------------------------------------------------------

/// The pipe between the two, and what it did to what it carried.
struct Pipe {
    listeners: [UnixListener; 2],
    done: [AtomicU64; 5],
    faulty: AtomicBool,
    over: AtomicBool,
}

/// One connection of both.
struct Joined {
    ends: [UnixStream; 2],
    harmed: AtomicBool,
    last: Mutex<Instant>,
}

impl Joined {
    fn cut(&self) {
        for end in &self.ends {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Pipe {
    fn open(folder: &Path) -> Arc<Pipe> {
        let listeners = [0, 1].map(|world| UnixListener::bind(socket(folder, world)).unwrap());
        for listener in &listeners {
            listener.set_nonblocking(true).unwrap();
        }
        Arc::new(Pipe {
            listeners,
            done: [const { AtomicU64::new(0) }; 5],
            faulty: AtomicBool::new(true),
            over: AtomicBool::new(false),
        })
    }

    /// Joins whoever comes, until it is over.
    fn carry(self: &Arc<Self>, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        while let (Some(here), Some(there)) = (self.accept(0), self.accept(1)) {
            let joined = Arc::new(Joined {
                ends: [here, there],
                harmed: AtomicBool::new(false),
                last: Mutex::new(Instant::now()),
            });
            std::thread::scope(|scope| {
                for from in 0..2 {
                    let (joined, random) = (&joined, random.fork());
                    scope.spawn(move || {
                        self.pump(joined, from, random);
                        joined.cut();
                    });
                }
            });
        }
    }

    fn accept(&self, world: usize) -> Option<UnixStream> {
        while !self.over.load(Ordering::Relaxed) {
            match self.listeners[world].accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                    return Some(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        }
        None
    }

    /// Carries one direction in pieces, until it breaks.
    fn pump(&self, joined: &Joined, from: usize, mut random: fastrand::Rng) {
        let (mut source, mut sink) = (&joined.ends[from], &joined.ends[1 - from]);
        let mut bytes = vec![0; 4_096];
        let mut held: Option<Vec<u8>> = None;
        loop {
            let most = random.usize(1..bytes.len());
            let piece = match source.read(&mut bytes[..most]) {
                Ok(0) => return,
                Ok(read) => bytes[..read].to_vec(),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if let Some(held) = held.take()
                        && sink.write_all(&held).is_err()
                    {
                        return;
                    }
                    let silent = joined.last.lock().unwrap().elapsed() > SILENCE;
                    if silent && joined.harmed.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed) {
                        return;
                    }
                    continue;
                }
                Err(_) => return,
            };
            *joined.last.lock().unwrap() = Instant::now();
            if let Some(held) = held.take() {
                self.note(3);
                joined.harmed.store(true, Ordering::Relaxed);
                if sink.write_all(&piece).and_then(|()| sink.write_all(&held)).is_err() {
                    return;
                }
                continue;
            }
            let fault = if self.faulty.load(Ordering::Relaxed) { random.u8(0..100) } else { u8::MAX };
            let harms = fault < 6;
            if harms {
                joined.harmed.store(true, Ordering::Relaxed);
            }
            let carried = match fault {
                0 | 1 => {
                    self.note(0);
                    Ok(())
                }
                2 | 3 => {
                    self.note(1);
                    sink.write_all(&piece).and_then(|()| sink.write_all(&piece))
                }
                4 | 5 => {
                    held = Some(piece);
                    Ok(())
                }
                6 | 7 => {
                    self.note(2);
                    std::thread::sleep(Duration::from_millis(random.u64(1..15)));
                    sink.write_all(&piece)
                }
                8 | 9 => return self.note(4),
                _ => sink.write_all(&piece),
            };
            if carried.is_err() {
                return;
            }
        }
    }

    fn note(&self, fault: usize) {
        self.done[fault].fetch_add(1, Ordering::Relaxed);
    }

    fn done(&self) -> [u64; 5] {
        self.done.each_ref().map(|done| done.load(Ordering::Relaxed))
    }
}

// ---- the worlds -----------------------------------------------------------------------------------------------

fn file(folder: &Path, world: usize) -> PathBuf {
    folder.join(format!("{world}.db"))
}

fn socket(folder: &Path, world: usize) -> PathBuf {
    folder.join(format!("{world}.sock"))
}

/// A world's process; it dies with this.
struct World {
    child: Child,
    says: Receiver<String>,
    input: Option<ChildStdin>,
}

impl World {
    fn start(folder: &Path, world: usize) -> World {
        let mut child = Command::new(env!("CARGO_BIN_EXE_peer"))
            .args([
                file(folder, world).as_os_str(),
                world.to_string().as_ref(),
                socket(folder, world).as_ref(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, input) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let (sender, says) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        World { child, says, input: Some(input) }
    }

    fn hears(&self) -> String {
        self.says.recv_timeout(Duration::from_secs(30)).expect("a world says nothing")
    }

    /// What it answers; that it was ready may not have been heard.
    fn answers(&self) -> String {
        let answer = self.hears();
        if answer == "ready" { self.hears() } else { answer }
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.input.as_mut().unwrap(), "{what}").unwrap();
    }

    fn ask(&mut self, what: &str) -> String {
        self.tell(what);
        self.answers()
    }

    fn die(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it end by itself: everything it has is written then.
    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- what was promised ----------------------------------------------------------------------------------------

/// What the journals of a world say.
#[derive(Default)]
struct Journal {
    /// The last answered send of each pair.
    answered: BTreeMap<(usize, usize), u64>,
    /// The outcomes that were told, by the message's id.
    outcomes: HashMap<String, BTreeSet<String>>,
    /// What each account was told, in order: position, id, text.
    told: Vec<Vec<(u64, String, String)>>,
}

fn lines(path: PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // A kill may have left half a line.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

fn journal(folder: &Path, world: usize) -> Journal {
    let mut journal = Journal { told: vec![Vec::new(); ACCOUNTS], ..Journal::default() };
    for line in lines(file(folder, world).with_extension("sent")) {
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        journal.answered.insert((numbers[0] as usize, numbers[1] as usize), numbers[2]);
    }
    for line in lines(file(folder, world).with_extension("heard")) {
        let parts: Vec<&str> = line.splitn(5, ' ').collect();
        match parts[..] {
            ["M", account, position, id, text] => {
                let told = (position.parse().unwrap(), id.to_owned(), text.to_owned());
                journal.told[account.parse::<usize>().unwrap()].push(told);
            }
            ["O", id, word] => {
                journal.outcomes.entry(id.into()).or_default().insert(word.into());
            }
            _ => panic!("{line}"),
        }
    }
    journal
}

/// Every message in an account's history.
fn history(engine: &Engine, world: usize, number: usize) -> Vec<Message> {
    let session = engine.open_session(&account(world, number), SessionOptions::default()).unwrap();
    let (mut all, mut anchor) = (Vec::new(), Anchor::End);
    loop {
        let request = HistoryRequest { peer: None, anchor, direction: Direction::Newer, limit: 1_000 };
        let page = session.history(request).unwrap();
        all.extend(page.messages);
        if page.complete {
            return all;
        }
        anchor = Anchor::Row(all.last().unwrap().position);
    }
}

fn numbers(text: &str) -> (usize, usize, u64) {
    let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().unwrap()).collect();
    (numbers[0] as usize, numbers[1] as usize, numbers[2])
}

/// Holds what the worlds were promised against their files. Gives how many messages there were.
fn audit(folder: &Path) -> usize {
    let journals = [0, 1].map(|world| journal(folder, world));
    let engines = [0, 1].map(|world| {
        let options = EngineOptions::hosting([Domain::new(domain(world)).unwrap()]);
        Engine::open_file(file(folder, world), options).unwrap()
    });
    let mut all = 0;
    for [from, to] in [[0, 1], [1, 0]] {
        for number in 0..ACCOUNTS {
            // What arrived, pair by pair.
            let arrived = history(&engines[to], to, number);
            let mut pairs: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
            let mut ids = BTreeSet::new();
            for message in arrived.iter().filter(|message| message.recipient == account(to, number)) {
                let (sender, recipient, count) = numbers(message.content.as_text().unwrap());
                assert_eq!((message.sender.bare(), recipient), (account(from, sender), number));
                assert!(ids.insert(message.id), "{} is there twice", message.id);
                pairs.entry(sender).or_default().push(count);
            }
            for (sender, counts) in &pairs {
                let answered = journals[from].answered.get(&(*sender, number)).copied().unwrap_or(0);
                let expected: Vec<u64> = (1..=counts.len() as u64).collect();
                assert_eq!(counts, &expected, "from {sender} to {number}: lost, doubled or out of order");
                // The last one may have been accepted and its answer lost with the process.
                assert!(
                    counts.len() as u64 >= answered,
                    "{answered} were answered, {} arrived",
                    counts.len()
                );
                all += counts.len();
            }
            // What was told: in order, and again only as what it was.
            let mut places: HashMap<String, u64> = HashMap::new();
            let mut last: BTreeMap<usize, u64> = BTreeMap::new();
            for (position, id, text) in &journals[to].told[number] {
                if let Some(before) = places.insert(id.clone(), *position) {
                    assert_eq!(before, *position, "{id} came again from another place");
                    continue;
                }
                let (sender, _, count) = numbers(text);
                let before = last.insert(sender, count).unwrap_or(0);
                assert_eq!(count, before + 1, "told out of order, from {sender} to {number}");
            }
            assert_eq!(places.len(), ids.len(), "not everything was told");
            // What its senders know of it.
            for message in history(&engines[from], from, number) {
                if message.sender.bare() == account(from, number) {
                    assert_eq!(message.outcome, Some(Outcome::Relayed), "{}", message.id);
                    let told = &journals[from].outcomes[&message.id.to_string()];
                    assert_eq!(told.iter().collect::<Vec<_>>(), ["relayed"]);
                }
            }
        }
    }
    for engine in engines {
        engine.shutdown(true).unwrap();
    }
    all
}

/// Of the sends of a world, pair by pair: how many were answered, how many of them are in the history, how many with an
/// outcome, and of how many that was told.
fn open_sends(folder: &Path, world: usize) -> Vec<String> {
    let journal = journal(folder, world);
    let options = EngineOptions::hosting([Domain::new(domain(world)).unwrap()]);
    let engine = Engine::open_file(file(folder, world), options).unwrap();
    let mut pairs = Vec::new();
    for sender in 0..ACCOUNTS {
        let all = history(&engine, world, sender);
        for recipient in 0..ACCOUNTS {
            let to = account(1 - world, recipient);
            let of_pair: Vec<&Message> = all.iter().filter(|message| message.recipient == to).collect();
            let settled = of_pair.iter().filter(|message| message.outcome.is_some()).count();
            let is_told = |message: &&&Message| journal.outcomes.contains_key(&message.id.to_string());
            let told = of_pair.iter().filter(is_told).count();
            let answered = journal.answered.get(&(sender, recipient)).unwrap_or(&0);
            let there = of_pair.len();
            pairs.push(format!(
                "{sender} to {recipient}: {answered} answered, {there} there, {settled} settled, {told} told"
            ));
        }
    }
    engine.shutdown(true).unwrap();
    pairs
}

/// Waits until every answered send has an outcome that its sender was told.
fn settle(folder: &Path, worlds: &mut [World; 2]) {
    let until = Instant::now() + Duration::from_secs(150);
    loop {
        let open: Vec<i64> = [0, 1]
            .map(|world| journal(folder, world))
            .iter()
            .map(|journal| journal.answered.values().sum::<u64>() as i64 - journal.outcomes.len() as i64)
            .collect();
        // One of a pair can be accepted, and told, without an answer.
        if open.iter().all(|open| *open <= 0) {
            return;
        }
        if Instant::now() > until {
            worlds.iter_mut().for_each(World::die);
            panic!("{open:?} sends have no outcome: {:#?}", [0, 1].map(|world| open_sends(folder, world)));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A matrix of words, pair by pair, as the other side has it.
fn transposed(line: &str) -> Vec<&str> {
    let words: Vec<&str> = line.split(' ').collect();
    (0..ACCOUNTS * ACCOUNTS).map(|at| words[at % ACCOUNTS * ACCOUNTS + at / ACCOUNTS]).collect()
}

fn mirrored(status: &str) -> &str {
    match status {
        "Some(Requested)" => "Some(Asking)",
        "Some(Asking)" => "Some(Requested)",
        // Listed or not, nothing is between them.
        "None" | "Some(None)" => "None",
        other => other,
    }
}

// contract: durability, across two engines
#[test]
fn two_worlds_lose_double_and_move_nothing_whatever_the_pipe_does_and_whoever_is_killed() {
    let seed = from_env("ROSTERKIT_SEED", 0x0527);
    let longest = Duration::from_secs(from_env("ROSTERKIT_SECONDS", 150));
    let least = if std::env::var("ROSTERKIT_SECONDS").is_ok() { longest } else { Duration::ZERO };
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pipe = Pipe::open(folder);
    let carrier = {
        let (pipe, seed) = (Arc::clone(&pipe), random.u64(..));
        std::thread::spawn(move || pipe.carry(seed))
    };
    let mut worlds = [World::start(folder, 0), World::start(folder, 1)];
    worlds.iter().for_each(|world| assert_eq!(world.hears(), "ready"));
    let (begun, mut kills) = (Instant::now(), 0);
    while kills < ENOUGH.1 || pipe.done().iter().any(|done| *done < ENOUGH.0) || begun.elapsed() < least {
        assert!(begun.elapsed() < longest + Duration::from_secs(30), "{:?}, {kills} kills", pipe.done());
        std::thread::sleep(Duration::from_millis(random.u64(100..800)));
        let which = random.usize(0..2);
        // The old one is dead before the new one opens its file.
        worlds[which].die();
        worlds[which] = World::start(folder, which);
        if random.bool() {
            assert_eq!(worlds[which].hears(), "ready");
        }
        kills += 1;
    }
    let storm = begun.elapsed();
    worlds.iter_mut().for_each(|world| world.tell("quiet"));
    pipe.faulty.store(false, Ordering::Relaxed);
    settle(folder, &mut worlds);

    let mut rosters = [String::new(), String::new()];
    eventually("the rosters do not agree", || {
        rosters = worlds.each_mut().map(|world| world.ask("roster"));
        let there: Vec<&str> = transposed(&rosters[1]).into_iter().map(mirrored).collect();
        rosters[0].split(' ').map(|status| if status == "Some(None)" { "None" } else { status }).eq(there)
    });
    worlds.iter_mut().for_each(|world| assert_eq!(world.ask("befriend"), "done"));
    eventually("not everybody is a buddy", || {
        worlds
            .iter_mut()
            .all(|world| world.ask("roster").split(' ').all(|status| status == "Some(Confirmed)"))
    });
    worlds.iter_mut().for_each(|world| assert_eq!(world.ask("show"), "done"));
    eventually("presence does not get across", || {
        let seen = worlds.each_mut().map(|world| world.ask("presence"));
        let shown = |world: usize| STATES[1 - world].repeat(ACCOUNTS).join(" ");
        seen == [shown(0), shown(1)]
    });
    worlds.into_iter().for_each(World::end);
    pipe.over.store(true, Ordering::Relaxed);
    carrier.join().unwrap();
    let messages = audit(folder);
    let done: Vec<String> =
        FAULTS.iter().zip(pipe.done()).map(|(name, done)| format!("{done} {name}")).collect();
    println!("{messages} messages, {kills} kills, {} in {:.1} s", done.join(", "), storm.as_secs_f64());
    assert!(messages > 1_000);
}

// contract: a sender restored from an older backup loses nothing new and is told
#[test]
fn a_world_restored_from_an_older_backup_is_told_and_loses_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pipe = Pipe::open(folder);
    pipe.faulty.store(false, Ordering::Relaxed);
    let carrier = {
        let pipe = Arc::clone(&pipe);
        std::thread::spawn(move || pipe.carry(1))
    };
    let mut worlds = [World::start(folder, 0), World::start(folder, 1)];
    worlds.iter().for_each(|world| assert_eq!(world.hears(), "ready"));
    let sent = |world| journal(folder, world).answered.values().sum::<u64>();
    let more = |least: u64| eventually("nothing is sent", || sent(0) >= least);
    more(100);
    // What lies on the disk when it is killed is the backup.
    worlds[0].die();
    let backup = folder.join("backup");
    std::fs::create_dir(&backup).unwrap();
    for suffix in ["db", "db-wal"] {
        std::fs::copy(folder.join(format!("0.{suffix}")), backup.join(suffix)).unwrap();
    }
    let before = sent(0);
    worlds[0] = World::start(folder, 0);
    assert_eq!(worlds[0].hears(), "ready");
    assert_eq!(worlds[0].ask("restored"), "restored false");
    more(before + 100);
    eventually("nothing arrives", || journal(folder, 1).told.iter().flatten().count() as u64 >= before + 100);
    // The other side writes within a second what it has seen.
    std::thread::sleep(Duration::from_millis(1_500));
    worlds[0].die();
    let lost = sent(0);
    let gone = journal(folder, 0).answered;
    for suffix in ["db", "db-wal"] {
        std::fs::copy(backup.join(suffix), folder.join(format!("0.{suffix}"))).unwrap();
    }
    let _ = std::fs::remove_file(folder.join("0.db-shm"));
    worlds[0] = World::start(folder, 0);
    assert_eq!(worlds[0].hears(), "ready");
    eventually("it is not told", || worlds[0].ask("restored") == "restored true");
    more(lost + 200);
    worlds.iter_mut().for_each(|world| world.tell("quiet"));
    // What was answered after the restoring arrives, once and in order. Of what was answered between the backup and the end
    // of the file that is gone, what had not left was lost with that file.
    let wanted = journal(folder, 0).answered;
    eventually("what is new does not arrive", || {
        let told = journal(folder, 1).told;
        wanted.iter().all(|((from, to), last)| {
            let first = gone.get(&(*from, *to)).copied().unwrap_or(0) + 1;
            let mut ids = BTreeSet::new();
            let new = told[*to].iter().filter(|(_, id, text)| {
                let (sender, _, count) = numbers(text);
                sender == *from && count >= first && ids.insert(id)
            });
            let counts: Vec<u64> = new.map(|(_, _, text)| numbers(text).2).collect();
            assert!(counts.iter().copied().eq(first..first + counts.len() as u64), "{counts:?} from {first}");
            first + counts.len() as u64 > *last
        })
    });
    worlds.into_iter().for_each(World::end);
    pipe.over.store(true, Ordering::Relaxed);
    carrier.join().unwrap();
}

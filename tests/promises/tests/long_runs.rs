//! Hours and days in virtual time: who is gone does not linger, who stands still costs nothing, and nothing is lost.
//!
//! `ROSTERKIT_SEED=7 cargo test --release -p rosterkit-promises --test long_runs -- --nocapture` says how long each took.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::store::memory::MemoryStore;
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{
    Activity, Actor, Address, ChatState, Command, Content, DeviceName, Domain, Engine, EngineOptions, Event,
    EventBody, Limits, Op, Overrides, Quota, Rate, RosterEdit, Send, Session, SessionOptions, SetPresence,
    State, Timestamp,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

fn options() -> EngineOptions {
    let free = Rate { burst: u32::MAX, per_minute: u32::MAX };
    let much = Quota { count: usize::MAX, bytes: u64::MAX };
    let limits = Limits {
        sends: free,
        requests: free,
        unclaimed: much,
        unclaimed_from_one: much,
        ..Limits::default()
    };
    EngineOptions { limits, ..EngineOptions::hosting([Domain::new("example.org").unwrap()]) }
}

fn user(n: usize) -> Address {
    Address::account(&format!("user{n}@example.org")).unwrap()
}

fn actor(account: &Address) -> Actor {
    Actor { account: account.clone(), session: None }
}

/// The watcher sees the other, and not the other way round.
fn watches(engine: &Engine, watcher: &Address, subject: &Address) {
    for (account, peer, op) in [(watcher, subject, Op::Subscribe), (subject, watcher, Op::Subscribed)] {
        let edit = RosterEdit::new(peer, op);
        engine.call(&actor(account), Command::Roster(edit)).unwrap();
    }
}

/// Reads and acknowledges what is there.
fn drain(session: &Session) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let events = session.next_events(1_000, Duration::ZERO).unwrap();
        let Some(last) = events.last() else { return all };
        session.ack(last.seq);
        all.extend(events);
    }
}

/// How much of this process is in memory, in bytes (Linux; elsewhere nothing is known, and nothing compared).
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or_default() * 4_096
}

fn seed() -> u64 {
    std::env::var("ROSTERKIT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

fn open(shards: usize) -> Engine {
    let options = EngineOptions { shards, ..options() };
    Engine::open_virtual(MemoryStore::new(), options, seed(), Timestamp(1_700_000_000_000)).unwrap()
}

// contract: a slow consumer costs bounded memory, is told once, and finds the present
// behaviour: presence.newest-wins
#[test]
fn a_consumer_that_stands_still_for_an_hour_of_a_thousand_changes_a_second() {
    const SUBJECTS: usize = 5_000;
    let begun = Instant::now();
    let engine = open(2);
    let (watcher, writer) = (user(SUBJECTS), user(SUBJECTS + 1));
    for account in [&watcher, &writer] {
        engine.create_account(account).unwrap();
    }
    let many = Overrides { max_roster_items: Some(10_000), ..Overrides::default() };
    engine.call(&actor(&watcher), Command::SetPreferences(many)).unwrap();
    let subjects: Vec<Session> = (0..SUBJECTS)
        .map(|n| {
            engine.create_account(&user(n)).unwrap();
            watches(&engine, &watcher, &user(n));
            engine.open_session(&user(n), SessionOptions::default()).unwrap()
        })
        .collect();
    let reading = SessionOptions { reads_messages: true, ..SessionOptions::default() };
    let stalled = engine.open_session(&watcher, reading).unwrap();
    stalled.set_presence(SetPresence::state(State::Online)).unwrap();
    drain(&stalled);
    let mut random = fastrand::Rng::with_seed(seed());
    let mut shown = vec![State::Offline; SUBJECTS];
    let (mut at, mut after_five_minutes) = (0, 0);
    for second in 0..3_600 {
        for _ in 0..500 {
            let state = [State::Online, State::Away, State::Busy][random.usize(..3)];
            subjects[at].set_presence(SetPresence::state(state)).unwrap();
            shown[at] = state;
            subjects[at].typing(&watcher, ChatState::Composing).unwrap();
            at = (at + 1) % SUBJECTS;
        }
        if second % 36 == 0 {
            let text = format!("{}", second / 36);
            engine.send(&writer, Send::text(&watcher, &text)).unwrap();
        }
        engine.advance(SECOND).unwrap();
        if second == 300 {
            after_five_minutes = resident();
        }
    }
    let grown = resident().saturating_sub(after_five_minutes);
    println!("an hour took {:?}, and {grown} bytes", begun.elapsed());
    assert!(grown < 8 << 20, "{grown} bytes more than after five minutes");
    let events = drain(&stalled);
    let resyncs = events.iter().filter(|event| event.body == EventBody::Resync).count();
    assert_eq!(resyncs, 1);
    let texts: Vec<String> = events.iter().filter_map(text).collect();
    assert_eq!(texts, (0..100).map(|n| n.to_string()).collect::<Vec<_>>(), "no message is missing");
    assert!(events.len() < 8_300, "{} events", events.len());
    for (n, state) in shown.iter().enumerate() {
        assert_eq!(stalled.presence_of(&user(n)).unwrap().state, *state);
    }
    // And it goes on as ever.
    subjects[7].go_offline().unwrap();
    let events = drain(&stalled);
    assert!(matches!(&events[..], [Event { body: EventBody::Presence { .. }, .. }]), "{events:?}");
}

// contract: presence storms end in newest-wins slots
// behaviour: presence.newest-wins, presence.unchanged-aggregate
#[test]
fn a_hundred_thousand_sessions_that_come_and_go_are_one_event_for_who_reads_later() {
    let engine = open(2);
    let (watcher, flapping) = (user(0), user(1));
    for account in [&watcher, &flapping] {
        engine.create_account(account).unwrap();
    }
    watches(&engine, &watcher, &flapping);
    let later = engine.open_session(&watcher, SessionOptions::default()).unwrap();
    later.set_presence(SetPresence::state(State::Online)).unwrap();
    drain(&later);
    let (mut after_some, mut told) = (0, 0);
    let at_once = engine.open_session(&watcher, SessionOptions::default()).unwrap();
    at_once.set_presence(SetPresence::state(State::Away)).unwrap();
    drain(&at_once);
    for n in 0..100_000 {
        let session = engine.open_session(&flapping, SessionOptions::default()).unwrap();
        session.set_presence(SetPresence::state(State::Busy)).unwrap();
        session.close();
        engine.advance(1).unwrap();
        told += drain(&at_once).len();
        if n == 10_000 {
            after_some = resident();
        }
    }
    let grown = resident().saturating_sub(after_some);
    assert!(grown < 8 << 20, "{grown} bytes more than after 10,000");
    assert!(told <= 200_000, "{told} events: more than there were changes");
    let of_flapping =
        |event: &&Event| matches!(&event.body, EventBody::Presence { subject, .. } if *subject == flapping);
    assert!(drain(&later).iter().filter(of_flapping).count() <= 1);
    assert_eq!(later.presence_of(&flapping).unwrap().state, State::Offline);
}

/// What a phone is doing.
enum Phone {
    Foreground(Session),
    Background(Session),
    /// Since when, and how long its session may be seen yet.
    Dead {
        seen_until: u64,
    },
}

// contract: ghosts of leased sessions are gone in bounded time; every device gets every message once, in order
// behaviour: presence.lease-expires, presence.background-lease, presence.open-session-lives, delivery.devices
#[test]
fn a_day_of_a_thousand_phones() {
    const PHONES: usize = 1_000;
    const EACH: usize = 100;
    const DAY: u64 = 24 * 60;
    let begun = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::new(directory.path().join("im.db"), SqliteOptions::default());
    let start = Timestamp(1_700_000_000_000);
    let engine = Engine::open_virtual(store, options(), seed(), start).unwrap();
    let watcher = user(PHONES);
    engine.create_account(&watcher).unwrap();
    for n in 0..PHONES {
        engine.create_account(&user(n)).unwrap();
        watches(&engine, &watcher, &user(n));
    }
    // An app's own session, without a lease: nobody renews anything, and it is there all day.
    let watching = engine.open_session(&watcher, SessionOptions::default()).unwrap();
    watching.set_presence(SetPresence::state(State::Online)).unwrap();
    let phone = |n: usize| {
        let device = Some(DeviceName::new("phone").unwrap());
        let options = SessionOptions {
            reads_messages: true,
            device,
            lease_ms: Some(u64::MAX),
            ..SessionOptions::default()
        };
        let session = engine.open_session(&user(n), options).unwrap();
        session.set_presence(SetPresence::state(State::Online)).unwrap();
        session
    };
    let mut phones: Vec<Phone> = (0..PHONES).map(|n| Phone::Foreground(phone(n))).collect();
    let mut random = fastrand::Rng::with_seed(seed());
    let mut got: Vec<Vec<String>> = vec![Vec::new(); PHONES];
    let mut sent: Vec<usize> = vec![0; PHONES];
    let mut shown: BTreeMap<Address, State> = BTreeMap::new();
    let (mut deaths, mut in_hand) = (0, 0);
    for minute in 0..DAY {
        let now = minute * MINUTE;
        // Everybody gets theirs over the day; those of one minute are under way together.
        let upto = EACH * (minute as usize + 1) / DAY as usize;
        let mut sends = Vec::new();
        for (n, sent) in sent.iter_mut().enumerate() {
            while *sent < upto {
                let sender = user(random.usize(..PHONES));
                let content = Content::text(&sent.to_string());
                let send = Send { recipient: user(n), content, client_id: None, expires: None };
                sends.push((actor(&sender), Command::Send(send)));
                *sent += 1;
            }
        }
        while !sends.is_empty() {
            let rest = sends.split_off(sends.len().min(512));
            engine.submit(sends).unwrap();
            sends = rest;
            for answered in engine.next_answers(1_024, Duration::ZERO).unwrap() {
                answered.result.unwrap();
            }
        }
        for (n, phone_n) in phones.iter_mut().enumerate() {
            let next = match (&*phone_n, random.u32(..1_000)) {
                (Phone::Foreground(session), 0..20) => {
                    session.set_activity(Activity::Background).unwrap();
                    Some(Phone::Background(session.clone()))
                }
                (Phone::Background(session), 0..40) => {
                    session.set_activity(Activity::Foreground).unwrap();
                    Some(Phone::Foreground(session.clone()))
                }
                // It dies: nobody says anything, and what it shows lasts as long as its lease.
                (Phone::Foreground(_), 20..25) => Some(Phone::Dead { seen_until: now + 90 * SECOND }),
                (Phone::Background(_), 40..50) => Some(Phone::Dead { seen_until: now + 15 * MINUTE }),
                (Phone::Dead { .. }, 0..30) => Some(Phone::Foreground(phone(n))),
                _ => None,
            };
            if let Phone::Foreground(session) | Phone::Background(session) = &*phone_n {
                if let Some(Phone::Dead { .. }) = next {
                    // What it has in hand then comes again. A process that dies closes nothing, so the handle is kept.
                    in_hand += session.next_events(1_000, Duration::ZERO).unwrap().len();
                    std::mem::forget(session.clone());
                    deaths += 1;
                } else {
                    got[n].extend(drain(session).iter().filter_map(text));
                }
            }
            if let Some(next) = next {
                *phone_n = next;
            }
            match &*phone_n {
                Phone::Foreground(session) => session.touch(),
                Phone::Background(session) if minute % 10 == 0 => session.touch(),
                _ => {}
            }
        }
        engine.advance(MINUTE).unwrap();
        for event in drain(&watching) {
            if let EventBody::Presence { subject, presence } = event.body {
                shown.insert(subject, presence.state);
            }
        }
        for (n, phone) in phones.iter().enumerate() {
            let seen = shown.get(&user(n)).copied().unwrap_or(State::Offline);
            match phone {
                Phone::Dead { seen_until } if now + MINUTE > *seen_until => {
                    assert_eq!(seen, State::Offline, "the ghost of user{n} at minute {minute}");
                }
                Phone::Dead { .. } => {}
                Phone::Foreground(_) | Phone::Background(_) => {
                    assert_eq!(seen, State::Online, "user{n} at minute {minute}");
                }
            }
        }
    }
    for (n, phone_n) in phones.iter().enumerate() {
        let session = match phone_n {
            Phone::Foreground(session) | Phone::Background(session) => session.clone(),
            Phone::Dead { .. } => phone(n),
        };
        got[n].extend(drain(&session).iter().filter_map(text));
    }
    println!("a day took {:?}: {deaths} phones died, {in_hand} events in hand", begun.elapsed());
    assert!(deaths > PHONES && in_hand > 100);
    let all: Vec<String> = (0..EACH).map(|n| n.to_string()).collect();
    for (n, got) in got.iter().enumerate() {
        assert_eq!(*got, all, "user{n}");
    }
}

fn text(event: &Event) -> Option<String> {
    match &event.body {
        // Of what an account sends itself there is one row, and no copy.
        EventBody::Message(message) if !message.copy => message.content.as_text().map(str::to_owned),
        _ => None,
    }
}

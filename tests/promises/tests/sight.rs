//! Two worlds that one person must not be able to tell apart: the account they watch is there or not, hides or is away, blocks
//! them or takes messages from nobody. They do everything they can, and what they are answered and told, times included, is
//! the same; positions and ids up to their names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::store::memory::MemoryStore;
use rosterkit::{
    AcceptedSenders, Activity, Actor, Address, Amend, Amendment, Anchor, Body, ChatState, ClientId, Command,
    Content, ConversationsRequest, Direction, Domain, Engine, EngineOptions, HistoryRequest,
    LastSeenPrecision, MessageId, Overrides, Position, SearchRequest, Send, Session, SessionOptions,
    SetPresence, State, Timestamp, Visibility,
};
use rosterkit_core::planted::{Bug, plant};
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const START: i64 = 1_700_000_000_000;

/// What differs between the two worlds, and must not be seen.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hidden {
    /// To a stranger: whether a session is there, which takes everything.
    Presence,
    /// To a buddy: whether an invisible session is there, which takes everything.
    Invisible,
    /// To a buddy: whether the account hides from them, in a session that takes everything, or has gone.
    Hides,
    /// Whether one is blocked, or the account takes messages from nobody.
    Why,
    /// Whether what one sends waits in quarantine, or was refused there.
    Quarantine,
}

const ALL: [Hidden; 5] =
    [Hidden::Presence, Hidden::Invisible, Hidden::Hides, Hidden::Why, Hidden::Quarantine];

struct World {
    engine: Engine,
    eve: Session,
    /// The other's session, where there is one.
    alice: Option<Session>,
    trace: Vec<String>,
}

fn account(user: &str) -> Address {
    Address::account(&format!("{user}@example.org")).unwrap()
}

fn drain(session: &Session) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let events = session.next_events(1_000, Duration::ZERO).unwrap();
        let Some(last) = events.last() else { return all };
        session.ack(last.seq);
        all.extend(events.iter().map(|event| format!("{:?}", event.body)));
    }
}

impl World {
    fn new(hidden: Hidden, first: bool) -> World {
        let options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
        let engine = Engine::open_virtual(MemoryStore::new(), options, 7, Timestamp(START)).unwrap();
        for user in ["alice", "eve", "dan"] {
            engine.create_account(&account(user)).unwrap();
        }
        let reading = SessionOptions { reads_messages: true, ..SessionOptions::default() };
        let open = |user: &str| {
            let instance = (user == "alice").then(|| "desk".to_owned());
            engine.open_session(&account(user), SessionOptions { instance, ..reading.clone() }).unwrap()
        };
        let eve = open("eve");
        eve.set_presence(SetPresence::state(State::Online)).unwrap();
        let call =
            |user, command| engine.call(&Actor { account: account(user), session: None }, command).unwrap();
        let prefers = |accepted_senders| {
            call("alice", Command::SetPreferences(Overrides { accepted_senders, ..Overrides::default() }));
        };
        let mut alice = None;
        match (hidden, first) {
            (Hidden::Presence, true) => {
                let there = open("alice");
                there.set_presence(SetPresence::state(State::Chat)).unwrap();
                alice = Some(there);
            }
            (Hidden::Presence, false) => {}
            (Hidden::Invisible, _) => {
                let there = open("alice");
                eve.add_buddy(&account("alice"), None, None).unwrap();
                there.confirm_buddy(&account("eve")).unwrap();
                drain(&there);
                if first {
                    there
                        .set_presence(SetPresence { invisible: true, ..SetPresence::state(State::Busy) })
                        .unwrap();
                    alice = Some(there);
                } else {
                    there.close();
                }
            }
            (Hidden::Hides, _) => {
                let last_seen = Some(LastSeenPrecision::Exact);
                let exact = Overrides { last_seen, ..Overrides::default() };
                call("alice", Command::SetPreferences(exact));
                let there = open("alice");
                eve.add_buddy(&account("alice"), None, None).unwrap();
                there.confirm_buddy(&account("eve")).unwrap();
                drain(&there);
                there.set_presence(SetPresence::state(State::Chat)).unwrap();
                engine.advance(5_000).unwrap();
                if first {
                    there.set_visibility(&account("eve"), Visibility::Hidden).unwrap();
                    alice = Some(there);
                } else {
                    there.close();
                }
            }
            (Hidden::Why, true) => {
                drop(call("alice", Command::Block { address: account("eve"), blocked: true }))
            }
            (Hidden::Why, false) => prefers(Some(AcceptedSenders::Nobody)),
            (Hidden::Quarantine, true) => prefers(Some(AcceptedSenders::Quarantine)),
            (Hidden::Quarantine, false) => {
                prefers(Some(AcceptedSenders::Quarantine));
                alice = Some(open("alice"));
            }
        }
        engine.advance(10_000).unwrap();
        drain(&eve);
        World { engine, eve, alice, trace: Vec::new() }
    }

    /// Eve does something. Then some time passes, in which the other takes what came, and refuses whom it holds.
    fn step(&mut self, what: &str, answer: impl Debug) {
        self.trace.push(format!("{what}: {answer:?}"));
        for _ in 0..3 {
            if let Some(alice) = &self.alice {
                drain(alice);
                alice.refuse_sender(&account("eve"), false).unwrap();
                // Somebody is there, and acts.
                alice.set_activity(Activity::Foreground).unwrap();
            }
            self.engine.advance(5_000).unwrap();
            self.trace.extend(drain(&self.eve).into_iter().map(|event| format!("  told {event}")));
        }
    }

    fn send(&mut self, what: &str, send: Send) -> Option<MessageId> {
        let sent = self.eve.send_message(send);
        let id = sent.as_ref().ok().map(|receipt| receipt.id);
        self.step(what, sent);
        id
    }

    fn amend(&mut self, what: &str, message_id: MessageId, amendment: Amendment) {
        let amend = Amend { recipient: account("alice"), message_id, amendment, client_id: None };
        let amended = self.eve.amend(amend);
        self.step(what, amended);
    }

    fn look(&mut self) {
        let alice = account("alice");
        let presence = self.eve.presence_of(&alice);
        self.step("presence", presence);
        let seen = self.eve.last_seen(&alice);
        self.step("last seen", seen);
        for recipient in [alice.clone(), alice.with_instance("desk").unwrap()] {
            let query = self.eve.query(&recipient, Body::Text("who are you?".into()));
            self.step("query", query.map(|_| ()));
        }
        for presence in [Some(SetPresence::state(State::Away)), None] {
            let directed = self.eve.direct_presence(&alice, presence);
            self.step("direct presence", directed);
        }
        let roster = self.eve.roster();
        self.step("roster", roster);
        let request =
            HistoryRequest { peer: None, anchor: Anchor::End, direction: Direction::Older, limit: 100 };
        let history = self.eve.history(request);
        self.step("history", history);
        let request = ConversationsRequest { before: None, limit: 100 };
        let conversations = self.eve.conversations(request);
        self.step("conversations", conversations);
        let sought =
            SearchRequest { text: "hello".into(), peer: Some(alice.clone()), before: None, limit: 10 };
        let found = self.eve.search_history(sought);
        self.step("search", found);
        for path in ["profile.vcf", "public/a", "private/IM/offline"] {
            let read = Command::ReadFile { owner: Some(alice.clone()), path: path.into() };
            let actor = Actor { account: account("eve"), session: None };
            let read = self.engine.call(&actor, read);
            self.step(path, read);
        }
    }

    /// Everything that Eve can do to Alice.
    fn run(mut self) -> Vec<String> {
        let alice = account("alice");
        let text = |text: &str| Send::text(&account("alice"), text);
        self.look();
        let first = self.send("send", text("hello"));
        let once = Send { client_id: Some(ClientId::new("once").unwrap()), ..text("hello again") };
        self.send("send once", once.clone());
        self.send("and once more", once);
        self.send(
            "to a session",
            Send { recipient: alice.with_instance("desk").unwrap(), ..text("hello, you") },
        );
        self.send("expiring", Send { expires: Some(Timestamp(START + 10_000_000)), ..text("for a while") });
        let typing = self.eve.typing(&alice, ChatState::Composing);
        self.step("typing", typing);
        let read = self.eve.mark_read(&alice, Position(1_000));
        self.step("read", read);
        if let Some(first) = first {
            self.amend("edit", first, Amendment::Edit(Content::text("hello!")));
            self.amend("retract", first, Amendment::Retract);
        }
        let asked = self.eve.add_buddy(&alice, Some("Alice"), None);
        self.step("ask", asked);
        self.look();
        for blocked in [true, false] {
            let block = self.eve.block(&alice, blocked);
            self.step("block", block);
            self.send("blocking", text("still here"));
        }
        let offline = self.eve.go_offline();
        self.step("go offline", offline);
        let online = self.eve.set_presence(SetPresence::state(State::Online));
        self.step("come online", online);
        let removed = self.eve.remove_buddy(&alice);
        self.step("remove", removed);
        self.look();
        self.engine.advance(20_000_000).unwrap();
        self.step("much later", ());
        self.look();
        renamed(&self.trace)
    }
}

/// The trace with positions and ids called by the order in which they come.
fn renamed(trace: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '-';
    let rename = |line: &String| {
        let mut out = String::new();
        let mut rest = line.as_str();
        while let Some(at) = rest.find(is_part) {
            let (before, from) = rest.split_at(at);
            let (word, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
            out.push_str(before);
            let is_name = word.len() == 36 || before.ends_with("Position(");
            if is_name {
                let number = names.iter().position(|name| name == word).unwrap_or_else(|| {
                    names.push(word.to_owned());
                    names.len() - 1
                });
                out.push_str(&format!("#{number}"));
            } else {
                out.push_str(word);
            }
            rest = after;
        }
        out.push_str(rest);
        out
    };
    trace.iter().map(rename).collect()
}

/// Where the two worlds differ for Eve.
fn difference(hidden: Hidden) -> Option<String> {
    let [one, other] = [true, false].map(|first| World::new(hidden, first).run());
    let at = one.iter().zip(&other).position(|(one, other)| one != other);
    let at = at.or((one.len() != other.len()).then_some(one.len().min(other.len())))?;
    let line = |trace: &[String]| trace.get(at).cloned().unwrap_or_else(|| "nothing".into());
    Some(format!("{hidden:?}, at {at}:\n  {}\n  {}", line(&one), line(&other)))
}

/// What is planted is planted for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

// contract: one who may not see the difference is answered and told the same
// behaviour: delivery.unseen, delivery.invisible-only, admission.one-answer, receipts.unseen, quarantine.unseen, presence.who-sees, presence.visibility, last-seen.hidden, queries.nobody
#[test]
fn who_may_not_see_the_difference_is_answered_and_told_the_same() {
    let _alone = alone();
    let found: Vec<String> = ALL.into_iter().filter_map(difference).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

// contract: one who may not see the difference is answered and told the same
#[test]
fn a_leak_in_each_channel_is_found() {
    let _alone = alone();
    for bug in Bug::LEAKS {
        plant(Some(bug));
        let found: Vec<String> = ALL.into_iter().filter_map(difference).collect();
        plant(None);
        assert!(!found.is_empty(), "{bug:?} is planted, and nobody can tell");
        println!("{bug:?}: {}", found[0]);
    }
}

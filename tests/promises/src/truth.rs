//! A file with all sorts of data in it, and what an engine on it answers when it is asked for everything.
//!
//! An answer is written down as text, of what the host was promised and nothing more: what a later version says besides
//! does not make it another one.

use crate::workload::{ACCOUNTS, Run, START, Sent, address, session_options};
use rosterkit::{
    AcceptedSenders, Actor, Address, Amend, Amendment, Anchor, Answer, Command, Content,
    ConversationsRequest, Direction, Domain, Engine, Error, EventBody, HistoryRequest, InvitationToken,
    Message, Op, Overrides, Position, Registration, RegistrationKind, RosterEdit, Send, Serves, Timestamp,
};
use rosterkit::{DeviceName, Visibility};
use std::collections::BTreeMap;
use std::time::Duration;

/// Keeps what strangers send aside.
pub const WARY: &str = "wary@example.org";
/// Has whatever else an account can have.
pub const RICH: &str = "rich@example.org";
/// Is hosted nowhere here.
const OUTSIDE: &str = "friend@elsewhere.example";

/// A question's name, and the answer.
pub type Answers = BTreeMap<String, Result<Vec<String>, Error>>;

fn named(name: &str) -> Address {
    Address::account(name).unwrap()
}

fn actor(account: &Address) -> Actor {
    Actor { account: account.clone(), session: None }
}

/// Puts all sorts of data into a new file: so many steps of the workload, and one of each of what it does not do. Gives what
/// the workload sent.
pub fn fill(engine: &Engine, seed: u64, steps: usize) -> Vec<Sent> {
    let mut run = Run::new(engine.clone(), seed, &|_| {});
    run.begin();
    (0..steps).for_each(|_| run.step());
    let sent = std::mem::take(&mut run.sent);
    drop(run);
    let (wary, rich) = (named(WARY), named(RICH));
    let call = |account: &Address, command| engine.call(&actor(account), command).unwrap();
    let edit = |from: &Address, to: &Address, op| {
        let groups = Some(vec!["Friends".to_owned(), "Näherinnen".to_owned()]);
        let named = RosterEdit { name: Some(format!("who is {to}")), groups, ..RosterEdit::new(to, op) };
        call(from, Command::Roster(named));
    };
    engine.create_account(&wary).unwrap();
    engine.create_account(&rich).unwrap();
    let quarantine = AcceptedSenders::Quarantine;
    let careful = Overrides { accepted_senders: Some(quarantine), ..Overrides::default() };
    call(&wary, Command::SetPreferences(careful));
    for user in 0..ACCOUNTS {
        call(&address(user), Command::Send(Send::text(&wary, &format!("do you know me, user{user}?"))));
    }
    for (one, other) in [(0, 1), (0, 2), (1, 3)] {
        let (one, other) = (address(one), address(other));
        edit(&one, &rich, Op::Add);
        edit(&rich, &one, Op::Add);
        edit(&one, &other, Op::Add);
    }
    call(&rich, Command::Block { address: address(4), blocked: true });
    call(&rich, Command::SetVisibility { viewer: address(0), visibility: Visibility::StateOnly });
    let token = InvitationToken::from_random(*b"an invitation !!");
    call(&rich, Command::Invite { token, expires: Timestamp(START.0 + 1_000_000_000) });
    let registration = Registration {
        name: DeviceName::new("desk-phone").unwrap(),
        kind: RegistrationKind::Contact,
        contact: "sip:rich@192.0.2.1".into(),
        // Past every fixture's life.
        expires: Timestamp(START.0 + 30_000_000_000),
    };
    call(&rich, Command::AddRegistration(registration));
    let card = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Rich\r\nN:Rich;;;;\r\nEND:VCARD\r\n";
    for (path, bytes) in [
        ("profile.vcf", card.as_bytes().to_vec()),
        ("private/empty", Vec::new()),
        // Over several pages.
        ("private/long", (0..20_000u32).flat_map(|i| i.to_le_bytes()).take(30_000).collect()),
    ] {
        call(&rich, Command::WriteFile { path: path.into(), bytes });
    }
    let rules = r#"{"rules": [{"name": "quiet", "priority": 3,
        "conditions": [{"from": {"is": "user3@example.org"}}], "actions": ["discard"]}]}"#;
    call(&rich, Command::SetRules(rules.into()));
    let keeps = r#"{"rules": [{"name": "kept", "priority": 1, "actions": ["store"]}]}"#;
    engine.set_rules(None, keeps).unwrap();
    let send = Send { content: Content::text(&"long ".repeat(2_000)), ..Send::text(&rich, "") };
    let Answer::Receipt(long) = call(&address(0), Command::Send(send)) else { panic!("no receipt") };
    let Answer::Receipt(gone) = call(&address(0), Command::Send(Send::text(&rich, "not that"))) else {
        panic!("no receipt")
    };
    for (of, amendment) in [(long, Amendment::Edit(Content::text("shorter"))), (gone, Amendment::Retract)] {
        let amend = Amend { recipient: rich.clone(), message_id: of.id, amendment, client_id: None };
        call(&address(0), Command::Amend(amend));
    }
    let domain = Domain::new("example.org").unwrap();
    let overrides = Overrides { max_roster_items: Some(900), ..Overrides::default() };
    engine.set_domain(domain.clone(), overrides).unwrap();
    engine.set_rules(Some(domain), keeps).unwrap();
    // Queued for a relay that has no connection, and a buddy request behind it.
    let relay = engine.open_relay(Serves::Everything).unwrap();
    call(&rich, Command::Send(Send::text(&named(OUTSIDE), "are you there?")));
    call(&rich, Command::Roster(RosterEdit::new(&named(OUTSIDE), Op::Add)));
    drop(relay);
    engine.advance(5_000).unwrap();
    sent
}

/// Asks for everything. Nothing of it changes the file but that a session attaches, and is owed what it is told.
pub fn ask(engine: &Engine) -> Answers {
    let mut answers = Answers::new();
    let (wary, rich) = (named(WARY), named(RICH));
    for account in (0..ACCOUNTS).map(address).chain([wary, rich]) {
        let commands = [
            ("roster", Command::ReadRoster { since: Position::ZERO }),
            ("history", history(None)),
            ("history with user1", history(Some(address(1)))),
            ("conversations", Command::ReadConversations(ConversationsRequest { before: None, limit: 100 })),
            ("blocked", Command::ReadBlocked),
            ("preferences", Command::ReadPreferences),
            ("rules", Command::ReadRules),
            ("registrations", Command::ReadRegistrations),
            ("devices", Command::ReadDevices),
            ("quarantine", Command::ReadQuarantined { after: Position::ZERO, limit: 100 }),
            ("files", Command::ListFiles { prefix: String::new() }),
            ("public/number", file("public/number")),
            ("profile.vcf", file("profile.vcf")),
            ("private/long", file("private/long")),
        ];
        for (what, command) in commands {
            let answer = engine.call(&actor(&account), command).map(|answer| lines(&answer));
            answers.insert(format!("{account}: {what}"), answer);
        }
    }
    for (domain, overrides) in engine.domains() {
        answers.insert(domain, Ok(vec![format!("{:?}", overrides.max_roster_items)]));
    }
    for (what, domain) in [("rules", None), ("rules of the domain", Domain::new("example.org").ok())] {
        answers.insert(what.into(), engine.rules(domain.as_ref()).map(|json| vec![json]));
    }
    answers
}

/// What a new session of an account is told; and whether it was ended before that was all.
pub fn told(engine: &Engine, user: usize) -> rosterkit::Result<(Vec<String>, bool)> {
    let session = engine.open_session(&address(user), session_options(user))?;
    let (mut told, mut ended) = (Vec::new(), false);
    while let Ok(events) = session.next_events(1_000, Duration::ZERO)
        && let Some(last) = events.last()
    {
        session.ack(last.seq);
        for event in &events {
            match &event.body {
                EventBody::Message(message) => told.push(line(message)),
                EventBody::Ended(_) => ended = true,
                _ => {}
            }
        }
    }
    Ok((told, ended))
}

fn history(peer: Option<Address>) -> Command {
    Command::ReadHistory(HistoryRequest {
        peer,
        anchor: Anchor::End,
        direction: Direction::Older,
        limit: 1_000,
    })
}

fn file(path: &str) -> Command {
    Command::ReadFile { owner: None, path: path.into() }
}

fn line(message: &Message) -> String {
    let Message {
        position, id, sender, recipient, time, content, outcome, amended, expires, receipt, ..
    } = message;
    let text = content.as_text().unwrap_or_default();
    format!(
        "{} {id} {sender} to {recipient} at {} {outcome:?} {amended:?} {expires:?} {receipt:?}: {text}",
        position.0, time.0
    )
}

fn lines(answer: &Answer) -> Vec<String> {
    match answer {
        Answer::Roster(roster) => roster
            .buddies
            .iter()
            .map(|buddy| {
                let of = (&buddy.name, &buddy.groups, buddy.status(), buddy.version.0);
                format!("{} {of:?}", buddy.address)
            })
            .collect(),
        Answer::History(page) => page.messages.iter().map(line).collect(),
        Answer::Conversations(page) => page
            .conversations
            .iter()
            .map(|one| {
                let marks = (one.marks.read.0, one.marks.delivered.0, one.marks.displayed.0);
                format!("{} {} {marks:?} {}", one.peer, one.unread, line(&one.latest))
            })
            .collect(),
        Answer::Blocked(all) => all.iter().map(ToString::to_string).collect(),
        Answer::Preferences(all) => vec![format!("{:?} {}", all.accepted_senders, all.keep_history)],
        Answer::Rules(json) => vec![json.clone()],
        Answer::Registrations(all) => {
            all.iter().map(|one| format!("{} {} {}", one.name.as_str(), one.contact, one.expires.0)).collect()
        }
        Answer::Devices(all) => all.iter().map(|device| device.as_str().to_owned()).collect(),
        Answer::Files(all) => all.iter().map(|one| format!("{} {}", one.path, one.size)).collect(),
        Answer::File(bytes) => {
            // Long ones would make the fixtures long.
            let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
            });
            vec![format!("{} bytes, {hash:016x}", bytes.len())]
        }
        other => panic!("nobody asked for {other:?}"),
    }
}

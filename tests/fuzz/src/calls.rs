//! Sequences of calls: whatever is asked for in whatever order, nothing fails but what is refused, and what an engine shows
//! of its accounts the next one on the same store shows too.

use rosterkit::store::Store;
use rosterkit::store::memory::MemoryStore;
use rosterkit::{
    AcceptedSenders, Activity, Actor, Address, Amend, Amendment, Anchor, Answer, Body, ChatState, ClientId,
    Command, Content, ConversationsRequest, DeviceName, Direction, Domain, Engine, EngineOptions, Error,
    ErrorKind, EventBody, HistoryRequest, InvitationToken, LastSeenPrecision, MessageId, Op, Overrides,
    Position, PresenceLayer, Receipts, Registration, RegistrationKind, RosterEdit, SearchRequest, Send,
    Session, SessionOptions, SetPresence, State, Timestamp, Visibility,
};
use std::sync::Arc;
use std::time::Duration;

const START: Timestamp = Timestamp(1_700_000_000_000);
/// How many calls are made at the most: a sequence that fails is to be read by somebody.
const MOST: usize = 300;
const USERS: [&str; 5] = [
    "alice@example.org",
    "bob@example.org",
    "carol@example.org",
    "nobody@example.org",
    "outside@example.net",
];
const RULES: [&str; 4] = [
    r#"{"rules": []}"#,
    r#"{"rules": [{"name": "on", "priority": 5, "actions": [{"redirect-to": ["bob@example.org"]}]}]}"#,
    r#"{"rules": [{"name": "too", "priority": 5, "actions": [{"fork-to": ["carol@example.org"]}]}]}"#,
    r#"{"rules": [{"name": "late", "stage": {"after-delay": 60}, "priority": 5,
        "actions": [{"SendIM": {"to": "alice@example.org", "text": "later"}}]}]}"#,
];

/// The bytes are the calls, one after the other. Says whether any was made.
pub fn calls(input: &[u8]) -> bool {
    let store: Arc<dyn Store> = MemoryStore::new();
    let mut world = World {
        engine: open(&store),
        sessions: Vec::new(),
        sent: Vec::new(),
        queries: Vec::new(),
        places: Vec::new(),
    };
    let mut bytes = Bytes(input);
    let mut made = 0;
    while made < MOST
        && let Some(what) = bytes.next()
    {
        world.step(what, &mut bytes);
        assert_eq!(world.engine.failure(), None);
        made += 1;
    }
    // What is lazy is written, what is under way has arrived.
    world.sessions.clear();
    accept(world.engine.advance(5_000));
    let before = shown(&world.engine);
    accept(world.engine.shutdown(true));
    let engine = open(&store);
    accept(engine.advance(0));
    assert_eq!(before, shown(&engine), "the next engine shows something else");
    accept(engine.shutdown(false));
    made > 0
}

fn open(store: &Arc<dyn Store>) -> Engine {
    let Ok(domain) = Domain::new("example.org") else { panic!("a domain") };
    match Engine::open_virtual(Arc::clone(store), EngineOptions::hosting([domain]), 7, START) {
        Ok(engine) => engine,
        Err(error) => panic!("{error}"),
    }
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// One of so many.
    fn of(&mut self, count: usize) -> usize {
        self.next().map_or(0, usize::from) % count
    }

    fn flag(&mut self) -> bool {
        self.of(2) == 1
    }

    fn choice<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { all.get(self.of(all.len())).cloned() }
    }
}

struct World {
    engine: Engine,
    sessions: Vec<Session>,
    /// What was sent to whom.
    sent: Vec<(Address, MessageId)>,
    queries: Vec<u64>,
    places: Vec<Position>,
}

fn user(number: usize) -> Address {
    match Address::account(USERS[number % USERS.len()]) {
        Ok(address) => address,
        Err(refusal) => panic!("{refusal}"),
    }
}

/// What was asked for is done, or refused; nothing else happens.
fn accept<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(!matches!(error.kind, ErrorKind::Internal | ErrorKind::Storage { .. }), "{error}");
            None
        }
    }
}

impl World {
    fn step(&mut self, what: u8, bytes: &mut Bytes<'_>) {
        match what % 8 {
            0 => drop(accept(self.engine.create_account(&user(bytes.of(5))))),
            1 => {
                let device = bytes.flag().then(|| DeviceName::new(["phone", "desk"][bytes.of(2)]).ok());
                let options = SessionOptions {
                    device: device.flatten(),
                    instance: bytes.flag().then(|| "here".to_owned()),
                    lease_ms: bytes.flag().then_some(60_000),
                    reads_messages: bytes.flag(),
                    observes: bytes.of(4) == 3,
                    ..SessionOptions::default()
                };
                self.sessions.extend(accept(self.engine.open_session(&user(bytes.of(5)), options)));
            }
            2 => self.read(bytes),
            3 => drop(accept(self.engine.advance([1, 1_000, 31_000, 3_600_000, 90_000_000][bytes.of(5)]))),
            _ => {
                let session = bytes.choice(&self.sessions).filter(|_| bytes.flag());
                let account = session.as_ref().map_or_else(|| user(bytes.of(5)), |it| it.account().clone());
                let actor = Actor { account, session: session.as_ref().map(Session::id) };
                let Some((command, to)) = self.command(bytes) else { return };
                match accept(self.engine.call(&actor, command)) {
                    Some(Answer::Receipt(receipt)) => {
                        self.places.push(receipt.position);
                        self.sent.extend(to.map(|to| (to, receipt.id)));
                    }
                    Some(Answer::History(history)) => {
                        assert!(history.messages.is_sorted_by_key(|message| message.position));
                    }
                    Some(Answer::Conversations(page)) => {
                        assert!(page.conversations.iter().all(|one| one.unread <= 1_000));
                    }
                    _ => {}
                }
            }
        }
    }

    /// A session takes what waits for it, or is closed.
    fn read(&mut self, bytes: &mut Bytes<'_>) {
        let Some(session) = bytes.choice(&self.sessions) else { return };
        let most = 1 + bytes.of(20);
        let events = accept(session.next_events(most, Duration::ZERO)).unwrap_or_default();
        assert!(events.is_sorted_by_key(|event| event.seq) && events.len() <= most);
        for event in &events {
            match &event.body {
                EventBody::Message(message) => self.places.push(message.position),
                EventBody::Query { query, .. } => self.queries.push(*query),
                EventBody::Ended(_) => self.sessions.retain(|other| other.id() != session.id()),
                _ => {}
            }
        }
        match (bytes.of(5), events.last()) {
            (0, _) => session.fail(),
            (1, _) => session.hand_back(),
            (2, _) => {
                session.close();
                self.sessions.retain(|other| other.id() != session.id());
            }
            (_, Some(last)) => session.ack(last.seq),
            (_, None) => {}
        }
    }

    fn command(&self, bytes: &mut Bytes<'_>) -> Option<(Command, Option<Address>)> {
        let peer = user(bytes.of(5));
        let position = |bytes: &mut Bytes<'_>| bytes.choice(&self.places).unwrap_or(Position(3));
        let soon = |bytes: &mut Bytes<'_>| Timestamp(START.0 + [1_000, 120_000, 1 << 40][bytes.of(3)]);
        let path = |bytes: &mut Bytes<'_>| {
            ["public/a", "b", "profile.vcf", "private/IM/x", "../c"][bytes.of(5)].to_owned()
        };
        let token = |bytes: &mut Bytes<'_>| InvitationToken::from_random([bytes.of(4) as u8; 16]);
        let device = |bytes: &mut Bytes<'_>| DeviceName::new(["phone", "desk"][bytes.of(2)]).ok();
        let presence = |bytes: &mut Bytes<'_>| SetPresence {
            note: bytes.flag().then(|| "note".to_owned()),
            priority: [0, -1, 5][bytes.of(3)],
            until: bytes.flag().then(|| soon(bytes)),
            invisible: bytes.flag(),
            layer: if bytes.flag() { PresenceLayer::Manual } else { PresenceLayer::Automatic },
            ..SetPresence::state(State::ALL[bytes.of(State::ALL.len())])
        };
        let body = |bytes: &mut Bytes<'_>| match bytes.of(3) {
            0 => Body::Data { media_type: "a/b".into(), bytes: vec![7; bytes.of(200)].into() },
            _ => Body::Text("hello ".repeat(bytes.of(9)).into()),
        };
        let command = match bytes.of(32) {
            0..=5 => {
                let to = match bytes.of(4) {
                    0 => peer.with_instance("here").unwrap_or(peer),
                    _ => peer,
                };
                let client_id = bytes.flag().then(|| ClientId::new(["one", "two"][bytes.of(2)]).ok());
                let content = Content { body: body(bytes), ..Content::text("") };
                let expires = bytes.flag().then(|| soon(bytes));
                let send = Send { recipient: to.clone(), content, client_id: client_id.flatten(), expires };
                return Some((Command::Send(send), Some(to.bare())));
            }
            6 => {
                let (recipient, message_id) = bytes.choice(&self.sent)?;
                let amendment = match bytes.flag() {
                    true => Amendment::Retract,
                    false => Amendment::Edit(Content::text("edited")),
                };
                Command::Amend(Amend { recipient, message_id, amendment, client_id: None })
            }
            7 => Command::MarkRead { peer, upto: position(bytes) },
            8 => Command::Typing { recipient: peer, state: ChatState::Composing },
            9 => Command::SetPresence(presence(bytes)),
            10 => Command::ClearPresence(PresenceLayer::Manual),
            11 => {
                Command::DirectPresence { recipient: peer, presence: bytes.flag().then(|| presence(bytes)) }
            }
            12 => Command::SetActivity(
                [Activity::Foreground, Activity::Background, Activity::Suspended][bytes.of(3)],
            ),
            13..=15 => {
                let ops = [
                    Op::Add,
                    Op::Remove,
                    Op::Subscribe,
                    Op::Subscribed,
                    Op::Unsubscribe,
                    Op::Unsubscribed,
                    Op::Update,
                ];
                let op = ops[bytes.of(ops.len())];
                let token = bytes.flag().then(|| token(bytes));
                Command::Roster(RosterEdit { token, ..RosterEdit::new(&peer, op) })
            }
            16 => Command::Invite { token: token(bytes), expires: soon(bytes) },
            17 => Command::RevokeInvitations(bytes.flag().then(|| token(bytes))),
            18 => Command::Block { address: peer, blocked: bytes.flag() },
            19 => Command::SetVisibility {
                viewer: peer,
                visibility: [Visibility::Full, Visibility::StateOnly, Visibility::Hidden][bytes.of(3)],
            },
            20 => Command::SetPreferences(Overrides {
                accepted_senders: Some(
                    [AcceptedSenders::Everybody, AcceptedSenders::Nobody, AcceptedSenders::Quarantine]
                        [bytes.of(3)],
                ),
                offline_storage: Some(bytes.flag()),
                keep_history: Some(bytes.flag()),
                deliver_to_devices: Some(bytes.flag()),
                receipts: Some([Receipts::All, Receipts::Nothing][bytes.of(2)]),
                last_seen: Some([LastSeenPrecision::Exact, LastSeenPrecision::Nothing][bytes.of(2)]),
                history_days: Some([0, 1][bytes.of(2)]),
                history_messages: Some([0, 3][bytes.of(2)]),
                ..Overrides::default()
            }),
            21 => Command::SetRules(RULES[bytes.of(RULES.len())].to_owned()),
            22 => Command::AddRegistration(Registration {
                name: device(bytes)?,
                kind: [RegistrationKind::Contact, RegistrationKind::Push][bytes.of(2)],
                contact: "sip:somewhere".into(),
                expires: soon(bytes),
            }),
            23 => match bytes.flag() {
                true => Command::RemoveRegistration(device(bytes)?),
                false => Command::Claim(vec![position(bytes)]),
            },
            24 => Command::WriteFile { path: path(bytes), bytes: vec![b'x'; bytes.of(100)] },
            25 => match bytes.of(3) {
                0 => Command::RemoveFile { path: path(bytes) },
                1 => Command::ReadFile { owner: Some(peer), path: path(bytes) },
                _ => Command::ListFiles { prefix: String::new() },
            },
            26 => Command::Forget { peer: bytes.flag().then_some(peer) },
            27 => match bytes.of(3) {
                0 => Command::SearchHistory(SearchRequest {
                    text: "he".into(),
                    peer: bytes.flag().then_some(peer),
                    before: None,
                    limit: 10,
                }),
                1 => Command::ReadConversations(ConversationsRequest { before: None, limit: 2 }),
                _ => Command::ReadHistory(HistoryRequest {
                    peer: bytes.flag().then_some(peer),
                    anchor: Anchor::Row(position(bytes)),
                    direction: if bytes.flag() { Direction::Older } else { Direction::Newer },
                    limit: 3,
                }),
            },
            28 => match bytes.of(4) {
                0 => Command::AdmitSender(peer),
                1 => Command::RefuseSender { sender: peer, block: bytes.flag() },
                2 => Command::ReadQuarantined { after: Position::ZERO, limit: 10 },
                _ => Command::RetireDevice(device(bytes)?),
            },
            29 => match bytes.of(4) {
                0 => Command::ExplainPresence { viewer: peer },
                1 => Command::ExplainAdmission { sender: peer },
                2 => Command::ExplainRules { sender: peer, text: "hello".into() },
                _ => Command::ExplainDelivery(position(bytes)),
            },
            30 => match bytes.of(3) {
                0 => Command::Query { recipient: peer.with_instance("here").ok()?, body: body(bytes) },
                1 => Command::AnswerQuery {
                    query: bytes.choice(&self.queries)?,
                    body: bytes.flag().then(|| body(bytes)),
                },
                _ => Command::ReadLastSeen(peer),
            },
            _ => match bytes.of(6) {
                0 => Command::DeleteAccount,
                1 => Command::GoOffline,
                2 => Command::ReadBlocked,
                3 => Command::ReadDevices,
                4 => Command::ReadRoster { since: position(bytes) },
                _ => Command::ReadPresence(peer),
            },
        };
        Some((command, None))
    }
}

/// What the accounts have on disk, as far as a host can ask for it.
fn shown(engine: &Engine) -> Vec<String> {
    let mut all = Vec::new();
    let end = |peer| HistoryRequest { peer, anchor: Anchor::End, direction: Direction::Older, limit: 1_000 };
    for number in 0..3 {
        let actor = Actor { account: user(number), session: None };
        for command in [
            Command::ReadRoster { since: Position::ZERO },
            Command::ReadBlocked,
            Command::ReadPreferences,
            Command::ReadDevices,
            Command::ReadRules,
            Command::ListFiles { prefix: "public/".into() },
            Command::ReadQuarantined { after: Position::ZERO, limit: 1_000 },
            Command::ReadConversations(ConversationsRequest { before: None, limit: 1_000 }),
            Command::ReadHistory(end(None)),
            Command::ReadHistory(end(Some(user(number + 1)))),
        ] {
            all.push(format!("{:?}", accept(engine.call(&actor, command))));
        }
    }
    all
}

//! One suite for both stores: whatever is written, and however often the file is indexed and opened anew in between, both
//! read the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use rosterkit_core::account::{Cursor, Progress, Record};
use rosterkit_core::address::{Address, Domain};
use rosterkit_core::content::Content;
use rosterkit_core::delivery::marks::Marks;
use rosterkit_core::id::{AddressId, ClientId, DeviceName, DeviceNumber, MessageId, Position};
use rosterkit_core::invitation::{Invitation, InvitationToken};
use rosterkit_core::preferences::Overrides;
use rosterkit_core::registration::{Registration, RegistrationKind};
use rosterkit_core::roster::{Buddy, Op as RosterOp, Signal};
use rosterkit_core::row::{Amendment, Entry, Kind, Outcome, Side, Sides, Word};
use rosterkit_core::rules::RuleSet;
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{Credential, Due, File, Forward, OWN, Pending, RulesOf, Write};
use rosterkit_store::memory::MemoryStore;
use rosterkit_store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit_store::{Anchor, Direction, DueRow, HistoryQuery, Item, Opened, Store};
use std::sync::Arc;

const ACCOUNTS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Append { sender: usize, recipient: usize, histories: u8, client_id: bool, time: i64, request: bool },
    Clear { row: usize, side: bool },
    Relay { row: usize, failed: bool },
    Amend { row: usize, retract: bool },
    Due { row: usize, done: bool },
    Forward { row: usize, target: usize, done: bool },
    Release { row: usize, admit: bool },
    Rules { of: usize, any: bool },
    Register { user: usize, expires: i64 },
    Mark { account: usize, peer: usize, marks: [u64; 3] },
    Deliver { origin: usize, recipient: usize, number: u8 },
    Claim { account: usize, row: usize },
    Buddy { account: usize, peer: usize },
    Pend { origin: usize, recipient: usize },
    Settle(usize),
    Remake(usize),
    File(usize),
    Index { all: bool },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0..ACCOUNTS;
    prop_oneof![
        8 => (user.clone(), user.clone(), 0u8..4, any::<bool>(), 0i64..50, prop::bool::weighted(0.1)).prop_map(
            |(sender, recipient, histories, client_id, time, request)| Step::Append {
                sender, recipient, histories, client_id, time, request,
            }
        ),
        5 => (0usize..60, any::<bool>()).prop_map(|(row, side)| Step::Clear { row, side }),
        2 => (0usize..60, any::<bool>()).prop_map(|(row, failed)| Step::Relay { row, failed }),
        2 => (0usize..60, any::<bool>()).prop_map(|(row, retract)| Step::Amend { row, retract }),
        1 => (0usize..60, any::<bool>()).prop_map(|(row, done)| Step::Due { row, done }),
        3 => (0usize..60, user.clone(), any::<bool>())
            .prop_map(|(row, target, done)| Step::Forward { row, target, done }),
        3 => (0usize..60, any::<bool>()).prop_map(|(row, admit)| Step::Release { row, admit }),
        1 => (user.clone(), 0i64..50).prop_map(|(user, expires)| Step::Register { user, expires }),
        1 => (0..ACCOUNTS + 2, any::<bool>()).prop_map(|(of, any)| Step::Rules { of, any }),
        1 => (user.clone(), user.clone(), [0u64..60, 0u64..60, 0u64..60])
            .prop_map(|(account, peer, marks)| Step::Mark { account, peer, marks }),
        1 => (user.clone(), user.clone(), 0u8..3)
            .prop_map(|(origin, recipient, number)| Step::Deliver { origin, recipient, number }),
        2 => (user.clone(), 0usize..60).prop_map(|(account, row)| Step::Claim { account, row }),
        1 => (user.clone(), user.clone()).prop_map(|(account, peer)| Step::Buddy { account, peer }),
        1 => (user.clone(), user.clone()).prop_map(|(origin, recipient)| Step::Pend { origin, recipient }),
        1 => (0usize..10).prop_map(Step::Settle),
        1 => user.clone().prop_map(Step::Remake),
        1 => user.prop_map(Step::File),
        3 => any::<bool>().prop_map(|all| Step::Index { all }),
        1 => Just(Step::Reopen),
    ]
}

fn amendment(text: &str, retract: bool) -> Amendment {
    if retract { Amendment::Retract } else { Amendment::Edit(Content::text(text)) }
}

fn address(user: usize) -> Address {
    Address::account(&format!("user{user}@example.org")).unwrap()
}

/// A store, open, and what it needs to be told the same as the other.
struct Subject {
    store: Arc<dyn Store>,
    open: Option<Opened>,
}

impl Subject {
    fn new(store: Arc<dyn Store>) -> Self {
        let open = store.open().unwrap();
        Subject { store, open: Some(open) }
    }

    fn open(&mut self) -> &mut Opened {
        self.open.as_mut().unwrap()
    }

    fn reopen(&mut self) -> Position {
        self.open = None;
        let open = self.store.open().unwrap();
        let first = open.facts.first_position;
        self.open = Some(open);
        first
    }
}

struct Suite {
    subjects: [Subject; 2],
    ids: Vec<AddressId>,
    serial: u64,
    next: u64,
    rows: Vec<Position>,
    messages: Vec<Position>,
    pending: Vec<(Position, Address)>,
    number: u64,
    _directory: tempfile::TempDir,
}

impl Suite {
    fn new() -> Suite {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteOptions { tail_rows: 16, ..SqliteOptions::small() };
        let sqlite = Subject::new(SqliteStore::new(directory.path().join("im.db"), options));
        let mut suite = Suite {
            subjects: [sqlite, Subject::new(MemoryStore::new())],
            ids: Vec::new(),
            serial: 1,
            next: 1,
            rows: Vec::new(),
            messages: Vec::new(),
            pending: Vec::new(),
            number: 0,
            _directory: directory,
        };
        suite.write(vec![Write::Domain(Domain::new("example.org").unwrap(), Overrides::default())]);
        for user in 0..ACCOUNTS {
            let id = suite.make(user);
            suite.ids.push(id);
        }
        suite
    }

    fn make(&mut self, user: usize) -> AddressId {
        let id = AddressId::new(self.serial, address(user).slot());
        self.serial += 1;
        let record = Arc::new(Record::new(id, address(user)));
        self.write(vec![Write::Address { id, address: address(user) }, Write::AccountCreated(record)]);
        id
    }

    fn write(&mut self, mut writes: Vec<Write>) -> Position {
        let position = Position(self.next);
        self.next += 1;
        writes.iter_mut().for_each(|write| write.place(position));
        let items = [Item { writes }];
        for subject in &mut self.subjects {
            assert!(position < subject.open().writer.reserved());
            subject.open().writer.commit(&items).unwrap();
        }
        position
    }

    fn take(&mut self, step: Step) {
        self.number += 1;
        match step {
            Step::Append { sender, recipient, histories, client_id, time, request } => {
                let text = format!("row {}", self.number);
                let kind = match request {
                    true => Kind::BuddyRequest { note: text.as_str().into() },
                    false if time % 11 == 0 => Kind::Amendment {
                        of: Position(time as u64),
                        of_id: MessageId::new(time, [8; 10]),
                        amendment: amendment(&text, time % 2 == 0),
                    },
                    false => Kind::Message(Content {
                        reply_to: (time % 4 == 0).then(|| MessageId::new(time, [9; 10])),
                        ..Content::text(&text)
                    }),
                };
                let id = MessageId::new(self.number as i64, [7; 10]);
                let entry = Entry {
                    device: (time % 3 == 0).then_some(DeviceNumber(3)),
                    instance: (time % 2 == 0).then(|| "here".into()),
                    client_id: client_id.then(|| ClientId::new(&format!("c{}", self.number)).unwrap()),
                    fingerprint: if client_id { self.number } else { 0 },
                    word: [Word::Stored, Word::Delivered, Word::Queued][time as usize % 3],
                    expires: (time % 7 == 0).then_some(Timestamp(time * 2)),
                    // A field of a later version: kept as it is.
                    unknown: if time % 5 == 0 { vec![99, 2, 1, 2] } else { Vec::new() },
                    ..Entry::new(self.ids[sender], self.ids[recipient], id, Timestamp(time), kind)
                };
                let mut sides = Sides::new(histories & 1 != 0, histories & 2 != 0);
                if entry.word != Word::Queued && time % 4 == 0 {
                    sides = sides.quarantined(true);
                }
                let position = self.write(vec![Write::append(entry, sides)]);
                self.rows.push(position);
                if !request && time % 11 != 0 {
                    self.messages.push(position);
                }
            }
            Step::Clear { row, side } => {
                let Some(&position) = self.rows.get(row) else {
                    return;
                };
                let side = if side { Side::Sender } else { Side::Recipient };
                self.write(vec![Write::ClearSide { position, side }]);
            }
            Step::Relay { row, failed } => {
                let Some(&position) = self.rows.get(row) else {
                    return;
                };
                let failed = failed.then(|| Outcome::Failed { reason: "nobody is there".into() });
                self.write(vec![Write::Relayed { position, outcome: failed.unwrap_or(Outcome::Relayed) }]);
            }
            Step::Amend { row, retract } => {
                let Some(&position) = self.messages.get(row) else {
                    return;
                };
                let amendment = amendment(&format!("later {}", self.number), retract);
                self.write(vec![Write::Amend { position, amendment, time: Timestamp(self.number as i64) }]);
            }
            Step::Due { row, done } => {
                let Some(&position) = self.rows.get(row) else {
                    return;
                };
                let what = if row % 2 == 0 { Due::Expiry } else { Due::Rules(60) };
                let (recipient, time) = (self.ids[row % ACCOUNTS], Timestamp(row as i64));
                self.write(vec![match done {
                    true => Write::DueDone { position, what },
                    false => Write::Due { position, recipient, time, what },
                }]);
            }
            Step::Forward { row, target, done } => {
                let Some(&position) = self.rows.get(row) else {
                    return;
                };
                let (target, redirects) = (address(target), row % 2 == 0);
                // What is gone is not sent on.
                let there = self.subjects[1].open().reader.rows_at(&[position]).unwrap();
                self.write(match done {
                    true => vec![Write::Forwarded { position, target }],
                    false if there.is_empty() => Vec::new(),
                    false => vec![Write::Forward(Forward { position, target, redirects })],
                });
            }
            Step::Release { row, admit } => {
                let Some(&position) = self.rows.get(row) else {
                    return;
                };
                let row = self.subjects[1].open().reader.rows_at(&[position]).unwrap();
                let held = row.first().filter(|row| row.sides.is_quarantined());
                let mut writes = Vec::new();
                if let Some(row) = held.filter(|_| admit) {
                    let sides = Sides::new(true, false).cleared(Side::Sender);
                    // What was sent once has its client id once.
                    let entry = Entry { client_id: None, fingerprint: 0, ..row.entry.clone() };
                    writes.push(Write::append(entry, sides));
                }
                let admitted_as = (!writes.is_empty()).then_some(OWN);
                let is_admitted = admitted_as.is_some();
                writes.push(Write::Release { position, admitted_as });
                let position = self.write(writes);
                if is_admitted {
                    self.rows.push(position);
                }
            }
            Step::Register { user, expires } => {
                let registration = Registration {
                    name: DeviceName::new("phone").unwrap(),
                    kind: if expires % 3 == 0 { RegistrationKind::Push } else { RegistrationKind::Contact },
                    contact: format!("sip:{}", self.number).into(),
                    expires: Timestamp(expires),
                };
                let registrations = if expires % 5 == 0 { Vec::new() } else { vec![registration] };
                let token = InvitationToken::from_random([user as u8; 16]).hash();
                let invitations = vec![Invitation { token, expires: Timestamp(expires) }; 2];
                let record =
                    Record { registrations, invitations, ..Record::new(self.ids[user], address(user)) };
                self.write(vec![Write::Account(Arc::new(record))]);
            }
            Step::Rules { of, any } => {
                let json = format!("{{\"rules\":[{{\"name\":\"{}\",\"priority\":5}}]}}", self.number);
                let rules = any.then(|| Arc::new(RuleSet::load(&json).unwrap()));
                let owner = match of {
                    0 => RulesOf::Server,
                    1 => RulesOf::Domain(Domain::new("example.org").unwrap()),
                    of => RulesOf::Account(self.ids[of - 2]),
                };
                self.write(vec![Write::Rules(owner, rules)]);
            }
            Step::Mark { account, peer, marks } => {
                let [read, delivered, displayed] = marks.map(Position);
                let marks = Marks { read, delivered, displayed };
                self.write(vec![Write::Marks { account: self.ids[account], peer: self.ids[peer], marks }]);
            }
            Step::Deliver { origin, recipient, number } => {
                self.write(vec![Write::Delivery {
                    origin: self.ids[origin],
                    recipient: self.ids[recipient],
                    delivery_id: format!("d{number}").into(),
                    time: Timestamp(self.number as i64),
                }]);
                self.write(vec![Write::Seen {
                    file_generation: number.into(),
                    position: Position(self.number * 7 % 30),
                }]);
            }
            Step::Claim { account, row } => {
                let Some(&position) = self.rows.get(row) else {
                    return;
                };
                let mut progress = Progress::default();
                progress.claims.claim(position);
                progress.claims.advance(self.rows.first().copied(), position);
                progress.cursors.push(Cursor { device: DeviceNumber(1), position, seen: Timestamp(-5) });
                self.write(vec![Write::Progress(self.ids[account], progress)]);
            }
            Step::Buddy { account, peer } => {
                let mut buddy = Buddy::new(self.ids[peer], address(peer));
                buddy.halves.act(RosterOp::Add, OWN);
                buddy.version = OWN;
                buddy.listed = self.number.is_multiple_of(2);
                buddy.rename(format!("name {}", self.number)).unwrap();
                buddy.regroup(vec!["b".into(), "a".into()]).unwrap();
                self.write(vec![Write::Buddy(self.ids[account], buddy)]);
            }
            Step::Pend { origin, recipient } => {
                let token = self.number.is_multiple_of(3).then(|| InvitationToken::from_random([9; 16]));
                let signal = Signal { op: RosterOp::Add, stamp: OWN, note: "hello".into(), token };
                let pending = Pending {
                    position: OWN,
                    origin: self.ids[origin],
                    origin_address: address(origin),
                    recipient: address(recipient),
                    signal,
                };
                let position = self.write(vec![Write::Pend(pending)]);
                self.pending.push((position, address(recipient)));
            }
            Step::Settle(which) => {
                if which < self.pending.len() {
                    let (position, recipient) = self.pending.remove(which);
                    self.write(vec![Write::Settle { position, recipient }]);
                }
            }
            Step::Remake(user) => {
                self.write(vec![Write::AccountDeleted(self.ids[user])]);
                self.ids[user] = self.make(user);
            }
            Step::File(user) => {
                let bytes = vec![self.number as u8; 3];
                let file =
                    File { path: "profile.vcf".into(), bytes, modified: Timestamp(self.number as i64) };
                let credential =
                    Credential { mechanism: "SCRAM-SHA-1".into(), verifier: vec![self.number as u8] };
                if self.number.is_multiple_of(3) {
                    self.write(vec![Write::FileRemoved(self.ids[user], "profile.vcf".into())]);
                    return;
                }
                self.write(vec![
                    Write::File(self.ids[user], file),
                    Write::Credential(self.ids[user], credential),
                ]);
            }
            Step::Index { all } => {
                for subject in &mut self.subjects {
                    while subject.open().writer.index(true).unwrap() && all {}
                }
            }
            Step::Reopen => {
                let firsts = self.subjects.each_mut().map(Subject::reopen);
                let sent = self.subjects.each_ref().map(|s| s.open.as_ref().unwrap().facts.sent);
                assert_eq!(sent[0], sent[1]);
                let rules = self.subjects.each_ref().map(|s| {
                    let mut rules = s.open.as_ref().unwrap().facts.rules.clone();
                    rules.sort_by_key(|(owner, _)| owner.clone());
                    rules
                });
                assert_eq!(rules[0], rules[1]);
                assert!(firsts.iter().all(|first| first.0 >= self.next), "a position would be given again");
                self.next = firsts.iter().map(|p| p.0).max().unwrap();
            }
        }
    }

    fn compare(&mut self) {
        let (sqlite, memory) = (self.read(0), self.read(1));
        for (sqlite, memory) in sqlite.lines().zip(memory.lines()) {
            assert_eq!(sqlite, memory);
        }
    }

    /// Everything that can be read, as text.
    fn read(&mut self, which: usize) -> String {
        let (ids, next) = (self.ids.clone(), self.next);
        let rows = self.rows.clone();
        let reader = &mut self.subjects[which].open().reader;
        let mut out = format!("{:?}\n", reader.pending(None, 100).unwrap());
        out += &format!("{:?}\n", reader.accounts(&Domain::new("example.org").unwrap(), None, 3).unwrap());
        out += &format!("{:?}\n", reader.rows_at(&rows).unwrap());
        for beyond in [0, 20] {
            let all = reader.registered(Timestamp(beyond), None, 10).unwrap();
            out += &format!("{all:?} {:?}\n", reader.registered(Timestamp(beyond), all.first(), 2).unwrap());
        }
        let all = reader.forwards(None, 100).unwrap();
        let behind = all.first().map(|first| (first.position, first.target.clone()));
        out += &format!("{all:?} {:?}\n", reader.forwards(behind, 3).unwrap());
        for after in [0, next / 3] {
            out += &format!("{:?}\n", reader.outbox(Position(after), 4).unwrap());
        }
        out += &format!("{:?}\n", [0, 1, 2].map(|generation| reader.seen(generation).unwrap()));
        for (user, &id) in ids.iter().enumerate() {
            assert_eq!(reader.address_id(&address(user)).unwrap(), Some(id));
            out += &format!("{:?}\n", reader.account(&address(user)).unwrap());
            out += &format!("{:?}\n", reader.buddies(id, Position::ZERO).unwrap());
            out += &format!("{:?}\n", reader.buddies(id, Position(next / 2)).unwrap());
            out += &format!("{:?}{:?}\n", reader.files(id).unwrap(), reader.file(id, "profile.vcf").unwrap());
            out += &format!("{:?}\n", reader.credentials(id).unwrap());
            for before in [Position(next / 2), Position::MAX] {
                out += &format!("{:?}\n", reader.latest_of_peers(id, before).unwrap());
            }
            let marks = ids.iter().map(|peer| reader.marks(id, *peer).unwrap());
            out += &format!("{:?}\n", marks.collect::<Vec<_>>());
            for (upto, limit) in [(20, 2), (100, 100)] {
                let due = reader.due(Timestamp(upto), &|row: &DueRow| row.recipient == id, limit);
                out += &format!("{:?}\n", due.unwrap());
            }
            for number in 0..3 {
                let known = |from: &AddressId| reader.is_delivered(*from, id, &format!("d{number}")).unwrap();
                out += &format!("{:?}\n", ids.iter().map(known).collect::<Vec<_>>());
            }
            let mut hashes = reader.client_id_hashes(id).unwrap();
            hashes.sort_unstable();
            hashes.dedup();
            out += &format!("{hashes:?}\n");
            for number in 1..=self.number {
                let client_id = ClientId::new(&format!("c{number}")).unwrap();
                out += &format!("{:?}", reader.client_id(id, &client_id).unwrap());
            }
            for after in [0, next / 3] {
                let after = Position(after);
                out +=
                    &format!("{:?}\n", reader.rows(id, after, Position(next * 2 / 3), 5, 1 << 20).unwrap());
                out += &format!("{:?}\n", reader.rows(id, after, Position::MAX, 100, 20).unwrap());
                out += &format!("{:?}\n", reader.needed(id, after, Position::MAX, 100).unwrap());
            }
            for peer in [None, Some(ids[0]), Some(id)] {
                for anchor in [Anchor::End, Anchor::Row(Position(next / 2)), Anchor::Time(Timestamp(25))] {
                    for direction in [Direction::Older, Direction::Newer] {
                        for limit in [1, 4, 100] {
                            let query = HistoryQuery { account: id, peer, anchor, direction, limit };
                            out += &format!("{query:?} {:?}\n", reader.history(&query).unwrap());
                        }
                    }
                }
            }
        }
        out
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn both_stores_read_the_same(steps in prop::collection::vec(step(), 1..70)) {
        let mut suite = Suite::new();
        for (number, step) in steps.into_iter().enumerate() {
            suite.take(step);
            if number % 7 == 6 {
                suite.compare();
            }
        }
        suite.compare();
    }
}

#[test]
fn what_is_due_at_another_time_is_due_then_only() {
    let append =
        Step::Append { sender: 0, recipient: 0, histories: 0, client_id: false, time: 0, request: false };
    let mut suite = Suite::new();
    (0..3).for_each(|_| suite.take(append.clone()));
    // It expires at 0, and from then on at 2.
    suite.take(Step::Due { row: 2, done: false });
    suite.compare();
}

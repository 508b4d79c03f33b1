//! Import of a real server's export, and of broken ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use rosterkit::store::Store;
use rosterkit::store::memory::MemoryStore;
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{
    Actor, Address, Command, Domain, Engine, EngineOptions, ErrorKind, ListenerError, SessionOptions, Status,
};
use std::path::{Path, PathBuf};
use world::{World, texts};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/xep0227/ejabberd-23.01.xml")
}

fn hosting(domain: &str) -> World {
    World::with(EngineOptions::hosting([Domain::new(domain).unwrap()]))
}

fn user(name: &str) -> Address {
    Address::account(&format!("{name}@rosterkit.example")).unwrap()
}

// behaviour: import.xep0227, import.requests, import.offline-messages, import.blocked
#[test]
fn a_real_export_comes_in_whole() {
    let world = hosting("rosterkit.example");
    let mut steps = Vec::new();
    let found = world
        .engine
        .import_xep0227(fixture(), |progress| {
            steps.push(progress.accounts);
            Ok(())
        })
        .unwrap();
    assert_eq!((found.accounts, found.messages), (12, 40));
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());

    let alice = world
        .engine
        .open_session(&user("alice"), SessionOptions { reads_messages: true, ..Default::default() })
        .unwrap();
    let roster: Vec<_> = alice
        .roster()
        .unwrap()
        .buddies
        .into_iter()
        .map(|b| (b.address.user().unwrap().to_owned(), b.status(), b.name, b.groups))
        .collect();
    let buddy = |user: &str, status, name: &str, groups: &[&str]| {
        (user.to_owned(), status, name.to_owned(), groups.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(
        roster,
        [
            buddy("bob", Status::Confirmed, "Bob", &["Friends", "Work"]),
            buddy("carol", Status::Confirmed, "Carol ☕", &["Friends"]),
            buddy("frank", Status::Confirmed, "", &["日本語"]),
            buddy("friend", Status::Requested, "", &[]),
            buddy("heidi", Status::Requested, "Heidi", &[]),
            buddy("ivan", Status::Asking, "", &[]),
            buddy("judy", Status::Asking, "", &[]),
            buddy("zoë", Status::Confirmed, "Zoë Müller & <Söhne>", &["Familie", "Friends"]),
        ]
    );
    let messages = world::messages(&alice.next_events(100, std::time::Duration::ZERO).unwrap());
    assert_eq!(messages.len(), 9);
    assert_eq!(messages[1].content.as_text(), Some("line one of 2\nline two\n\tindented"));
    assert!(
        messages[0].time.0 < rosterkit::Timestamp(1_900_000_000_000).0
            && messages.is_sorted_by_key(|m| m.time)
    );
    assert_eq!(messages[0].sender.as_str(), "zoë@rosterkit.example/fixture");
    assert!(!messages[0].content.extensions.is_empty(), "the origin-id is kept");

    // Mallory is blocked, and bob blocks a whole domain.
    let mallory = world.engine.open_session(&user("mallory"), SessionOptions::default()).unwrap();
    assert_eq!(mallory.send(&user("alice"), "let me in").unwrap_err().kind, ErrorKind::Forbidden);

    // Two who have a request between them go on where they were.
    let heidi = world
        .engine
        .open_session(&user("heidi"), SessionOptions { reads_messages: true, ..Default::default() })
        .unwrap();
    assert_eq!(texts(&world.drain(&heidi)).len(), 3);
    heidi.confirm_buddy(&user("alice")).unwrap();
    assert!(
        alice
            .roster()
            .unwrap()
            .buddies
            .iter()
            .any(|b| b.address == user("heidi") && b.status() == Status::Confirmed)
    );

    world.engine.shutdown(true).unwrap();
    let mut store = SqliteStore::new(world.path(), SqliteOptions::small()).open().unwrap().reader;
    let id = store.address_id(&user("alice")).unwrap().unwrap();
    assert_eq!(store.credentials(id).unwrap()[0].mechanism, "SCRAM-SHA-1");
    let files = store.files(id).unwrap();
    let kept: Vec<String> = files
        .iter()
        .map(|f| String::from_utf8(store.file(id, &f.path).unwrap().unwrap().bytes).unwrap())
        .collect();
    for what in ["vcard-temp", "storage:bookmarks", "jabber:iq:privacy"] {
        assert!(kept.iter().any(|xml| xml.contains(what)), "{what} was not kept: {files:?}");
    }
    let profile = store.file(id, "profile.vcf").unwrap().unwrap();
    let avatar = rosterkit_core::vcard::avatar(&profile.bytes).unwrap();
    assert!(avatar.is_some());
    assert_eq!(store.account(&user("alice")).unwrap().unwrap().record.avatar, avatar);
}

// behaviour: import.all-or-nothing
#[test]
fn what_is_broken_is_refused_whole() {
    let world = hosting("rosterkit.example");
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good =
        std::fs::read_to_string(fixture().with_file_name("ejabberd-23.01-rosterkit.example.xml")).unwrap();
    let one = "<user name='a'/>";
    let of = |inside: &str| {
        format!(
            "<server-data xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'>{inside}</server-data>"
        )
    };
    let cases = [
        ("truncated", good[..good.len() / 2].to_owned(), "at byte"),
        ("dtd", format!("<!DOCTYPE x [<!ENTITY e 'x'>]>{}", of("")), "DTD"),
        ("namespace", "<server-data xmlns='urn:other'/>".to_owned(), "not XEP-0227"),
        ("half of an include", of("<xi:include href='nowhere.xml'/>"), "nowhere.xml"),
        ("include elsewhere", of("<xi:include href='../../etc/passwd'/>"), "not followed"),
        ("include by pointer", of("<xi:include href='x.xml' xpointer='y'/>"), "not followed"),
        ("bad address", of("<host jid='rosterkit.example'><user name='a b'/></host>"), "not an address"),
        ("twice", of(&format!("<host jid='rosterkit.example'>{one}{one}</host>")), "twice"),
        (
            "plain password",
            of("<host jid='rosterkit.example'><user name='a' password='x'/></host>"),
            "plain password",
        ),
        ("strange domain", of(&format!("<host jid='other.example'>{one}</host>")), "not hosted"),
    ];
    for (name, text, what) in cases {
        let error = world.engine.import_xep0227(write("import.xml", &text), |_| Ok(())).unwrap_err();
        assert!(error.details.contains(what), "{name}: {error}");
        assert!(matches!(error.kind, ErrorKind::InvalidArgument | ErrorKind::NotFound), "{name}: {error}");
    }
    assert_eq!(
        world.engine.open_session(&user("a"), SessionOptions::default()).unwrap_err().kind,
        ErrorKind::NotFound
    );

    // Whoever is told of the progress calls it off.
    let mut told = 0;
    let called_off = world.engine.import_xep0227(fixture(), |_| {
        told += 1;
        if told < 3 { Ok(()) } else { Err(ListenerError("not now".into())) }
    });
    let error = called_off.unwrap_err();
    assert_eq!((error.kind, told), (ErrorKind::Forbidden, 3));
    assert!(error.details.ends_with("nothing was imported: not now"), "{error}");

    // One of twelve is there already: none comes in.
    world.engine.create_account(&user("zoë")).unwrap();
    let error = world.engine.import_xep0227(fixture(), |_| Ok(())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert_eq!(
        world.engine.open_session(&user("alice"), SessionOptions::default()).unwrap_err().kind,
        ErrorKind::NotFound
    );
}

// behaviour: import.all-or-nothing
#[test]
fn an_account_that_is_made_meanwhile_is_made_by_one_of_both() {
    let world = hosting("rosterkit.example");
    // Both are under way before either is written; the session waits for whoever makes its account.
    let actor = Actor { account: user("alice"), session: None };
    let commands = [Command::CreateAccount, Command::OpenSession(SessionOptions::default())];
    world.engine.submit(commands.into_iter().map(|command| (actor.clone(), command)).collect()).unwrap();
    world.engine.import_xep0227(fixture(), |_| Ok(())).unwrap();
    let answers = world.engine.next_answers(2, std::time::Duration::ZERO).unwrap();
    let made = answers[0].result.as_ref().unwrap_err();
    assert_eq!(made.kind, ErrorKind::Conflict, "{made}");
    assert!(answers[1].result.is_ok(), "{answers:?}");
    let alice = world.engine.open_session(&user("alice"), SessionOptions::default()).unwrap();
    assert_eq!(alice.roster().unwrap().buddies.len(), 8);

    // In whatever order they come.
    for round in 0..60 {
        let options = EngineOptions::hosting([Domain::new("rosterkit.example").unwrap()]);
        let engine = Engine::open(MemoryStore::new(), options).unwrap();
        let importing = engine.clone();
        let import = std::thread::spawn(move || importing.import_xep0227(fixture(), |_| Ok(())));
        std::thread::sleep(std::time::Duration::from_micros(round * 150));
        let made = engine.create_account(&user("alice"));
        let imported = import.join().unwrap();
        let alice = engine.open_session(&user("alice"), SessionOptions::default()).unwrap();
        let buddies = alice.roster().unwrap().buddies.len();
        match (made.map_err(|e| e.kind), imported.map_err(|e| e.kind)) {
            (Ok(()), Err(ErrorKind::Conflict)) => {
                assert_eq!(buddies, 0, "nothing of the import");
                let bob = engine.open_session(&user("bob"), SessionOptions::default());
                assert_eq!(bob.unwrap_err().kind, ErrorKind::NotFound);
            }
            (Err(ErrorKind::Conflict), Ok(_)) => assert_eq!(buddies, 8, "all of it"),
            other => panic!("{other:?}"),
        }
        engine.shutdown(true).unwrap();
    }
}

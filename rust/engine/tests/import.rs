//! Import of a real server's export, and of broken ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use rosterkit::store::Store;
use rosterkit::store::memory::MemoryStore;
use rosterkit::store::sqlite::{SqliteOptions, SqliteStore};
use rosterkit::{
    Actor, Address, Answer, Body, Command, Content, Domain, Engine, EngineOptions, ErrorKind, ListenerError,
    Position, Send, SessionOptions, Status,
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
        let said = format!("{made:?}, {imported:?}");
        match (made.map_err(|e| e.kind), imported.map_err(|e| e.kind)) {
            (Ok(()), Err(ErrorKind::Conflict)) => {
                assert_eq!(buddies, 0, "nothing of the import");
                let bob = engine.open_session(&user("bob"), SessionOptions::default());
                assert_eq!(bob.unwrap_err().kind, ErrorKind::NotFound);
            }
            (Err(ErrorKind::Conflict), Ok(_)) => assert_eq!(buddies, 8, "all of it"),
            _ => panic!("{said}"),
        }
        engine.shutdown(true).unwrap();
    }
}

/// Everything of an account that an export holds, as text.
fn whole(world: &World, address: &Address) -> Vec<String> {
    let actor = Actor { account: address.clone(), session: None };
    let ask = |command| format!("{:?}", world.engine.call(&actor, command).unwrap());
    let mut all = vec![address.to_string(), ask(Command::ReadBlocked)];
    let Answer::Roster(roster) =
        world.engine.call(&actor, Command::ReadRoster { since: Position::ZERO }).unwrap()
    else {
        panic!("no roster")
    };
    all.extend(roster.buddies.iter().map(|buddy| {
        let subscription = buddy.halves.subscription();
        let pending = (buddy.halves.pending_out(), buddy.halves.pending_in());
        format!("{} {:?} {:?} {subscription:?} {pending:?}", buddy.address, buddy.name, buddy.groups)
    }));
    world
        .engine
        .open_session(address, SessionOptions { reads_messages: true, ..Default::default() })
        .map(|session| {
            let messages = world::messages(&world.drain(&session));
            all.extend(messages.into_iter().map(|message| {
                let (sender, time, content) = (message.sender, message.time, message.content);
                // Where an import keeps a whole stanza, an export adds to it.
                let extensions = String::from_utf8_lossy(&content.extensions).into_owned();
                format!("{sender} {time:?} {:?} {:?} {extensions}", content.body, message.expires)
            }));
        })
        .unwrap();
    all
}

/// The contents of an account's files and its credentials; what has no place of its own is named by its number.
fn kept(world: &World, address: &Address) -> Vec<String> {
    let mut store = SqliteStore::new(world.path(), SqliteOptions::small()).open().unwrap().reader;
    let id = store.address_id(address).unwrap().unwrap();
    let files = store.files(id).unwrap();
    let mut kept: Vec<String> = files
        .iter()
        .map(|info| {
            let file = store.file(id, &info.path).unwrap().unwrap();
            let name = if info.path.starts_with("private/xep0227/") { "xep0227" } else { &info.path };
            format!("{name} {:?}", String::from_utf8_lossy(&file.bytes))
        })
        .collect();
    kept.extend(store.credentials(id).unwrap().iter().map(|c| format!("{} {:?}", c.mechanism, c.verifier)));
    kept.push(format!("{:?}", store.account(address).unwrap().unwrap().record.avatar));
    kept.sort();
    kept
}

fn accounts(world: &World) -> Vec<Address> {
    let domain = Domain::new("rosterkit.example").unwrap();
    world.killed_and(|reader| reader.accounts(&domain, None, 1_000).unwrap()).1
}

// behaviour: export.round-trip
#[test]
fn a_real_export_comes_back_out_and_in_again() {
    let (first, second) = (hosting("rosterkit.example"), hosting("rosterkit.example"));
    first.engine.import_xep0227(fixture(), |_| Ok(())).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("export.xml");
    let summary = first.engine.export_xep0227(&path).unwrap();
    assert_eq!((summary.accounts, summary.messages), (12, 40));
    let found = second.engine.import_xep0227(&path, |_| Ok(())).unwrap();
    assert_eq!((found.accounts, found.messages, found.buddies), (12, 40, summary.buddies));
    let [ours, theirs] = [&first, &second].map(|world| {
        let all = accounts(world);
        assert_eq!(all.len(), 12);
        let whole: Vec<_> = all.iter().flat_map(|account| whole(world, account)).collect();
        world.engine.shutdown(true).unwrap();
        (whole, all.iter().flat_map(|account| kept(world, account)).collect::<Vec<_>>())
    });
    assert_eq!(ours.0.len(), theirs.0.len());
    for (ours, theirs) in ours.0.iter().zip(&theirs.0).chain(ours.1.iter().zip(&theirs.1)) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.1.len(), theirs.1.len());
}

// behaviour: export.round-trip, export.name
#[test]
fn what_other_servers_have_no_place_for_comes_back_too() {
    let (first, second) = (hosting("rosterkit.example"), hosting("rosterkit.example"));
    for name in ["alice", "bob"] {
        first.engine.create_account(&user(name)).unwrap();
    }
    let alice = first.engine.open_session(&user("alice"), SessionOptions::default()).unwrap();
    let reply_to = alice.send(&user("bob"), "one\r\ntwo\u{1}<&>\u{7}").unwrap().id;
    let data = Body::Data { media_type: "image/png".into(), bytes: [0, 159, 146][..].into() };
    let content = Content { body: data, extensions: [1, 2, 255][..].into(), reply_to: Some(reply_to) };
    let expires = Some(rosterkit::Timestamp(1_700_000_060_000));
    let send = Send { content, expires, ..Send::text(&user("bob"), "") };
    alice.send_message(send).unwrap();
    alice.add_buddy(&user("bob"), Some("B\u{7}ob"), Some(&["Fri\nends"])).unwrap();
    let actor = Actor { account: user("alice"), session: None };
    let write = |path: &str, bytes: &[u8]| {
        let command = Command::WriteFile { path: path.into(), bytes: bytes.to_vec() };
        first.engine.call(&actor, command).unwrap();
    };
    write("public/a.bin", &[0, 1, 2, 255]);
    write("profile.vcf", b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Alice\r\nPHOTO;ENCODING=b:AAEC\r\nEND:VCARD\r\n");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("export.xml");
    first.engine.export_xep0227(&path).unwrap();
    assert_eq!(first.engine.export_xep0227(&path).unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    second.engine.import_xep0227(&path, |_| Ok(())).unwrap();
    let bob = |world: &World| {
        let options = SessionOptions { reads_messages: true, ..Default::default() };
        let bob = world.engine.open_session(&user("bob"), options).unwrap();
        let waiting = world.drain(&bob);
        world::messages(&waiting)
            .into_iter()
            .map(|message| {
                (message.id, message.sender.bare(), message.time, message.content, message.expires)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(bob(&first), bob(&second));
    // It ends there, too.
    let again = hosting("rosterkit.example");
    again.engine.import_xep0227(&path, |_| Ok(())).unwrap();
    again.engine.advance(120_000).unwrap();
    assert_eq!(bob(&again).len(), 1);
    let whole = [&first, &second].map(|world| whole(world, &user("alice")).join("\n"));
    assert_eq!(whole[0].replace('\u{7}', " ").replace("\\u{7}", " ").replace("\\n", " "), whole[1]);
    for world in [&first, &second] {
        world.engine.shutdown(true).unwrap();
    }
    assert_eq!(kept(&first, &user("alice")), kept(&second, &user("alice")));
}

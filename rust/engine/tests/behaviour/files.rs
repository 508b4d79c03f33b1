//! The file storage, the avatar, and the files that are rendered from the log.

use crate::seen;
use crate::world::{World, account};
use proptest::prelude::*;
use rosterkit::{Actor, Answer, Command, ErrorKind, Overrides, Presence, SetPresence, State};

const ABC: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

fn ask(world: &World, user: &str, command: Command) -> rosterkit::Result<Answer> {
    world.engine.call(&Actor { account: account(user), session: None }, command)
}

fn write(world: &World, user: &str, path: &str, bytes: &[u8]) -> rosterkit::Result<()> {
    ask(world, user, Command::WriteFile { path: path.into(), bytes: bytes.to_vec() }).map(|_| ())
}

fn remove(world: &World, user: &str, path: &str) -> rosterkit::Result<()> {
    ask(world, user, Command::RemoveFile { path: path.into() }).map(|_| ())
}

fn read_of(world: &World, user: &str, owner: Option<&str>, path: &str) -> Result<String, ErrorKind> {
    let command = Command::ReadFile { owner: owner.map(account), path: path.into() };
    match ask(world, user, command) {
        Ok(Answer::File(bytes)) => Ok(String::from_utf8(bytes).unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.kind),
    }
}

fn read(world: &World, user: &str, path: &str) -> Result<String, ErrorKind> {
    read_of(world, user, None, path)
}

fn list(world: &World, user: &str, prefix: &str) -> Vec<String> {
    match ask(world, user, Command::ListFiles { prefix: prefix.into() }).unwrap() {
        Answer::Files(files) => files.into_iter().map(|file| file.path).collect(),
        other => panic!("{other:?}"),
    }
}

/// A vCard with this as its image.
fn vcard(image: &str) -> Vec<u8> {
    use base64::Engine as _;
    let image = base64::engine::general_purpose::STANDARD.encode(image);
    format!("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nPHOTO;ENCODING=b:{image}\r\nEND:VCARD\r\n").into_bytes()
}

// behaviour: files.replace
#[test]
fn files_are_written_replaced_listed_and_removed() {
    let world = World::new();
    world.create("alice");
    write(&world, "alice", "notes/a.txt", b"one").unwrap();
    write(&world, "alice", "notes/b.txt", b"two").unwrap();
    write(&world, "alice", "notes/a.txt", b"three").unwrap();
    assert_eq!(read(&world, "alice", "notes/a.txt"), Ok("three".into()));
    assert_eq!(list(&world, "alice", "notes/"), ["notes/a.txt", "notes/b.txt"]);
    let world = world.killed();
    assert_eq!(read(&world, "alice", "notes/a.txt"), Ok("three".into()));
    remove(&world, "alice", "notes/a.txt").unwrap();
    assert_eq!(remove(&world, "alice", "notes/a.txt").unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(read(&world, "alice", "notes/a.txt"), Err(ErrorKind::NotFound));
    assert_eq!(list(&world, "alice", ""), ["notes/b.txt"]);
    let bad = write(&world, "alice", "../etc/passwd", b"x").unwrap_err();
    assert_eq!(bad.kind, ErrorKind::InvalidArgument);
    world.engine.delete_account(&account("alice")).unwrap();
    world.create("alice");
    assert!(list(&world, "alice", "").is_empty(), "a new account inherits nothing");
}

// behaviour: files.quota
#[test]
fn files_are_limited_in_number_and_size() {
    let world = World::new();
    world.create("alice");
    let quota = Overrides { storage_files: Some(2), storage_bytes: Some(100), ..Overrides::default() };
    crate::overrides(&world, "alice", quota);
    let refused = |path: &str, bytes: usize| {
        let refused = write(&world, "alice", path, &vec![b'x'; bytes]);
        matches!(refused.map_err(|error| error.kind), Err(ErrorKind::LimitExceeded { .. }))
    };
    assert!(!refused("a", 60) && refused("b", 41) && !refused("b", 40));
    assert!(refused("c", 0), "a third file");
    assert!(!refused("a", 10) && !refused("b", 90), "what is replaced counts no more");
    assert!(refused("a", (4 << 20) + 1));
}

// behaviour: files.avatar, files.avatar-refused
#[test]
fn the_avatar_is_the_image_of_the_profile_and_goes_with_presence() {
    let world = World::new();
    let [alice, bob, stranger] = world.sessions(["alice", "bob", "stranger"]);
    world.befriend(&alice, &bob);
    crate::online(&stranger);
    world.drain(&stranger);
    let hash = |presence: Option<Presence>| presence.unwrap().avatar.as_deref().map(str::to_owned);
    write(&world, "bob", "profile.vcf", &vcard("abc")).unwrap();
    assert_eq!(hash(seen(&world.drain(&alice), "bob")), Some(ABC.into()));
    assert_eq!(hash(alice.presence_of(&account("bob")).ok()), Some(ABC.into()));
    assert!(world.drain(&stranger).is_empty());
    assert_eq!(hash(stranger.presence_of(&account("bob")).ok()), None);
    // The same image changes nothing.
    write(&world, "bob", "profile.vcf", &vcard("abc")).unwrap();
    assert!(seen(&world.drain(&alice), "bob").is_none());
    let broken = write(&world, "bob", "profile.vcf", b"hello").unwrap_err();
    assert_eq!(broken.kind, ErrorKind::InvalidArgument);
    assert_eq!(read(&world, "bob", "profile.vcf").unwrap().into_bytes(), vcard("abc"));
    // It survives, and an account that is offline shows none.
    let world = world.reopen();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    crate::online(&alice);
    assert_eq!(hash(seen(&world.drain(&alice), "bob")), None);
    crate::online(&bob);
    assert_eq!(hash(seen(&world.drain(&alice), "bob")), Some(ABC.into()));
    remove(&world, "bob", "profile.vcf").unwrap();
    let shown = seen(&world.drain(&alice), "bob").unwrap();
    assert_eq!((shown.state, shown.avatar), (State::Online, None));
}

// behaviour: files.rendered
#[test]
fn messages_are_there_as_files_and_nobody_writes_them() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    alice.send(&account("bob"), "hello").unwrap();
    alice.send(&account("bob"), "She said \"yes\".\nC:\\temp").unwrap();
    let lines = "20231114T221320 <\"hello\"\n20231114T221320 <\"She said \\\"yes\\\".\\eC:\\\\temp\"\n";
    assert_eq!(list(&world, "bob", "private/"), ["private/IM/alice@example.org.log", "private/IM/offline"]);
    assert_eq!(read(&world, "bob", "private/IM/offline"), Ok(lines.into()));
    assert_eq!(read(&world, "bob", "private/IM/alice@example.org.log"), Ok(lines.into()));
    let sent = lines.replace(" <", " >");
    assert_eq!(read(&world, "alice", "private/IM/bob@example.org.log"), Ok(sent));
    let [bob] = world.sessions(["bob"]);
    world.drain(&bob);
    assert_eq!(list(&world, "bob", "private/"), ["private/IM/alice@example.org.log"]);
    assert_eq!(read(&world, "bob", "private/IM/offline"), Err(ErrorKind::NotFound));
    for path in ["private/IM/offline", "private/IM/alice@example.org.log", "private/IM/x"] {
        assert_eq!(write(&world, "bob", path, b"x").unwrap_err().kind, ErrorKind::Forbidden, "{path}");
        assert_eq!(remove(&world, "bob", path).unwrap_err().kind, ErrorKind::Forbidden, "{path}");
    }
}

// behaviour: files.public
#[test]
fn of_another_account_what_is_public_can_be_read_and_the_profile_by_who_may_see_it() {
    let world = World::new();
    let [alice, bob, _stranger] = world.sessions(["alice", "bob", "stranger"]);
    world.befriend(&alice, &bob);
    write(&world, "bob", "public/hours.txt", b"nine to five").unwrap();
    write(&world, "bob", "secret.txt", b"secret").unwrap();
    write(&world, "bob", "profile.vcf", &vcard("abc")).unwrap();
    let of_bob = |viewer: &str, path: &str| read_of(&world, viewer, Some("bob"), path);
    for viewer in ["alice", "stranger"] {
        assert_eq!(of_bob(viewer, "public/hours.txt"), Ok("nine to five".into()));
        for path in ["secret.txt", "nothing.txt", "public/nothing", "private/IM/alice@example.org.log"] {
            assert_eq!(of_bob(viewer, path), Err(ErrorKind::NotFound), "{viewer} {path}");
        }
    }
    assert!(of_bob("alice", "profile.vcf").is_ok());
    assert_eq!(of_bob("stranger", "profile.vcf"), Err(ErrorKind::NotFound));
    assert_eq!(read_of(&world, "alice", Some("nobody"), "public/x"), Err(ErrorKind::NotFound));
    bob.block(&account("alice"), true).unwrap();
    for path in ["public/hours.txt", "profile.vcf", "secret.txt"] {
        assert_eq!(of_bob("alice", path), Err(ErrorKind::NotFound), "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    // behaviour: files.avatar
    #[test]
    fn whoever_sees_the_account_sees_the_hash_of_the_image_that_is_there(
        steps in prop::collection::vec((0u8..5, "[a-c]{0,2}"), 1..25)
    ) {
        let mut world = World::new();
        let [alice, bob] = world.sessions(["alice", "bob"]);
        world.befriend(&alice, &bob);
        let (mut alice, mut bob) = (alice, bob);
        for (step, image) in steps {
            match step {
                0 | 1 => write(&world, "bob", "profile.vcf", &vcard(&image)).unwrap(),
                2 => drop(remove(&world, "bob", "profile.vcf")),
                3 => bob.set_presence(SetPresence::state(State::Away)).unwrap(),
                _ => {
                    world = world.reopen();
                    let [a, b] = world.sessions(["alice", "bob"]);
                    (alice, bob) = (a, b);
                    crate::online(&alice);
                    crate::online(&bob);
                }
            }
            let file = read(&world, "bob", "profile.vcf").ok();
            let expected = file.and_then(|file| rosterkit_core::vcard::avatar(file.as_bytes()).unwrap());
            prop_assert_eq!(alice.presence_of(&account("bob")).unwrap().avatar, expected.clone());
            if let Some(shown) = seen(&world.drain(&alice), "bob") {
                prop_assert_eq!(shown.avatar, expected);
            }
        }
    }
}

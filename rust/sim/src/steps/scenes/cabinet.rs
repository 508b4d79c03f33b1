//! Files: how many there may be, the avatar that goes with presence, and those that are rendered from the log.

use super::Random;
use super::deciding::date;
use super::scene::{differs, play};
use crate::ledger::aside::Kept;
use crate::world::{Step, World};
use rosterkit::{Answer, Command, ErrorKind, EventBody, Overrides, Timestamp};

/// Images in base 64, and the SHA-1 of what they are ("abc", "a" and "b").
const IMAGES: [(&str, &str); 3] = [
    ("YWJj", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    ("YQ==", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
    ("Yg==", "e9d71f5ee7c92d6dc9e92ffdad17b8bd49418f98"),
];

fn write(path: &str, content: &str) -> Command {
    Command::WriteFile { path: path.into(), bytes: content.as_bytes().to_vec() }
}

/// So many files, and so many bytes in them: what is over it changes nothing, and what is replaced counts no more.
pub(super) fn quota(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 1, |scene, random| {
        let (files, bytes) = (random.usize(1..4), random.usize(40..120));
        let (storage_files, storage_bytes) = (Some(files as u32), Some(bytes as u64));
        scene.prefer(0, Overrides { storage_files, storage_bytes, ..Overrides::default() })?;
        let mut kept: Vec<(String, String)> = Vec::new();
        let lines = |kept: &[(String, String)]| {
            kept.iter().map(|(path, content)| format!("{path}: {content}")).collect::<Vec<_>>()
        };
        let place = Kept::Files(scene.address(0));
        for _ in 0..random.usize(2..6) {
            let path = ["a", "b", "public/c", "d"][random.usize(..4)].to_owned();
            let content = "x".repeat(random.usize(0..80));
            let mut after = kept.clone();
            after.retain(|(there, _)| *there != path);
            after.push((path.clone(), content.clone()));
            after.sort();
            let total: usize = after.iter().map(|(_, content)| content.len()).sum();
            if after.len() > files || total > bytes {
                let full = ErrorKind::LimitExceeded { retry_after_ms: None };
                scene.refused(0, write(&path, &content), full)?;
                scene.covered(&["files.quota"]);
                continue;
            }
            scene.may_be(place.clone(), vec![lines(&kept), lines(&after)], &["files.replace"]);
            scene.must(0, write(&path, &content))?;
            scene.may_be(place.clone(), vec![lines(&after)], &["files.replace"]);
            kept = after;
        }
        scene.is(place, lines(&kept), &["files.replace", "files.quota"])
    })
}

/// Whoever sees the account online sees the hash of the image that is there.
pub(super) fn avatar(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 3, |scene, random| {
        scene.befriend(0, 1)?;
        let (session, viewer, stranger) =
            (scene.session(0, None)?, scene.session(1, None)?, scene.session(2, None)?);
        for session in [&session, &viewer, &stranger] {
            scene.show(session, false)?;
        }
        scene.took(&viewer)?;
        let (mut before, mut there) = (None, Vec::new());
        for _ in 0..2 {
            let (image, hash) = IMAGES[random.usize(..3)];
            let card =
                format!("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nPHOTO;ENCODING=b:{image}\r\nEND:VCARD\r\n");
            let kept = Kept::Files(scene.address(0));
            let after = vec![format!("profile.vcf: {card}")];
            scene.may_be(kept.clone(), vec![there.clone(), after.clone()], &["files.replace"]);
            scene.must(0, write("profile.vcf", &card))?;
            let told = scene.took(&viewer)?;
            let subject = scene.address(0);
            let shown: Vec<Option<String>> = told
                .iter()
                .filter_map(|event| match event {
                    EventBody::Presence { subject: of, presence } if *of == subject => {
                        Some(presence.avatar.as_ref().map(|avatar| avatar.to_string()))
                    }
                    _ => None,
                })
                .collect();
            let expected = if before == Some(hash) { vec![] } else { vec![Some(hash.to_owned())] };
            if scene.is_smooth() && shown != expected {
                return differs(format!("a buddy is shown {shown:?}, and the image is {expected:?}"));
            }
            for (who, sees) in [(1, true), (2, false)] {
                let Answer::Presence(found) = scene.must(who, Command::ReadPresence(subject.clone()))? else {
                    return differs("a presence was answered otherwise".into());
                };
                let found = found.avatar.as_ref().map(|avatar| avatar.to_string());
                scene.smooth()?;
                if found != sees.then(|| hash.to_owned()) {
                    return differs(format!("{who} sees {found:?} of {hash}"));
                }
            }
            scene.covered(&["files.avatar-hash", "files.avatar"]);
            let read = Command::ReadFile { owner: Some(subject), path: "profile.vcf".into() };
            match (scene.ask(1, read.clone())?, scene.ask(2, read)?) {
                (Ok(Answer::File(bytes)), Err(error))
                    if bytes == card.as_bytes() && error.kind == ErrorKind::NotFound =>
                {
                    scene.covered(&["files.public"]);
                }
                other => return differs(format!("a profile is read by a buddy and a stranger: {other:?}")),
            }
            before = Some(hash);
            scene.is(kept, after.clone(), &["files.replace", "files.avatar"])?;
            there = after;
        }
        Ok(())
    })
}

/// As `20231114T221320`.
fn stamp(time: Timestamp) -> String {
    let seconds = time.0.div_euclid(1_000);
    let of_day = seconds.rem_euclid(86_400);
    let day = date(seconds.div_euclid(86_400)).replace('-', "");
    format!("{day}T{:02}{:02}{:02}", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

/// A conversation, and what waits, are there as files; and nobody writes them.
pub(super) fn rendered(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        let mut lines = [String::new(), String::new()];
        for number in 0..random.usize(1..4) {
            let said = format!("line {number}: \"so\"\nand so");
            let receipt = scene.say(1, 0, &said)?;
            let written = said.replace('"', "\\\"").replace('\n', "\\e");
            for (lines, sign) in lines.iter_mut().zip(['<', '>']) {
                lines.push_str(&format!("{} {sign}\"{written}\"\n", stamp(receipt.time)));
            }
            scene.pass(random.u64(1..70_000))?;
        }
        let log = |peer: &rosterkit::Address| format!("private/IM/{peer}.log");
        let (theirs, mine) = (log(&scene.address(1)), log(&scene.address(0)));
        let offline = "private/IM/offline".to_owned();
        let expected = [(0, &theirs, &lines[0]), (0, &offline, &lines[0]), (1, &mine, &lines[1])];
        for (who, path, lines) in expected {
            match scene.must(who, Command::ReadFile { owner: None, path: path.clone() })? {
                Answer::File(bytes) if bytes == lines.as_bytes() => {}
                other => return differs(format!("{path} is {other:?}, not {lines:?}")),
            }
        }
        let listed = vec![format!("{offline}: {}", lines[0]), format!("{theirs}: {}", lines[0])];
        scene.is(Kept::Files(scene.address(0)), listed, &["files.rendered"])?;
        for path in [theirs.as_str(), "private/IM/anything"] {
            scene.refused(0, write(path, "forged"), ErrorKind::Forbidden)?;
            scene.refused(0, Command::RemoveFile { path: path.into() }, ErrorKind::Forbidden)?;
        }
        // What somebody has taken waits no more; nobody says yet whether that is on disk.
        scene.may_be(Kept::Files(scene.address(0)), Vec::new(), &[]);
        let session = scene.session(0, None)?;
        scene.took(&session)?;
        scene.smooth()?;
        let gone = Command::ReadFile { owner: None, path: offline };
        scene.refused(0, gone, ErrorKind::NotFound)?;
        scene.covered(&["files.rendered"]);
        Ok(())
    })
}

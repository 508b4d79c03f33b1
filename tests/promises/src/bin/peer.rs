//! One of two worlds, to be killed: an engine on a file, three accounts that write to three of the other world, and a peer
//! link over whatever socket it can get.
//!
//!     peer FILE WORLD SOCKET
//!
//! What it was promised stands in journals beside the file: `FILE.sent` has a line for each answered send, `FILE.heard` one for
//! each event, written before it is acknowledged. Its input says what to do; the end of it is the end of the process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use rosterkit::{
    Address, ClientId, DeviceName, Domain, Engine, EngineOptions, EventBody, Limits, Outcome, Quota, Rate,
    Session, SessionOptions, SetPresence, State,
};
use rosterkit_peer::PeerLink;
use rosterkit_promises::worlds::{ACCOUNTS, STATES, account, domain};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (file, socket) = (PathBuf::from(&arguments[1]), PathBuf::from(&arguments[3]));
    let world: usize = arguments[2].parse().unwrap();
    let limits = Limits {
        sends: Rate { burst: u32::MAX, per_minute: u32::MAX },
        requests: Rate { burst: u32::MAX, per_minute: u32::MAX },
        unclaimed: Quota { count: usize::MAX, bytes: u64::MAX },
        unclaimed_from_one: Quota { count: usize::MAX, bytes: u64::MAX },
        ..Limits::default()
    };
    let options = EngineOptions { limits, ..EngineOptions::hosting([Domain::new(domain(world)).unwrap()]) };
    let engine = Engine::open_file(&file, options).unwrap();
    let link = Arc::new(PeerLink::open(&engine, vec![Domain::new(domain(1 - world)).unwrap()]).unwrap());
    let storm = Arc::new(AtomicBool::new(true));
    let sessions: Vec<Session> = (0..ACCOUNTS)
        .map(|number| {
            let address = account(world, number);
            // There already after the first life.
            let _ = engine.create_account(&address);
            let device = Some(DeviceName::new("phone").unwrap());
            let options = SessionOptions { reads_messages: true, device, ..SessionOptions::default() };
            engine.open_session(&address, options).unwrap()
        })
        .collect();
    let heard = Arc::new(Mutex::new(journal(&file, "heard")));
    let sent = Arc::new(Mutex::new(journal(&file, "sent")));
    let answered = Arc::new(answered(&file));
    for (number, session) in sessions.iter().enumerate() {
        let (reader, heard) = (session.clone(), Arc::clone(&heard));
        std::thread::spawn(move || hear(&reader, number, &heard));
        for peer in 0..ACCOUNTS {
            let (session, sent, storm) = (session.clone(), Arc::clone(&sent), Arc::clone(&storm));
            let next = answered.get(&(number, peer)).copied().unwrap_or(0) + 1;
            std::thread::spawn(move || write(&session, world, (number, peer), next, &sent, &storm));
        }
    }
    let carried = Arc::clone(&link);
    std::thread::spawn(move || carry(&carried, &socket));
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.as_str() {
            "quiet" => storm.store(false, Ordering::Relaxed),
            "restored" => println!("restored {}", link.state().restored_from_backup),
            "befriend" => {
                for session in &sessions {
                    for peer in 0..ACCOUNTS {
                        session.add_buddy(&account(1 - world, peer), None, None).unwrap();
                    }
                }
                println!("done");
            }
            "show" => {
                for (number, session) in sessions.iter().enumerate() {
                    let state = STATES[world][number].parse::<State>().unwrap();
                    session.set_presence(SetPresence::state(state)).unwrap();
                }
                println!("done");
            }
            "roster" | "presence" => {
                let mut all = Vec::new();
                for session in &sessions {
                    for peer in 0..ACCOUNTS {
                        let peer = account(1 - world, peer);
                        all.push(match line.as_str() {
                            "roster" => status(session, &peer),
                            _ => session.presence_of(&peer).unwrap().state.to_string(),
                        });
                    }
                }
                println!("{}", all.join(" "));
            }
            other => panic!("{other}?"),
        }
    }
    link.close();
    engine.shutdown(true).unwrap();
}

fn status(session: &Session, peer: &Address) -> String {
    let roster = session.roster().unwrap();
    let status = roster.buddies.iter().find(|buddy| buddy.address == *peer).map(|buddy| buddy.status());
    format!("{status:?}").replace(' ', "")
}

fn journal(file: &Path, what: &str) -> File {
    File::options().append(true).create(true).open(file.with_extension(what)).unwrap()
}

/// Up to where each pair's sends were answered.
fn answered(file: &Path) -> HashMap<(usize, usize), u64> {
    let mut answered = HashMap::new();
    let lines = BufReader::new(File::open(file.with_extension("sent")).unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        let numbers: Vec<u64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
        if let [from, to, number] = numbers[..] {
            answered.insert((from as usize, to as usize), number);
        }
    }
    answered
}

/// Writes one numbered message after the other, each until it is answered, and now and then does something to the roster.
fn write(
    session: &Session,
    world: usize,
    (from, to): (usize, usize),
    first: u64,
    sent: &Mutex<File>,
    storm: &AtomicBool,
) {
    let peer = account(1 - world, to);
    for number in first.. {
        while !storm.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        let client_id = ClientId::new(&format!("{to} {number}")).unwrap();
        let text = format!("{from} {to} {number}");
        if session.send_once(&peer, &text, client_id).is_err() {
            return;
        }
        writeln!(sent.lock().unwrap(), "{from} {to} {number}").unwrap();
        match fastrand::u8(..) {
            0 => drop(session.add_buddy(&peer, None, None)),
            1 => drop(session.remove_buddy(&peer)),
            _ => std::thread::park_timeout(Duration::from_millis(4)),
        }
    }
}

/// Reads, notes, and acknowledges then.
fn hear(session: &Session, number: usize, heard: &Mutex<File>) {
    while let Ok(events) = session.next_events(64, Duration::from_secs(3_600)) {
        let mut lines = String::new();
        for event in &events {
            match &event.body {
                EventBody::Message(message) if !message.copy => {
                    let text = message.content.as_text().unwrap();
                    lines += &format!("M {number} {} {} {text}\n", message.position.0, message.id);
                }
                EventBody::Outcome { message_id, outcome, .. } => {
                    let word = match outcome {
                        Outcome::Relayed => "relayed".to_owned(),
                        Outcome::Failed { reason } => format!("failed: {reason}"),
                        Outcome::Expired => "expired".to_owned(),
                    };
                    lines += &format!("O {message_id} {word}\n");
                }
                EventBody::Ended(_) => return,
                _ => {}
            }
        }
        heard.lock().unwrap().write_all(lines.as_bytes()).unwrap();
        if let Some(last) = events.last() {
            session.ack(last.seq);
        }
    }
}

/// Joins the link to the pipe, again and again.
fn carry(link: &Arc<PeerLink>, socket: &Path) {
    loop {
        let Ok(mut pipe) = UnixStream::connect(socket) else {
            std::thread::park_timeout(Duration::from_millis(5));
            continue;
        };
        if link.connect().is_err() {
            return;
        }
        let (mut out, sender) = (pipe.try_clone().unwrap(), Arc::clone(link));
        let writer = std::thread::spawn(move || {
            while let Ok(bytes) = sender.take(1 << 16, Duration::from_millis(100)) {
                if bytes.is_empty() && !sender.state().connected || out.write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ = out.shutdown(Shutdown::Both);
        });
        let mut bytes = vec![0; 1 << 16];
        while let Ok(read) = pipe.read(&mut bytes)
            && read > 0
            && link.feed(&bytes[..read]).is_ok()
        {}
        link.disconnect();
        let _ = pipe.shutdown(Shutdown::Both);
        let _ = writer.join();
    }
}

//! Accounts of other servers, as XEP-0227 has them.

use rosterkit::store::memory::MemoryStore;
use rosterkit::{Address, Domain, Engine, EngineOptions, ErrorKind, SessionOptions, Timestamp};

/// All of it comes in or nothing does, and what came in is there. Says whether it came in.
pub fn import(input: &[u8]) -> bool {
    let file = tempfile::NamedTempFile::new().and_then(|file| std::fs::write(&file, input).map(|()| file));
    let (Ok(file), Ok(domain)) = (file, Domain::new("example.org")) else { return false };
    let options = EngineOptions { shards: 1, ..EngineOptions::hosting([domain]) };
    let Ok(engine) = Engine::open_virtual(MemoryStore::new(), options, 1, Timestamp(0)) else {
        return false;
    };
    let found = engine.import_xep0227(&file, |_| Ok(()));
    let options = SessionOptions { reads_messages: true, ..SessionOptions::default() };
    let alice = Address::account("alice@example.org").map(|alice| engine.open_session(&alice, options));
    match (&found, alice) {
        (Ok(found), Ok(Ok(alice))) => {
            assert!(found.accounts > 0);
            assert!(alice.roster().is_ok_and(|roster| roster.buddies.len() <= found.buddies));
            let again = engine.import_xep0227(&file, |_| Ok(()));
            assert_eq!(again.map_err(|error| error.kind), Err(ErrorKind::Conflict));
        }
        (Err(_), alice) => assert!(alice.is_ok_and(|alice| alice.is_err())),
        // It brought others.
        (Ok(_), _) => {}
    }
    assert!(engine.failure().is_none());
    let _ = engine.shutdown(false);
    found.is_ok_and(|found| found.accounts > 0)
}

//! Addresses, which anybody may write.

use rosterkit_core::address::{Address, Domain};

/// What is an address is the same one when it is read again, and so are its parts. Says whether it was one.
pub fn address(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    if let Ok(domain) = Domain::new(text) {
        assert_eq!(Domain::new(domain.as_str()).as_ref(), Ok(&domain));
    }
    let Ok(address) = Address::new(text) else { return false };
    assert_eq!(Address::new(address.as_str()).as_ref(), Ok(&address));
    let bare = address.bare();
    assert_eq!((bare.as_str(), bare.instance()), (address.bare_str(), None));
    assert_eq!(bare.slot(), address.slot());
    assert!(Domain::new(address.domain()).is_ok_and(|domain| domain.as_str() == address.domain()));
    if let Some(instance) = address.instance() {
        assert_eq!(bare.with_instance(instance).as_ref(), Ok(&address));
    }
    assert_eq!(Address::account(text).is_ok(), address.user().is_some() && address.instance().is_none());
    true
}

//! Addresses: `user@domain[/instance]`.
//!
//! Prepared by the `jid` crate, that is by stringprep as in RFC 6122 (nodeprep, nameprep, resourceprep), and not
//! yet by PRECIS as in RFC 7622. The two differ for a few characters outside everyday names; what one accepts and
//! folds the other may refuse.

use crate::id::{AddressId, fnv1a};
use crate::refusal::Refusal;
use std::fmt;
use std::sync::Arc;

/// The longest each part of an address may be, in bytes (RFC 7622, section 3.1).
pub const MAX_PART_BYTES: usize = 1023;

/// The name of a domain, prepared.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Prepares and checks a domain name.
    pub fn new(text: &str) -> Result<Self, Refusal> {
        let jid = jid::BareJid::new(text).map_err(|e| invalid(text, &e))?;
        if jid.node().is_some() {
            return Err(Refusal::InvalidArgument(
                "a domain has no user part: give only what is right of @".into(),
            ));
        }
        check_prepared(text, jid.as_str())?;
        Ok(Domain(jid.domain().as_str().into()))
    }

    /// The prepared text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An address, prepared. Two addresses are equal when their prepared texts are. Clones are cheap.
#[derive(Clone)]
pub struct Address {
    text: Arc<str>,
    /// Where the domain begins: 0, or one behind the `@`.
    domain_at: u16,
    /// Where the bare address ends: at the `/`, or at the end.
    bare_end: u16,
}

impl Address {
    /// Prepares and checks an address. A domain alone is an address too (a service), but not an account's.
    pub fn new(text: &str) -> Result<Self, Refusal> {
        // A dot behind the domain is no part of it (RFC 7622, 3.2); left to the crate, it moves what stands behind it.
        let (bare, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
        let jid = match bare.ends_with('.') {
            true => jid::Jid::new(&format!("{}{rest}", bare.trim_end_matches('.'))),
            false => jid::Jid::new(text),
        };
        let jid = jid.map_err(|e| invalid(text, &e))?;
        check_prepared(text, jid.as_str())?;
        let node = jid.node().map_or(0, |n| n.as_str().len() + 1);
        let end = node + jid.domain().as_str().len();
        // Each part has at most 1023 bytes, so both offsets fit.
        Ok(Address { text: jid.as_str().into(), domain_at: node as u16, bare_end: end as u16 })
    }

    /// An address that names an account: it has a user part and no instance.
    pub fn account(text: &str) -> Result<Self, Refusal> {
        let address = Address::new(text)?;
        if address.user().is_none() || address.instance().is_some() {
            return Err(Refusal::InvalidArgument("an account's address has the form user@domain".into()));
        }
        Ok(address)
    }

    /// The prepared text, instance included.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part left of the `@`.
    pub fn user(&self) -> Option<&str> {
        (self.domain_at > 0).then(|| &self.text[..self.domain_at as usize - 1])
    }

    /// The domain's name.
    pub fn domain(&self) -> &str {
        &self.text[self.domain_at as usize..self.bare_end as usize]
    }

    /// The part right of the `/`.
    pub fn instance(&self) -> Option<&str> {
        self.text.get(self.bare_end as usize + 1..)
    }

    /// The text without the instance.
    pub fn bare_str(&self) -> &str {
        &self.text[..self.bare_end as usize]
    }

    /// Without the instance.
    #[must_use]
    pub fn bare(&self) -> Address {
        if self.instance().is_none() {
            return self.clone();
        }
        Address { text: self.bare_str().into(), ..*self }
    }

    /// The same account with this instance.
    pub fn with_instance(&self, instance: &str) -> Result<Address, Refusal> {
        Address::new(&format!("{}/{instance}", self.bare_str()))
    }

    /// The same, with an instance that came out of an [`instance`](Self::instance): it is not prepared again.
    #[must_use]
    pub fn with_prepared_instance(&self, instance: &str) -> Address {
        Address { text: format!("{}/{instance}", self.bare_str()).into(), ..*self }
    }

    /// Which slot, and so which shard, the account of this address belongs to.
    pub fn slot(&self) -> u64 {
        fnv1a(self.bare_str().as_bytes()) % AddressId::SLOTS
    }
}

/// What is prepared must be what is read again: there are signs that preparing takes apart, into some that no domain has.
fn check_prepared(text: &str, prepared: &str) -> Result<(), Refusal> {
    if prepared == text || jid::Jid::new(prepared).is_ok_and(|again| again.as_str() == prepared) {
        return Ok(());
    }
    Err(invalid(text, &"its prepared form is none"))
}

fn invalid(text: &str, error: &dyn fmt::Display) -> Refusal {
    // The text itself is something a person wrote: it goes back to its author, shortened, and never to a log.
    let shown: String = text.chars().take(64).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    Refusal::InvalidArgument(format!("{shown:?}{more} is not an address: {error}"))
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Address {}

impl std::hash::Hash for Address {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

macro_rules! text_like {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

text_like!(Address);
text_like!(Domain);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_behind_the_domain_moves_nothing() {
        let address = Address::new("alice@example.org./phone").unwrap();
        assert_eq!((address.user(), address.instance()), (Some("alice"), Some("phone")));
        assert_eq!(address.bare().with_prepared_instance("phone"), address);
        assert_eq!(Address::new(address.as_str()).unwrap(), address);
    }

    #[test]
    fn parts_are_found() {
        let full = Address::new("Alice@Example.ORG/Phone 1").unwrap();
        assert_eq!(full.as_str(), "alice@example.org/Phone 1");
        assert_eq!(
            (full.user(), full.domain(), full.instance()),
            (Some("alice"), "example.org", Some("Phone 1"))
        );
        assert_eq!(full.bare(), Address::account("alice@example.org").unwrap());
        assert_eq!(full.slot(), full.bare().slot());
        let service = Address::new("example.org").unwrap();
        assert_eq!((service.user(), service.domain(), service.instance()), (None, "example.org", None));
    }

    #[test]
    fn what_is_no_address_once_it_is_prepared_is_none() {
        // A quarter becomes a fraction slash between figures, which is no sign of a domain.
        let domain = "J\u{bc}rgrgetlra\u{df}eergetra\u{df}J\u{bc}eerrgrgetlra\u{df}eergetra\u{df}J";
        assert!(Domain::new(domain).is_err());
        assert!(Address::new(domain).is_err() && Address::new(&format!("a@{domain}/x")).is_err());
        assert_eq!(Domain::new("Straße.Example").unwrap(), Domain::new("strasse.example").unwrap());
    }

    #[test]
    fn malformed_and_over_long_addresses_are_refused() {
        let long = "a".repeat(MAX_PART_BYTES + 1);
        for text in [
            "",
            "@example.org",
            "alice@",
            "a b@example.org",
            "alice@example.org/",
            &format!("{long}@example.org"),
            &format!("alice@{long}"),
            &format!("alice@example.org/{long}"),
            "a@b@c",
            "\u{0}@example.org",
        ] {
            assert!(matches!(Address::new(text), Err(Refusal::InvalidArgument(_))), "{text:?} passed");
        }
        for text in ["example.org", "alice@example.org/phone"] {
            assert!(Address::account(text).is_err(), "{text} passed as an account");
        }
    }
}

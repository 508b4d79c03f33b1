//! What is done with bytes that nobody checked: by the fuzzer, which looks for new ones (`cargo xtask fuzz`), and by an
//! ordinary test, which repeats those it found.

mod address;
mod boundary;
mod calls;
mod import;
mod peer_link;
mod rules;
mod seeds;
mod vcard;

pub use address::address;
pub use boundary::boundary;
pub use calls::calls;
pub use import::import;
pub use peer_link::peer_link;
pub use rules::rules;
pub use seeds::boundary_seeds;
pub use vcard::vcard;

//! What the rules are.
//!
//! `rosterkit-core` is the pure half of RosterKit: no I/O, no threads, no clock, no global. Values come in,
//! values go out; time, ids and randomness are arguments. The running engine and the simulated world call the
//! same functions.
//!
//! Read it in this order: [`address`], [`id`] and [`time`] are the words everything is made of; [`roster`],
//! [`presence`], [`admission`], [`invitation`], [`rules`] and [`delivery`] are the rules; [`row`], [`account`] and [`write`] are what a
//! decision may ask to be persisted.

pub mod account;
pub mod address;
pub mod admission;
pub mod content;
pub mod delivery;
pub mod files;
pub mod id;
pub mod invitation;
pub mod planted;
pub mod preferences;
pub mod presence;
pub mod refusal;
pub mod registration;
pub mod roster;
pub mod row;
pub mod rules;
pub mod time;
pub mod vcard;
pub mod write;

//! Accounts from other servers, all or nothing, and for them.

mod export;
mod tree;
mod xep0227;

use crate::command::ListenerError;
use crate::error::{Error, ErrorKind, Result};
use rosterkit_core::account::Record;
use rosterkit_core::address::Address;
use rosterkit_core::id::{AddressId, MessageId};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::roster::{Buddy, Half, Halves};
use rosterkit_core::row::{Entry, Kind, Side, Sides};
use rosterkit_core::time::Timestamp;
use rosterkit_core::write::{OWN, Write};
use std::path::Path;
use std::sync::Arc;
use xep0227::{ImportedAccount, ImportedBuddy, ImportedMessage};

pub use export::ExportSummary;
pub(crate) use export::write;

/// How far an import has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportProgress {
    /// Accounts read so far.
    pub accounts: usize,
    /// Buddies on their rosters.
    pub buddies: usize,
    /// Messages waiting for them.
    pub messages: usize,
}

/// Accounts that were read and not written yet.
pub(crate) struct Plan {
    accounts: Vec<ImportedAccount>,
    pub(crate) found: ImportProgress,
}

/// Reads an XEP-0227 file. Every domain in it must be hosted already.
pub(crate) fn read(
    path: &Path,
    is_hosted: impl Fn(&str) -> bool,
    progress: &mut dyn FnMut(ImportProgress) -> std::result::Result<(), ListenerError>,
) -> Result<Plan> {
    let mut plan = Plan { accounts: Vec::new(), found: ImportProgress::default() };
    for (domain, accounts) in xep0227::read(path)? {
        if !is_hosted(domain.as_str()) {
            let what = format!(
                "{} holds the domain {domain}, which is not hosted here: add it first",
                path.display()
            );
            return Err(Refusal::NotFound(what).into());
        }
        for account in accounts {
            if plan.accounts.iter().any(|a| a.address == account.address) {
                let what = format!("{} has {} twice", path.display(), account.address);
                return Err(Error::new(ErrorKind::InvalidArgument, what));
            }
            plan.found.accounts += 1;
            plan.found.buddies += account.roster.len();
            plan.found.messages += account.messages.len();
            plan.accounts.push(account);
            progress(plan.found).map_err(|ListenerError(text)| {
                Error::new(
                    ErrorKind::Forbidden,
                    format!("the import was called off by its listener, nothing was imported: {text}"),
                )
            })?;
        }
    }
    Ok(plan)
}

/// Gives ids to addresses, and knows which have an account.
pub(crate) trait Ids {
    /// The id of an address, and whether it is new.
    fn id_of(&mut self, address: &Address) -> Result<(AddressId, bool)>;
    /// Whether an account answers to it.
    fn has_account(&mut self, address: &Address) -> Result<bool>;
}

impl Plan {
    /// Everything there is to write, as one item: all of it or none.
    pub(crate) fn writes(
        self,
        ids: &mut dyn Ids,
        hosted: impl Fn(&str) -> bool,
        now: Timestamp,
    ) -> Result<Vec<Write>> {
        let mut writes = Vec::new();
        let mut known = Vec::new();
        let mut id_of = |address: &Address, writes: &mut Vec<Write>| -> Result<AddressId> {
            let (id, minted) = ids.id_of(address)?;
            if minted && !known.contains(&id) {
                known.push(id);
                writes.push(Write::Address { id, address: address.clone() });
            }
            Ok(id)
        };
        let mut rows = Vec::new();
        for account in self.accounts {
            let id = id_of(&account.address, &mut writes)?;
            let mut record = Record::new(id, account.address.clone());
            record.avatar = account.avatar.flatten();
            let blocked = account.blocked.into_iter();
            record.blocked = blocked.map(|address| (address, Timestamp::default())).collect();
            for buddy in buddies(account.roster, account.asking, |address| id_of(address, &mut writes))? {
                let relation = buddy.relation();
                let here = hosted(buddy.address.domain());
                record.roster.set(buddy.peer, if here { relation } else { relation.outside() });
                record.roster_version = OWN;
                writes.push(Write::Buddy(id, buddy));
            }
            writes.push(Write::AccountCreated(Arc::new(record)));
            writes.extend(account.credentials.into_iter().map(|c| Write::Credential(id, c)));
            writes.extend(account.files.into_iter().map(|f| Write::File(id, f)));
            for (number, message) in account.messages.into_iter().enumerate() {
                let sender = id_of(&message.sender.bare(), &mut writes)?;
                // It has had its time.
                if message.expires.is_none_or(|expires| expires > now) {
                    rows.push((message.time, number, row(message, sender, id, now)));
                }
            }
        }
        // In the order of their times over all accounts; those of one account keep their order where times are equal.
        rows.sort_by_key(|(time, number, _)| (*time, *number));
        writes.extend(rows.into_iter().map(|(_, _, row)| row));
        Ok(writes)
    }

    /// Fails when one of the accounts is there already.
    pub(crate) fn check(&self, ids: &mut dyn Ids) -> Result<()> {
        for account in &self.accounts {
            if ids.has_account(&account.address)? {
                let what = format!("the account {} exists: nothing was imported", account.address);
                return Err(Refusal::Conflict(what).into());
            }
        }
        Ok(())
    }
}

/// A roster, with those who only ask.
fn buddies(
    roster: Vec<ImportedBuddy>,
    asking: Vec<Address>,
    mut id_of: impl FnMut(&Address) -> Result<AddressId>,
) -> Result<Vec<Buddy>> {
    let half = |set| Half { set, at: OWN };
    let mut buddies: Vec<Buddy> = Vec::new();
    for item in roster {
        let mut buddy = Buddy::new(id_of(&item.address)?, item.address);
        buddy.rename(item.name)?;
        buddy.regroup(item.groups)?;
        buddy.listed = true;
        buddy.version = OWN;
        buddy.halves = Halves {
            my_wish: half(item.to || item.asked),
            their_grant: half(item.to),
            their_wish: half(item.from),
            // Who asks both ways at once, as we do, grants with the wish; an export of another server's does not say.
            my_grant: half(item.from),
        };
        buddies.push(buddy);
    }
    for address in asking {
        let peer = id_of(&address)?;
        match buddies.iter_mut().find(|b| b.peer == peer) {
            Some(buddy) => buddy.halves.their_wish = half(true),
            None => {
                let mut buddy = Buddy::new(peer, address);
                buddy.version = OWN;
                buddy.halves.their_wish = half(true);
                buddies.push(buddy);
            }
        }
    }
    Ok(buddies)
}

/// A message that waits. The sender's copy, if there was one, is not in an export.
fn row(message: ImportedMessage, sender: AddressId, recipient: AddressId, now: Timestamp) -> Write {
    let time = message.time.unwrap_or(now);
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let id = message.id.unwrap_or_else(|| MessageId::new(time.0, random));
    let content = Kind::Message(message.content);
    let entry = Entry {
        instance: message.sender.instance().map(Into::into),
        client_id: message.client_id,
        expires: message.expires,
        ..Entry::new(sender, recipient, id, time, content)
    };
    let sides = Sides::new(true, false);
    Write::append(entry, if sender == recipient { sides } else { sides.cleared(Side::Sender) })
}

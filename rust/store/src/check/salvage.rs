//! Brings what is whole into a new file.
//!
//! Every row that is whole is written anew, by the store's own way of making a file. The indexes are made from the rows, not
//! taken over. The new file is to the old one as a restored backup is: it has a generation of its own, and gives nothing
//! that the old one may have given.

use super::Unchanged;
use super::record::Value;
use super::rows::{HIGHEST_POSITION, buddy_of, check_value, is_derived, log_row};
use super::survey::{Listed, Rescued, Survey};
use super::tree::{Found, Row};
use crate::StoreError;
use crate::sqlite::{Known, LOST, Object, Rebuild, rebuild};
use crate::values::{decode_progress, encode_buddy, encode_overrides, encode_progress, encode_record};
use rosterkit_core::account::{Progress as AccountProgress, Record};
use rosterkit_core::address::Address;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::preferences::Overrides;
use rosterkit_core::roster::{Buddy, Half, Halves};
use rosterkit_core::row;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What is in the new file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Salvaged {
    /// Messages, and other rows of the log.
    pub messages: u64,
    /// Accounts, those made anew among them.
    pub accounts: u64,
    /// Accounts whose own record is lost: they have their messages and what is left of their rosters, and none of their
    /// settings, blocks and devices.
    pub made_anew: Vec<String>,
    /// Rows of other tables, those of accounts among them.
    pub rows: u64,
    /// Addresses that are lost, and stand as `…@lost.invalid` in the messages that they wrote or got.
    pub unknown_addresses: u64,
}

/// Writes everything that is whole into a new file.
pub(super) fn salvage(
    survey: &mut Survey<'_>,
    from: &Path,
    to: &Path,
    unchanged: Unchanged<'_>,
    on_page: &dyn Fn(),
) -> Result<Salvaged, StoreError> {
    rebuild(from, to, |file| {
        let mut filling = Filling {
            salvaged: Salvaged::default(),
            lost: survey.lost_accounts().into_iter().map(|(id, name)| (id, Anew::new(id, &name))).collect(),
            rescued: survey.rescued.iter().map(|(position, rescued)| (*position, *rescued)).collect(),
            buddies: survey
                .lost_buddies()
                .into_iter()
                .map(|one| ((one.account, one.peer), (one, None)))
                .collect(),
            waits: ["outbox", "quarantine", "due"].into_iter().any(|table| survey.is_torn(table)),
            log_is_done: false,
            file,
        };
        let mut walker = survey.again(on_page);
        let mut result = Ok(());
        survey.each_object(&mut walker, &mut |survey, object, found| {
            if let (Ok(()), Found::Row(row)) = (&result, found) {
                result = filling.take(survey, &survey.layout.objects[object], &row);
            }
        });
        result?;
        filling.rescue(survey, u64::MAX)?;
        filling.strays(survey, on_page)?;
        filling.addresses(survey)?;
        filling.buddies(survey)?;
        filling.accounts(survey)?;
        unchanged()?;
        let meta = |key: &str| {
            let value = survey.meta.get(key).and_then(|value| u64::try_from(*value).ok());
            value.filter(|value| *value <= HIGHEST_POSITION)
        };
        let known = Known {
            reserved: meta("reserved").unwrap_or(0).max(survey.highest_position + 1),
            sent: meta("sent").unwrap_or(survey.highest_position),
            highest_id: survey.highest_id,
            skip_ids: survey.is_torn("address")
                || survey.pages.wal.as_ref().is_some_and(|wal| !wal.lost.is_empty()),
        };
        Ok((filling.salvaged, known))
    })
}

/// An account that is made anew.
struct Anew {
    record: Option<Record>,
    /// Devices are given numbers that none had.
    highest_device: u32,
}

impl Anew {
    fn new(id: u64, name: &str) -> Self {
        let address = Address::account(name).ok();
        let record = address.map(|address| Record::new(AddressId::from_bits(id), address));
        Anew { record, highest_device: 0 }
    }
}

struct Filling<'f, 'c> {
    file: &'f mut Rebuild<'c>,
    salvaged: Salvaged,
    lost: BTreeMap<u64, Anew>,
    /// Buddies of which only the index of the roster is left, and what the other side has of the same two.
    buddies: BTreeMap<(u64, u64), (Listed, Option<Halves>)>,
    /// Rows of the log that nothing leads to, and that are not written yet.
    rescued: BTreeMap<u64, Rescued>,
    /// What rows wait for is known from the rows alone.
    waits: bool,
    log_is_done: bool,
}

impl Filling<'_, '_> {
    fn take(&mut self, survey: &Survey<'_>, of: &Object, row: &Row<'_>) -> Result<(), StoreError> {
        if of.name == "log" {
            if !row.is_in_place {
                return Ok(());
            }
            let Ok((_, found)) = log_row(row) else { return Ok(()) };
            self.rescue(survey, found.position.0)?;
            return self.append(&found, row, self.waits);
        }
        if !self.log_is_done {
            self.rescue(survey, u64::MAX)?;
            self.log_is_done = true;
        }
        if of.is_index || !row.is_proven {
            return Ok(());
        }
        match row.values() {
            Some(values) => self.insert(survey, of, row.row_id, &values),
            None => Ok(()),
        }
    }

    fn append(&mut self, found: &row::Row, row: &Row<'_>, waits: bool) -> Result<(), StoreError> {
        let values = row.values().unwrap_or_default();
        let Some(body) = values.get(4).and_then(|body| body.blob()) else { return Ok(()) };
        if let (Some(device), Some(account)) =
            (found.entry.device, self.lost.get_mut(&found.entry.sender.to_bits()))
        {
            account.highest_device = account.highest_device.max(device.0);
        }
        self.salvaged.messages += u64::from(self.file.append(found, body, waits)?);
        Ok(())
    }

    /// Writes the rows of the log that nothing leads to, below this position.
    fn rescue(&mut self, survey: &Survey<'_>, below: u64) -> Result<(), StoreError> {
        while let Some(entry) = self.rescued.first_entry().filter(|entry| *entry.key() < below) {
            let rescued = entry.remove();
            let mut result = Ok(());
            survey.at(rescued.place, &mut |row| {
                if let Ok((_, mut found)) = log_row(&row) {
                    found.sides = rescued.sides;
                    result = self.append(&found, &row, true);
                }
            });
            result?;
        }
        Ok(())
    }

    /// Writes rows of other tables that nothing leads to.
    fn strays(&mut self, survey: &Survey<'_>, on_page: &dyn Fn()) -> Result<(), StoreError> {
        for &(object, place) in &survey.strays {
            (on_page)();
            let mut result = Ok(());
            survey.at(place, &mut |row| {
                if let Some(values) = row.values() {
                    result = self.insert(survey, &survey.layout.objects[object], row.row_id, &values);
                }
            });
            result?;
        }
        Ok(())
    }

    /// A row of another table than the log.
    fn insert(
        &mut self,
        survey: &Survey<'_>,
        of: &Object,
        row_id: i64,
        values: &[Value<'_>],
    ) -> Result<(), StoreError> {
        let name = of.name.as_str();
        if is_derived(name) || !of.fits(values) || check_value(name, row_id, values).is_err() {
            return Ok(());
        }
        let values = of.with_row_id(row_id, values);
        let number = |at: usize| values.get(at).and_then(|value| value.integer()).unwrap_or_default();
        let has_row = |file: &Rebuild<'_>| match name {
            "outbox" | "forward" => file.has_row(number(0)),
            "quarantine" | "due" => file.has_row(number(1)),
            _ => Ok(true),
        };
        match name {
            // The new file's own.
            "meta" => return Ok(()),
            // Of a row that is there it follows from the row.
            "client_id" => {
                if matches!(values[4], Value::Blob(_)) && !self.file.has_row(number(1))? {
                    self.file.insert_client_id(&values)?;
                    self.salvaged.rows += 1;
                }
                return Ok(());
            }
            "progress" => {
                if let (Some(account), Some(bytes)) = (self.lost.get_mut(&(row_id as u64)), values[1].blob())
                {
                    // Its devices are not known any more.
                    let progress = decode_progress(bytes).unwrap_or_default();
                    let devices = progress.cursors.iter().map(|cursor| cursor.device.0);
                    account.highest_device = devices.fold(account.highest_device, u32::max);
                    let progress = AccountProgress { cursors: Vec::new(), ..progress };
                    let values = [values[0], Value::Blob(&encode_progress(&progress))];
                    self.salvaged.rows += u64::from(self.file.insert(name, &values)?);
                    return Ok(());
                }
            }
            "buddy" => {
                if let (Some(account), Some(buddy)) =
                    (self.lost.get_mut(&(number(0) as u64)), buddy_of(&values))
                    && let Some(record) = &mut account.record
                {
                    let relation = buddy.relation();
                    let is_here = survey.domains.contains(buddy.address.domain());
                    record.roster.set(buddy.peer, if is_here { relation } else { relation.outside() });
                    record.roster_version = record.roster_version.max(buddy.version);
                }
            }
            _ => {}
        }
        if has_row(self.file)? && self.file.insert(name, &values)? {
            self.salvaged.rows += 1;
            self.salvaged.accounts += u64::from(name == "account");
        }
        Ok(())
    }

    /// Every id that is left has an address, if it is only to say that it is lost.
    fn addresses(&mut self, survey: &Survey<'_>) -> Result<(), StoreError> {
        let correspondents = survey.correspondents();
        let known: HashMap<u64, &str> = match survey.is_torn("address") {
            true => survey.addresses.keys().filter_map(|id| Some((*id, survey.address(*id)?))).collect(),
            false => HashMap::new(),
        };
        let ids = correspondents.iter().chain(survey.lost_addresses.keys());
        let found = ids.filter_map(|id| Some((*id, survey.address(*id)?)));
        let live_are_known = !survey.is_torn("address_live");
        for (id, text) in known.into_iter().chain(found) {
            // Somebody who is on a roster, and not among those who are there, was deleted.
            let is_retired = live_are_known && survey.from_rosters.contains(&id);
            let values = [Value::Integer(id as i64), Value::Text(text), Value::Integer(is_retired.into())];
            self.salvaged.rows += u64::from(self.file.insert("address", &values)?);
        }
        for id in correspondents {
            let text = format!("{id}@{LOST}");
            let values = [Value::Integer(id as i64), Value::Text(&text), Value::Integer(1)];
            self.salvaged.unknown_addresses += u64::from(self.file.insert("address", &values)?);
        }
        Ok(())
    }

    /// Buddies of which only the index of the roster is left. Both sides have the same two subscriptions.
    fn buddies(&mut self, survey: &Survey<'_>) -> Result<(), StoreError> {
        for ((account, peer), (one, theirs)) in std::mem::take(&mut self.buddies) {
            let Some(address) = survey.address(peer).and_then(|text| Address::new(text).ok()) else {
                continue;
            };
            let mut buddy = Buddy::new(AddressId::from_bits(peer), address);
            let half = |set| Half { set, at: Position::ZERO };
            let Listed { relation, version, .. } = one;
            buddy.halves = match theirs {
                Some(Halves { my_wish, my_grant, their_wish, their_grant }) => Halves {
                    my_wish: their_wish,
                    my_grant: their_grant,
                    their_wish: my_wish,
                    their_grant: my_grant,
                },
                None => Halves {
                    my_wish: half(relation.to() || relation.requested()),
                    my_grant: half(relation.from()),
                    their_wish: half(relation.from() || relation.asking()),
                    their_grant: half(relation.to()),
                },
            };
            (buddy.listed, buddy.version) = (relation.listed(), version);
            let values = [
                Value::Integer(account as i64),
                Value::Integer(peer as i64),
                Value::Integer(version.0 as i64),
                Value::Blob(&encode_buddy(&buddy)),
            ];
            self.salvaged.rows += u64::from(self.file.insert("buddy", &values)?);
        }
        Ok(())
    }

    /// Accounts whose record is lost, and the domains of all.
    fn accounts(&mut self, survey: &Survey<'_>) -> Result<(), StoreError> {
        for (id, account) in std::mem::take(&mut self.lost) {
            let Some(mut record) = account.record else { continue };
            record.next_device = account.highest_device.saturating_add(1);
            let values = [
                Value::Integer(id as i64),
                Value::Text(record.address.domain()),
                Value::Text(record.address.as_str()),
                Value::Blob(&encode_record(&record)),
                Value::Null,
            ];
            if self.file.insert("account", &values)? {
                self.salvaged.accounts += 1;
                self.salvaged.rows += 1;
                self.salvaged.made_anew.push(record.address.as_str().to_owned());
            }
        }
        let overrides = encode_overrides(&Overrides::default());
        for name in survey.account_names.values() {
            if let Ok(address) = Address::account(name)
                && !survey.domains.contains(address.domain())
            {
                self.file.insert("domain", &[Value::Text(address.domain()), Value::Blob(&overrides)])?;
            }
        }
        Ok(())
    }
}

//! An account's own rules: checked and stored, read, and explained.

use super::change::{After, Changing};
use super::rules::Asked;
use super::{Shard, Work};
use crate::answers::ReplyTo;
use crate::command::{Answer, Command};
use crate::error::{Error, Result};
use crate::messages::Fetch;
use rosterkit_core::address::Address;
use rosterkit_core::content::Content;
use rosterkit_core::id::{AddressId, MessageId};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::row::{Entry, Kind};
use rosterkit_core::rules::{self, Owner, RuleError, RuleSet, Stage};
use rosterkit_core::write::{RulesOf, Write};
use std::sync::Arc;

impl Shard {
    /// Checks rules of the account's own, and reads whether the accounts that they name are there.
    pub(super) fn set_rules(&mut self, id: AddressId, json: String, reply: ReplyTo) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        match RuleSet::from_json(Owner::Account(&resident.record.address), &json) {
            Ok(rules) => {
                let named = named(&rules, |domain| self.domains.hosts(domain));
                let work = Work::Command { session: None, command: Box::new(Command::SetRules(json)), reply };
                self.fetch_first(id, work, Fetch::Exist { account: id, addresses: named });
            }
            Err(error) => reply.answer(Err(Refusal::from(error).into())),
        }
    }

    /// Which of the accounts that rules name are there was read.
    pub(super) fn take_existing(&mut self, id: AddressId, result: Result<Vec<bool>>) {
        let Some(Work::Command { command, reply, .. }) = self.take_fetching(id) else {
            return;
        };
        let Command::SetRules(json) = *command else {
            return;
        };
        let address = self.residents.get(&id).map(|resident| resident.record.address.clone());
        let checked = address.map(|address| {
            let rules = RuleSet::from_json(Owner::Account(&address), &json).map_err(Refusal::from)?;
            check_named(&rules, |domain| self.domains.hosts(domain), &result?)?;
            Ok::<_, Error>(rules)
        });
        match checked {
            Some(Ok(rules)) => {
                let rules = (!rules.rules().is_empty()).then(|| Arc::new(rules));
                let writes = vec![Write::Rules(RulesOf::Account(id), rules.clone())];
                self.change(id, Changing { record: None, after: After::RulesSet { rules, reply } }, writes);
            }
            Some(Err(error)) => reply.answer(Err(error)),
            None => {}
        }
        self.continue_gate(id);
    }

    /// The account's own rules, as JSON.
    pub(super) fn read_rules(&self, id: AddressId, reply: ReplyTo) {
        let rules = self.residents.get(&id).and_then(|resident| resident.rules.clone());
        reply.answer(Ok(Answer::Rules(json(rules.as_deref()))));
    }

    /// What the rules would do with a text from this sender now, and why: the account's own, and those above.
    pub(super) fn explain_rules(
        &self,
        id: AddressId,
        (sender, from): (AddressId, &Address),
        text: &str,
        reply: ReplyTo,
    ) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let kind = Kind::Message(Content::text(text));
        let message_id = MessageId(Default::default());
        let entry = Entry::new(sender, id, message_id, self.now.wall, kind);
        let asked = Asked { sender, from, request_uri: &resident.record.address, entry: &entry };
        let facts = self.facts(resident, asked);
        let levels = self.levels(resident).unwrap_or_default();
        let stages = [Stage::Immediate, Stage::NoAnswer, Stage::Failure];
        let explained = stages.map(|stage| rules::explain(&levels, stage, &facts));
        reply.answer(Ok(Answer::Explanation(rules::to_json(&explained))));
    }
}

/// The accounts of hosted domains that rules name.
pub(crate) fn named(rules: &RuleSet, hosts: impl Fn(&str) -> bool) -> Vec<Address> {
    rules.names().map(|named| named.address.bare()).filter(|address| hosts(address.domain())).collect()
}

/// Refuses rules that name an account which is not there; `exist` is of those that [`named`] gives.
pub(crate) fn check_named(
    rules: &RuleSet,
    hosts: impl Fn(&str) -> bool,
    exist: &[bool],
) -> std::result::Result<(), Refusal> {
    let hosted = rules.names().filter(|named| hosts(named.address.domain()));
    match hosted.zip(exist).find(|(_, exists)| !**exists) {
        Some((named, _)) => Err(RuleError::no_such_account(&named).into()),
        None => Ok(()),
    }
}

/// Rules as JSON, also when there are none.
pub(crate) fn json(rules: Option<&RuleSet>) -> String {
    rules.map_or_else(|| RuleSet::default().to_json(), RuleSet::to_json)
}

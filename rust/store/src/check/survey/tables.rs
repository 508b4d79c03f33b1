//! The tables and indexes: where each begins, and what stands in it.

use super::{LostRow, Place, SCHEMA, Source, Survey};
use crate::check::record::{Value, decode};
use crate::check::rows::{buddy_of, check_value, decode_start, entries_of, key, log_row, record_of, root_of};
use crate::check::tree::{Found, Node, Role, Row, Use, Walker};
use crate::sqlite::Object;
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::roster::Relation;
use rosterkit_core::row::Side;
use std::collections::HashMap;

/// What an index says of a row.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) peer: u64,
    pub(super) side: u8,
    pub(super) time: i64,
}

/// What the index of a roster has of a buddy.
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) account: u64,
    pub(crate) peer: u64,
    pub(crate) relation: Relation,
    /// Of the roster.
    pub(crate) version: Position,
}

impl Survey<'_> {
    /// Where each table begins. When pages of the schema are broken, the others are looked for among all pages.
    pub(super) fn schema(&mut self, walker: &mut Walker<'_>) {
        let mut roots = HashMap::new();
        let (mut gaps, mut is_malformed) = (Vec::new(), false);
        walker.walk(SCHEMA, 1, true, &mut |found| match found {
            Found::Row(row) if row.is_proven => match row.record.as_deref().ok().and_then(root_of) {
                Some((name, root)) => drop(roots.insert(name.to_owned(), root)),
                None => is_malformed = true,
            },
            Found::Row(_) => {}
            Found::Gap(gap) => gaps.push(gap),
        });
        if is_malformed {
            self.note("sqlite_schema", 1, "a row of it is none");
        }
        if is_malformed || !gaps.is_empty() {
            for number in 2..=self.pages.highest() {
                if walker.reached.contains_key(&number) {
                    continue;
                }
                let page = self.pages.read(number);
                let Some(node) = Node::parse(number, &page.bytes).filter(|node| node.has_row_ids()) else {
                    continue;
                };
                if page.fault.is_some() || !node.is_leaf() {
                    continue;
                }
                let mut of_schema = Vec::new();
                let mut rows = 0;
                walker.rows(number, &node, &mut |row| {
                    rows += 1;
                    let root = row.record.as_deref().ok().and_then(root_of);
                    of_schema.extend(root.map(|(name, root)| (name.to_owned(), root)));
                });
                if rows > 0 && rows == of_schema.len() {
                    walker.reached.insert(number, Use { object: SCHEMA, role: Role::Leaf });
                    for (name, root) in of_schema {
                        roots.entry(name).or_insert(root);
                    }
                }
            }
        }
        for (object, root) in self.layout.objects.iter().zip(&mut self.roots) {
            *root = roots.get(&object.name).copied();
        }
        let is_known = |name: &String| self.layout.objects.iter().any(|object| object.name == *name);
        self.is_newer |= self.format_is_unknown && !roots.keys().all(is_known);
        if !is_malformed && gaps.is_empty() {
            let missing: Vec<_> = self.layout.objects.iter().zip(&self.roots).collect();
            let missing: Vec<String> =
                missing.into_iter().filter(|(_, root)| root.is_none()).map(|(o, _)| o.name.clone()).collect();
            for name in missing {
                self.note("sqlite_schema", name, "there is no such table or index");
            }
        }
        self.gaps = gaps;
    }

    /// What a walk through a table or an index came to.
    pub(super) fn take(&mut self, object: usize, found: Found<'_>) {
        let layout = self.layout;
        let of = &layout.objects[object];
        match found {
            Found::Gap(gap) => self.gaps.push(gap),
            Found::Row(row) if of.name == "log" => self.take_log_row(row),
            Found::Row(row) if row.is_proven => match row.record.as_deref().map(decode) {
                Ok(Some(values)) => self.take_row(of, row.row_id, &values),
                Ok(None) => self.note(&of.name, key(of, row.row_id, &[]), "it is no record"),
                // Which page is missing is a gap.
                Err(_) => {}
            },
            Found::Row(_) => {}
        }
    }

    pub(super) fn take_log_row(&mut self, row: Row<'_>) {
        let is_reached = row.is_in_place;
        let position = row.row_id as u64;
        match log_row(&row) {
            Ok((of, _)) if is_reached => {
                self.raise(&[position], &[of.sender, of.recipient]);
                self.log.push(of);
            }
            Ok((of, _)) => self.candidate(of, Place { source: Source::Broken(row.page), cell: row.cell }),
            Err(what) if is_reached => {
                if row.is_proven && row.record.is_ok() {
                    self.note("log", position, what);
                }
                let ids = decode_start(row.local);
                let id = |at: usize| ids.get(at).and_then(|id| *id).map(|id| id as u64);
                self.bad_rows.push(LostRow { position, sender: id(1), recipient: id(2), time: None });
            }
            Err(_) => {}
        }
    }

    /// A row of another table than the log, or of an index.
    pub(super) fn take_row(&mut self, of: &Object, row_id: i64, values: &[Value<'_>]) {
        let number = |at: usize| values.get(at).and_then(|value| value.integer()).unwrap_or_default() as u64;
        let text = |at: usize| values.get(at).and_then(|value| value.text()).unwrap_or_default();
        let has_more = !of.is_index && of.begins(values) && !of.fits(values);
        self.is_newer |= self.format_is_unknown && has_more;
        let is_shaped = if self.is_newer { of.begins(values) } else { of.fits(values) };
        if !of.is_index && !is_shaped {
            return self.note(&of.name, key(of, row_id, values), "its columns are not those of the table");
        }
        if let Err(what) = check_value(&of.name, row_id, values) {
            self.note(&of.name, key(of, row_id, values), what);
        }
        for (index, entry) in entries_of(&of.name, row_id, values) {
            self.sums.entry(index).or_default()[usize::from(of.is_index)].add(&entry);
        }
        match of.name.as_str() {
            "meta" => drop(self.meta.insert(text(0).to_owned(), number(1) as i64)),
            "log_by_account" => {
                self.raise(&[number(1)], &[number(0), number(2)]);
                let named = Named { peer: number(2), side: number(3) as u8, time: number(5) as i64 };
                self.named(of, (number(1), number(0)), named, 0);
            }
            "log_by_peer" => {
                self.raise(&[number(2)], &[number(0), number(1)]);
                let named = Named { peer: number(1), side: 0, time: number(3) as i64 };
                self.named(of, (number(2), number(0)), named, 2);
            }
            "client_id" => self.raise(&[number(1)], &[number(0)]),
            "address" => {
                self.raise(&[], &[row_id as u64]);
                self.addresses.insert(row_id as u64, text(1).into());
            }
            "address_live" => {
                // The table leads to it as well, but for what is broken of it.
                self.raise(&[], &[number(1)]);
                self.addresses.entry(number(1)).or_insert_with(|| text(0).into());
            }
            "account" => {
                self.raise(&[], &[row_id as u64]);
                self.accounts.insert(row_id as u64);
                self.account_names.insert(row_id as u64, text(2).to_owned());
                if let Some(record) = record_of(row_id, values) {
                    self.raise(&[record.roster_version.0], &[]);
                    let version = record.roster_version;
                    let listed = |(peer, relation): (AddressId, Relation)| Listed {
                        account: row_id as u64,
                        peer: peer.to_bits(),
                        relation,
                        version,
                    };
                    self.rosters.extend(record.roster.iter().map(listed));
                }
            }
            "account_by_domain" => {
                self.account_names.entry(number(2)).or_insert_with(|| text(1).to_owned());
            }
            "progress" => drop(self.with_progress.insert(row_id as u64)),
            "domain" => drop(self.domains.insert(text(0).to_owned())),
            "buddy" => {
                // What the table of addresses does not have any more.
                if let (None, Some(buddy)) = (self.addresses.get(&number(1)), buddy_of(values)) {
                    self.addresses.insert(number(1), buddy.address.as_str().into());
                    self.from_rosters.insert(number(1));
                }
                self.raise(&[number(2)], &[number(0), number(1)]);
                self.buddies.insert((number(0), number(1)));
            }
            "mark" => self.raise(&[number(2), number(3), number(4)], &[number(0), number(1)]),
            "pending" => self.raise(&[number(0)], &[number(2)]),
            "file" => drop(self.files.insert(row_id)),
            "sqlite_autoindex_file_1" => {
                self.file_names.push((number(0), text(1).to_owned(), number(2) as i64));
            }
            _ => {}
        }
    }

    /// An index names a row. `shift` tells the indexes apart.
    pub(super) fn named(&mut self, of: &Object, (position, account): (u64, u64), named: Named, shift: u8) {
        let Ok(at) = self.log.binary_search_by_key(&position, |row| row.position) else {
            let known = self.dangling.entry((position, account)).or_insert(named);
            known.side |= named.side;
            return;
        };
        let row = &mut self.log[at];
        let side = |id, side: Side, bit: u8| if id == account && row.sides.needed_by(side) { bit } else { 0 };
        let sides = side(row.recipient, Side::Recipient, 1) | side(row.sender, Side::Sender, 2);
        row.indexed |= sides << shift;
        if sides == 0 || (shift == 0 && sides != named.side) {
            self.note(&of.name, position, format_args!("account {account} does not need the row so"));
        }
    }
}

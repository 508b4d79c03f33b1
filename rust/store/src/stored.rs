//! Rows as they are stored: read many at once, and each decoded where and when somebody wants to know what it says.

use crate::StoreError;
use crate::values::{decode_row, is_ruled};
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::row::{Row, Side, Sides};
use std::path::Path;
use std::sync::Arc;

/// Rows of the log as they are stored, in the order in which they were asked for. They share one piece of memory.
#[derive(Debug)]
pub struct StoredRows {
    path: Arc<Path>,
    heads: Vec<Head>,
    /// Where the body of each ends; it begins where the one before ends.
    ends: Vec<usize>,
    bodies: Vec<u8>,
}

/// What is known of a row without decoding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its place in the log.
    pub position: Position,
    /// The account it came from.
    pub sender: AddressId,
    /// The account it goes to.
    pub recipient: AddressId,
    /// Who needs it.
    pub sides: Sides,
}

impl Head {
    /// Whether it is needed on a side on which this account stands.
    pub(crate) fn is_needed_by(&self, account: AddressId) -> bool {
        let needs = |id, side| id == account && self.sides.needed_by(side);
        needs(self.sender, Side::Sender) || needs(self.recipient, Side::Recipient)
    }
}

impl StoredRows {
    /// None yet, of this file.
    pub(crate) fn of(path: &Arc<Path>) -> Self {
        StoredRows { path: Arc::clone(path), heads: Vec::new(), ends: Vec::new(), bodies: Vec::new() }
    }

    pub(crate) fn push(&mut self, head: Head, body: &[u8]) {
        self.heads.push(head);
        self.bodies.extend_from_slice(body);
        self.ends.push(self.bodies.len());
    }

    /// What is known of each.
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// How many bytes all of them have: their content, and what else is stored with it.
    pub fn size(&self) -> usize {
        self.bodies.len()
    }

    /// How many bytes this one has.
    pub fn size_of(&self, at: usize) -> usize {
        self.body(at).len()
    }

    /// Whether a rule did something with this one. What is said of a row that is broken means nothing.
    pub fn is_ruled(&self, at: usize) -> bool {
        is_ruled(self.body(at))
    }

    /// This one, when it is what was written.
    pub fn decode(&self, at: usize) -> Result<Row, StoreError> {
        let Head { position, sender, recipient, sides } = self.heads[at];
        match decode_row(position, sender, recipient, self.body(at)) {
            Ok(entry) => Ok(Row { position, sides, entry }),
            Err(malformed) => Err(StoreError::row(&self.path, position, malformed.0)),
        }
    }

    /// All of them.
    pub fn decode_all(&self) -> Result<Vec<Row>, StoreError> {
        (0..self.heads.len()).map(|at| self.decode(at)).collect()
    }

    fn body(&self, at: usize) -> &[u8] {
        let begin = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bodies[begin..self.ends[at]]
    }
}

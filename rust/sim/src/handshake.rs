//! The buddy handshake, said naively: what one side believes of the two directions between two accounts.

use rosterkit::{Op, Status};

/// What one side believes of the two directions.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct View {
    pub listed: bool,
    pub my_wish: bool,
    pub my_grant: bool,
    pub their_wish: bool,
    pub their_grant: bool,
}

impl View {
    pub const fn to(self) -> bool {
        self.my_wish && self.their_grant
    }

    pub const fn from(self) -> bool {
        self.their_wish && self.my_grant
    }

    pub const fn asking(self) -> bool {
        self.their_wish && !self.my_grant
    }

    pub const fn requested(self) -> bool {
        self.my_wish && !self.their_grant
    }

    /// Whether there is anything between the two that a person could see.
    pub fn is_something(self) -> bool {
        self.listed || self.status() != Status::None
    }

    /// What of it a roster shows: nothing, when a person could not see it.
    #[must_use]
    pub fn shown(self) -> View {
        if self.is_something() { self } else { View::default() }
    }

    pub const fn status(self) -> Status {
        match self {
            _ if self.to() || self.from() => Status::Confirmed,
            _ if self.asking() => Status::Asking,
            _ if self.my_wish => Status::Requested,
            _ => Status::None,
        }
    }

    pub fn act(&mut self, op: Op) {
        match op {
            Op::Add => (self.my_wish, self.my_grant) = (true, true),
            Op::Remove => *self = View { listed: self.listed, ..View::default() },
            Op::Subscribe => self.my_wish = true,
            Op::Subscribed => self.my_grant = true,
            Op::Unsubscribe => (self.my_wish, self.their_grant) = (false, false),
            Op::Unsubscribed => (self.my_grant, self.their_wish) = (false, false),
            Op::Update => {}
        }
    }

    /// The same, as the other side would say it.
    #[must_use]
    pub const fn mirrored(self) -> View {
        View {
            listed: self.listed,
            my_wish: self.their_wish,
            my_grant: self.their_grant,
            their_wish: self.my_wish,
            their_grant: self.my_grant,
        }
    }

    /// What the other side did arrives here.
    #[must_use]
    pub fn after_theirs(self, op: Op) -> View {
        let mut theirs = self.mirrored();
        theirs.act(op);
        theirs.mirrored()
    }
}

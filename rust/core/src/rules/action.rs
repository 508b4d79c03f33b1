//! Actions, run in their order when all conditions of a rule hold.

use super::form::{bounded, invalid, text_form};
use crate::address::Address;
use crate::refusal::Refusal;
use crate::roster::MAX_NAME_BYTES;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest a text of an action may be, in bytes.
pub const MAX_TEXT_BYTES: usize = 4_096;
/// The longest a URL may be, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;
/// How many addresses an action may name.
pub const MAX_TARGETS: usize = 16;

/// An action. In JSON an object of one name, `{"redirect-to": ["b@example.org"]}`, or the name alone: `"store"`.
///
/// The names are CommuniGate Pro's in kebab case; its own spelling is accepted too. `store` and `discard` are ours for
/// signals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Action {
    /// Refuses the signal with this text, which its sender reads. No rule is looked at after it.
    #[serde(alias = "Reject with")]
    RejectWith(Text),
    /// Sends the signal to these accounts instead. No rule is looked at after it.
    #[serde(alias = "Redirect to")]
    RedirectTo(Targets),
    /// Sends the signal to these accounts too.
    #[serde(alias = "Fork to")]
    ForkTo(Targets),
    /// No further rule of this stage is looked at, on any level.
    #[serde(alias = "Stop Processing")]
    StopProcessing,
    /// No further rule is looked at, on any level and in any later stage.
    #[serde(alias = "Discard Rules")]
    DiscardRules,
    /// Sends an instant message of the recipient's.
    #[serde(alias = "SendIM")]
    SendIm(Im),
    /// Puts the sender into this group of the recipient's roster.
    #[serde(alias = "Remember 'From' in")]
    RememberFromIn(Group),
    /// A line for the log.
    #[serde(alias = "Write To Log")]
    WriteToLog(Text),
    /// An event for the host, which opens this URL; the library opens no connection of its own.
    #[serde(alias = "SendURL")]
    SendUrl(Url),
    /// An event for the host, which sends a push notification with this text.
    #[serde(alias = "SendPush")]
    SendPush(Text),
    /// Keeps the message and delivers it to nobody now. No rule is looked at after it.
    #[serde(alias = "Store")]
    Store,
    /// A positive answer and nothing else. No rule is looked at after it.
    #[serde(alias = "Discard")]
    Discard,
}

impl Action {
    /// Whether nothing of its rule runs after it.
    pub fn is_last(&self) -> bool {
        matches!(
            self,
            Action::RejectWith(_)
                | Action::RedirectTo(_)
                | Action::StopProcessing
                | Action::DiscardRules
                | Action::Store
                | Action::Discard
        )
    }

    /// Every address it names.
    pub(super) fn targets(&self) -> &[Target] {
        match self {
            Action::RedirectTo(targets) | Action::ForkTo(targets) => targets.as_slice(),
            Action::SendIm(im) => std::slice::from_ref(&im.to),
            _ => &[],
        }
    }
}

/// An instant message that a rule sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Im {
    /// To whom.
    pub to: Target,
    /// What it says.
    pub text: Text,
}

/// The address of an account, `user@domain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Address);

impl Target {
    /// The address.
    pub fn address(&self) -> &Address {
        &self.0
    }
}

impl FromStr for Target {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        Address::account(text).map(Target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_form!(Target, "description": "The address of an account, user@domain.");

/// One address or several, none twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Target>", into = "Vec<Target>")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("minItems" = 1, "maxItems" = MAX_TARGETS)))]
pub struct Targets(Arc<[Target]>);

impl Targets {
    /// The addresses, in their order.
    pub fn as_slice(&self) -> &[Target] {
        &self.0
    }
}

impl TryFrom<Vec<Target>> for Targets {
    type Error = Refusal;

    fn try_from(targets: Vec<Target>) -> Result<Self, Refusal> {
        if targets.is_empty() || targets.len() > MAX_TARGETS {
            let count = targets.len();
            return Err(invalid(format!("an action names 1 to {MAX_TARGETS} addresses, this one {count}")));
        }
        for (place, target) in targets.iter().enumerate() {
            if targets[..place].contains(target) {
                return Err(invalid(format!("{target} stands there twice")));
            }
        }
        Ok(Targets(targets.into()))
    }
}

impl From<Targets> for Vec<Target> {
    fn from(targets: Targets) -> Self {
        targets.0.to_vec()
    }
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr, $($schema:tt)*) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Refusal;

            fn from_str(text: &str) -> Result<Self, Refusal> {
                let check: fn(&str) -> Result<(), Refusal> = $check;
                check(text)?;
                Ok($name(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        text_form!($name, $($schema)*);
    };
}

checked_text!(
    /// A text that an action uses as it is.
    Text,
    |text| {
        if text.is_empty() {
            return Err(invalid("an empty text says nothing"));
        }
        bounded("a text", text, MAX_TEXT_BYTES)
    },
    "minLength": 1,
    "maxLength": MAX_TEXT_BYTES
);

checked_text!(
    /// The name of a group of the roster.
    Group,
    |name| {
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err(invalid("a group has a name, without control characters"));
        }
        bounded("a group's name", name, MAX_NAME_BYTES)
    },
    "minLength": 1,
    "maxLength": MAX_NAME_BYTES
);

checked_text!(
    /// An `http` or `https` URL.
    Url,
    |url| {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let named = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']));
        if !named || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(invalid("a URL begins with http:// or https:// and a host, and has no blanks"));
        }
        bounded("a URL", url, MAX_URL_BYTES)
    },
    "pattern": "^https?://[^/?#:\\s][^\\s]*$",
    "maxLength": MAX_URL_BYTES
);

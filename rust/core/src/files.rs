//! The files of an account: what they may be called, and which of them are the engine's own.

use crate::refusal::Refusal;
use std::fmt;
use unicode_normalization::UnicodeNormalization as _;

/// The longest a path may be, in bytes.
pub const MAX_PATH_BYTES: usize = 255;
/// How many segments it may have.
pub const MAX_SEGMENTS: usize = 8;
/// The largest a file may be, in bytes.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// The vCard, whose image is the avatar.
pub const PROFILE: &str = "profile.vcf";
/// What is under this is rendered by the engine.
const MESSAGES: &str = "private/IM/";
/// So that nothing is in the way of those.
const FOLDERS: [&str; 2] = ["private", "private/IM"];
/// Unclaimed messages.
const OFFLINE: &str = "private/IM/offline";
/// What is under this everybody in this system may read.
const PUBLIC: &str = "public/";
const LOG_SUFFIX: &str = ".log";

/// The path of a file, relative to its account: segments with `/` between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(Box<str>);

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind<'a> {
    /// One of the account's own.
    Plain,
    /// The account's vCard.
    Profile,
    /// Its messages with this peer, as the engine renders them.
    Log(&'a str),
    /// Its unclaimed messages, as the engine renders them.
    Offline,
    /// Under what is the engine's, and nothing of it.
    Nothing,
}

impl FilePath {
    /// Checks a path.
    pub fn new(text: &str) -> Result<Self, Refusal> {
        let invalid =
            |why: &str| Err(Refusal::InvalidArgument(format!("{text:?} is no path of a file: {why}")));
        if text.is_empty() || text.len() > MAX_PATH_BYTES {
            return invalid("it has 1 to 255 bytes");
        }
        if text.chars().any(char::is_control) {
            return invalid("it has no control characters");
        }
        if text.split('/').count() > MAX_SEGMENTS {
            return invalid("it has at most 8 segments");
        }
        if text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return invalid("no segment is empty, `.` or `..`");
        }
        // A name has one form, however it was typed (RFC 5198).
        let normal: String = text.nfc().collect();
        if normal.len() > MAX_PATH_BYTES {
            return invalid("it has 1 to 255 bytes");
        }
        Ok(FilePath(normal.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is the path of.
    pub fn kind(&self) -> FileKind<'_> {
        match &*self.0 {
            PROFILE => FileKind::Profile,
            OFFLINE => FileKind::Offline,
            path if FOLDERS.contains(&path) => FileKind::Nothing,
            path => match path.strip_prefix(MESSAGES) {
                None => FileKind::Plain,
                Some(name) => match name.strip_suffix(LOG_SUFFIX) {
                    Some(peer) if !peer.contains('/') => FileKind::Log(peer),
                    _ => FileKind::Nothing,
                },
            },
        }
    }

    /// Whether every account of this system may read it.
    pub fn is_public(&self) -> bool {
        self.0.starts_with(PUBLIC)
    }

    /// Whether some of what the engine renders can begin so.
    pub fn is_rendered_under(prefix: &str) -> bool {
        MESSAGES.starts_with(prefix) || prefix.starts_with(MESSAGES)
    }

    /// The file of unclaimed messages.
    pub fn offline() -> Self {
        FilePath(OFFLINE.into())
    }

    /// The file of the messages with a peer.
    pub fn log_of(peer: &str) -> String {
        format!("{MESSAGES}{peer}{LOG_SUFFIX}")
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // behaviour: files.paths
    #[test]
    fn paths_are_checked_and_say_what_they_are_of() {
        for (text, kind) in [
            ("notes.txt", FileKind::Plain),
            ("a/b/c", FileKind::Plain),
            ("profile.vcf", FileKind::Profile),
            ("private/IM/offline", FileKind::Offline),
            ("private/IM/bob@example.org.log", FileKind::Log("bob@example.org")),
            ("private/IM/x/y.log", FileKind::Nothing),
            ("private/IM/z", FileKind::Nothing),
            ("private/other", FileKind::Plain),
            ("private", FileKind::Nothing),
            ("private/IM", FileKind::Nothing),
        ] {
            assert_eq!(FilePath::new(text).unwrap().kind(), kind, "{text}");
        }
        let (long, deep) = ("x".repeat(256), ["d"; 9].join("/"));
        for text in ["", "/", "a//b", "../a", "a/./b", "a/", "/a", "a\nb", &long, &deep] {
            assert!(FilePath::new(text).is_err(), "{text:?}");
        }
        assert_eq!(FilePath::new("cafe\u{301}").unwrap(), FilePath::new("caf\u{e9}").unwrap());
        assert!(FilePath::new("public/x").unwrap().is_public());
        assert!(!FilePath::new("publicity/x").unwrap().is_public());
    }
}

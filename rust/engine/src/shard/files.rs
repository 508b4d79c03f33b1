//! The account's file storage.
//!
//! A write replaces a file as a whole, in one commit; with the vCard goes the hash of its image, which is part of the
//! account's record, so that nobody ever sees the one without the other.

use super::change::{After, Changing};
use super::{Shard, Work};
use crate::answers::ReplyTo;
use crate::command::{Answer, Command};
use crate::error::{Error, Result};
use crate::messages::Fetch;
use rosterkit_core::files::{FileKind, FilePath, MAX_FILE_BYTES, PROFILE};
use rosterkit_core::id::{AddressId, Position};
use rosterkit_core::refusal::Refusal;
use rosterkit_core::vcard;
use rosterkit_core::write::{File, Write};
use rosterkit_store::FileInfo;
use std::sync::Arc;

impl Shard {
    /// Writes a file, or removes it when there are no bytes: first it is read how much is there.
    pub(super) fn change_file(&mut self, id: AddressId, command: Command, reply: ReplyTo) {
        match checked(command) {
            Ok(command) => {
                let work = Work::Command { session: None, command: Box::new(command), reply };
                self.fetch_first(id, work, Fetch::Files { account: id });
            }
            Err(refusal) => reply.answer(Err(refusal.into())),
        }
    }

    /// How much is there was read.
    pub(super) fn take_files(&mut self, id: AddressId, result: Result<Vec<FileInfo>>) {
        let Some(Work::Command { command, reply, .. }) = self.take_fetching(id) else {
            return;
        };
        let decided = result.and_then(|files| match *command {
            Command::WriteFile { path, bytes } => self.decide_write(id, path, bytes, &files),
            Command::RemoveFile { path } => self.decide_removal(id, path, &files),
            _ => Err(Error::internal("files were listed for nothing")),
        });
        match decided {
            Ok((record, writes)) => {
                let after = After::FileChanged { reply };
                self.change(id, Changing { record, after }, writes);
            }
            Err(error) => reply.answer(Err(error)),
        }
        self.continue_gate(id);
    }

    fn decide_write(
        &self,
        id: AddressId,
        path: String,
        bytes: Vec<u8>,
        files: &[FileInfo],
    ) -> Result<Decided> {
        let Some(resident) = self.residents.get(&id) else {
            return Err(Error::internal("the account is gone"));
        };
        let others = || files.iter().filter(|file| file.path != path);
        let (count, size) = (others().count() + 1, others().map(|file| file.size).sum::<u64>());
        let (most_files, most_bytes) =
            (resident.preferences.storage_files, resident.preferences.storage_bytes);
        if count > most_files as usize || size + bytes.len() as u64 > most_bytes {
            let what = format!("the account keeps at most {most_files} files and {most_bytes} bytes in them");
            return Err(Refusal::limit(what).into());
        }
        let avatar = if path == PROFILE { Some(vcard::avatar(&bytes)?) } else { None };
        let file = File { path, bytes, modified: self.now.wall };
        Ok(self.with_avatar(id, avatar, Write::File(id, file)))
    }

    fn decide_removal(&self, id: AddressId, path: String, files: &[FileInfo]) -> Result<Decided> {
        if files.iter().all(|file| file.path != path) {
            return Err(Refusal::NotFound(format!("the account has no file {path:?}")).into());
        }
        let avatar = (path == PROFILE).then_some(None);
        Ok(self.with_avatar(id, avatar, Write::FileRemoved(id, path)))
    }

    /// The write, and the record when the avatar is another by it.
    fn with_avatar(&self, id: AddressId, avatar: Option<Option<Arc<str>>>, write: Write) -> Decided {
        let before = self.residents.get(&id).map(|resident| &resident.record);
        match (avatar, before) {
            (Some(avatar), Some(before)) if before.avatar != avatar => {
                let mut record = (**before).clone();
                record.avatar = avatar;
                let record = Arc::new(record);
                (Some(Arc::clone(&record)), vec![write, Write::Account(record)])
            }
            _ => (None, vec![write]),
        }
    }

    /// Reads a file of the account's, or one of another's that it may read.
    pub(super) fn read_file(
        &mut self,
        id: AddressId,
        owner: Option<rosterkit_core::address::Address>,
        path: &str,
        reply: ReplyTo,
    ) {
        let Some(resident) = self.residents.get(&id) else {
            return;
        };
        let path = match FilePath::new(path) {
            Ok(path) => path,
            Err(refusal) => return reply.answer(Err(refusal.into())),
        };
        let address = resident.record.address.clone();
        let owner = owner.map(|owner| owner.bare()).filter(|owner| *owner != address);
        let fetch = match owner {
            Some(owner) => Fetch::FileOf { viewer: (id, address), owner, path, reply },
            None => Fetch::File { account: id, path, unclaimed: self.unclaimed_of(id), reply },
        };
        self.fetch(fetch);
    }

    /// Lists the account's files.
    pub(super) fn list_files(&mut self, id: AddressId, prefix: String, reply: ReplyTo) {
        let unclaimed = self.unclaimed_of(id);
        self.fetch(Fetch::ListFiles { account: id, prefix, unclaimed, reply });
    }

    fn unclaimed_of(&self, id: AddressId) -> Vec<Position> {
        self.residents.get(&id).map(|resident| resident.unclaimed.positions().collect()).unwrap_or_default()
    }

    /// What a file's reader gets.
    pub(super) fn file_changed(&mut self, id: AddressId, reply: ReplyTo) {
        reply.answer(Ok(Answer::Done));
        self.presence_changed(id);
    }
}

/// The command with its path as it is kept.
fn checked(mut command: Command) -> std::result::Result<Command, Refusal> {
    if let Command::WriteFile { path, .. } | Command::RemoveFile { path } = &mut command {
        let checked = FilePath::new(path)?;
        if !matches!(checked.kind(), FileKind::Plain | FileKind::Profile) {
            return Err(Refusal::NotAllowed(format!("{checked} is the engine's: it is read, not written")));
        }
        *path = checked.as_str().to_owned();
    }
    match &command {
        Command::WriteFile { bytes, .. } if bytes.len() > MAX_FILE_BYTES => {
            let what = format!("a file has at most {MAX_FILE_BYTES} bytes, this one {}", bytes.len());
            Err(Refusal::limit(what))
        }
        _ => Ok(command),
    }
}

/// The record, when it is another, and what is written.
type Decided = (Option<Arc<rosterkit_core::account::Record>>, Vec<Write>);

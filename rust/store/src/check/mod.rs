//! Looks at a file for damage, says what is affected, and brings what is whole into a new one.
//!
//! Nothing of the original is changed, nor made beside it: it is read as it lies there, before an open has written over
//! anything. So it is to be closed: what is written meanwhile would look like damage.

mod pages;
mod record;
mod report;
mod rows;
mod salvage;
mod survey;
mod tree;
mod wal;
mod words;

pub use pages::Fault;
pub use report::{
    BrokenPage, Lost, LostBuddy, LostFile, LostMessage, Message, PageCounts, Part, Report, WalReport,
};
pub use salvage::Salvaged;
pub use survey::Finding;

pub(crate) use record::Value;

use crate::StoreError;
use crate::sqlite::{APPLICATION_ID, Layout, Lock, READS, beside, check_new, resolved};
use pages::{Pages, word};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::path::Path;
use std::time::SystemTime;
use survey::Survey;
use wal::Wal;

/// How far it has come, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// So many were looked at.
    pub done: u64,
    /// So many there are to look at.
    pub all: u64,
}

/// Looks at a file.
///
/// Fails with `Held` while somebody writes it, with `Foreign` when it is no RosterKit file, with `Newer` when a newer version
/// wrote it, and with `Io` when it cannot be read at all.
pub fn check(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Report, StoreError> {
    let _lock = Lock::share(&resolved(path))?;
    with_survey(path, 1, progress, |survey, _, _| Ok(Report::of(path, survey)))
}

/// Looks at a file, and brings everything that is whole into a new one. Neither that nor what SQLite has beside a file may be
/// there yet (`Conflict`).
///
/// What was found is told also when nothing comes of the new file. Of a file that a newer version wrote that is `Refused`: not
/// all of it would come with it.
pub fn salvage(
    path: &Path,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Report, Result<Salvaged, StoreError>), StoreError> {
    let from = resolved(path);
    check_new(&from, to)?;
    let _lock = Lock::share(&from)?;
    with_survey(path, 2, progress, |survey, unchanged, on_page| {
        let report = Report::of(path, survey);
        if survey.is_newer {
            let what = "a newer version wrote the file, and not all of it is known here: salvage it with that version";
            return Ok((report, Err(StoreError::Refused(what))));
        }
        let salvaged = salvage::salvage(survey, &from, to, unchanged, on_page);
        Ok((report, salvaged))
    })
}

/// Whether a file without a log is whole, pages without a seal among its own. Who asks has its lock.
pub(crate) fn is_whole(path: &Path) -> Result<bool, StoreError> {
    with_survey(path, 1, &mut |_| {}, |survey, _, _| Ok(Report::of(path, survey).is_whole()))
}

/// Whether nobody wrote to the file, as far as can be seen.
type Unchanged<'a> = &'a dyn Fn() -> Result<(), StoreError>;

fn with_survey<T>(
    path: &Path,
    passes: u64,
    progress: &mut dyn FnMut(Progress),
    then: impl FnOnce(&mut Survey<'_>, Unchanged<'_>, &dyn Fn()) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let path = &resolved(path);
    let before = stamps(path)?;
    let main = File::open(path).map_err(io)?;
    let wal = Wal::read(&beside(path, "-wal")).map_err(io)?;
    let pages = Pages::new(main, wal, before[1].is_none()).map_err(io)?;
    check_ours(path, &pages)?;
    let all = passes * u64::from(pages.highest());
    let (done, progress) = (Cell::new(0), RefCell::new(progress));
    let on_page = || {
        // Bytes made for it can lead to pages that are not there.
        done.set(all.min(done.get() + 1));
        (progress.borrow_mut())(Progress { done: done.get(), all });
    };
    let layout = Layout::present()?;
    let mut survey = Survey::of(&pages, &layout, &on_page);
    if let Some(&needs) = survey.meta.get("min_reader").filter(|needs| **needs > i64::from(READS)) {
        let needs = u32::try_from(needs).unwrap_or(u32::MAX);
        return Err(StoreError::Newer { path: path.display().to_string(), needs, reads: READS });
    }
    let unchanged = || match stamps(path)? == before {
        true => Ok(()),
        false => Err(StoreError::Held {
            path: path.display().to_string(),
            holder: "somebody who wrote to it while it was looked at".into(),
        }),
    };
    unchanged()?;
    let result = then(&mut survey, &unchanged, &on_page)?;
    (progress.borrow_mut())(Progress { done: all, all });
    Ok(result)
}

/// A file that is nobody's is not damaged.
fn check_ours(path: &Path, pages: &Pages) -> Result<(), StoreError> {
    let first = pages.read(1);
    let is_ours =
        first.bytes.starts_with(b"SQLite format 3\0") && word(&first.bytes[..], 68) as i32 == APPLICATION_ID;
    if is_ours || (1..=pages.highest()).any(|number| pages.is_sealed(number)) {
        return Ok(());
    }
    let why = match pages.highest() {
        0 => "it has not one page",
        _ => "it does not begin as one, and none of its pages has our checksum",
    };
    Err(StoreError::Foreign { path: path.display().to_string(), why: why.into() })
}

/// How long something is, and when it was changed.
type Stamp = (u64, Option<SystemTime>);

/// What shows that somebody wrote: the stamps of the file and of its log.
fn stamps(path: &Path) -> Result<[Option<Stamp>; 2], StoreError> {
    let of = |path: &Path| match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some((metadata.len(), metadata.modified().ok()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(error)),
    };
    Ok([of(path)?, of(&beside(path, "-wal"))?])
}

fn io(source: std::io::Error) -> StoreError {
    StoreError::Io { doing: "reading the file", source }
}

//! `rosterkit check`.

use crate::progress::Shown;
use crate::{DAMAGED, HELP, say};
use rosterkit::store::check::{Report, Salvaged, check, salvage};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// What is asked for.
pub(crate) struct Asked {
    file: PathBuf,
    salvage: Option<PathBuf>,
    json: bool,
}

impl Asked {
    /// Paths need not be UTF-8.
    pub(crate) fn parse(arguments: &[OsString]) -> Result<Asked, String> {
        let (mut file, mut salvage, mut json) = (None, None, false);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let place = match argument.to_str() {
                Some("--json") => {
                    json = true;
                    continue;
                }
                Some("--salvage") => (&mut salvage, rest.next()),
                Some(option) if option.starts_with('-') => {
                    return Err(usage(&format!("there is no {option}")));
                }
                _ => (&mut file, Some(argument)),
            };
            match place {
                (place @ None, Some(path)) => *place = Some(PathBuf::from(path)),
                _ => return Err(usage("one FILE, and one NEW behind --salvage")),
            }
        }
        match file {
            Some(file) => Ok(Asked { file, salvage, json }),
            None => Err(usage("which FILE?")),
        }
    }
}

fn usage(what: &str) -> String {
    format!("{what}\n\n{HELP}")
}

pub(crate) fn run(asked: &Asked) -> Result<ExitCode, String> {
    let mut shown = Shown::new();
    let mut progress = |progress| shown.show(progress);
    let result = match &asked.salvage {
        None => check(&asked.file, &mut progress).map(|report| (report, None)),
        Some(new) => salvage(&asked.file, new, &mut progress).map(|(report, done)| (report, Some(done))),
    };
    shown.end();
    let (report, salvaged) = result.map_err(|error| error.to_string())?;
    let (salvaged, failed) = match salvaged.transpose() {
        Ok(salvaged) => (salvaged, None),
        Err(error) => (None, Some(error)),
    };
    say(&match asked.json {
        true => json(&report, salvaged.as_ref())?,
        false => words(&report, salvaged.as_ref(), asked),
    })?;
    if let Some(error) = failed {
        return Err(format!("nothing was salvaged: {error}"));
    }
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}

fn json(report: &Report, salvaged: Option<&Salvaged>) -> Result<String, String> {
    let value = serde_json::json!({ "whole": report.is_whole(), "report": report, "salvaged": salvaged });
    let text = serde_json::to_string_pretty(&value).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}

fn words(report: &Report, salvaged: Option<&Salvaged>, asked: &Asked) -> String {
    let mut text = report.to_string();
    if let (Some(done), Some(new)) = (salvaged, &asked.salvage) {
        let Salvaged { messages, accounts, made_anew, rows, unknown_addresses } = done;
        text += &format!(
            "{}: {messages} messages, {accounts} accounts, {rows} rows in all other tables\n",
            new.display()
        );
        for name in made_anew {
            text += &format!("  {name} is made anew: without its settings, blocks and devices\n");
        }
        if *unknown_addresses > 0 {
            text +=
                &format!("  {unknown_addresses} addresses are lost: they are called NUMBER@lost.invalid\n");
        }
    }
    text
}

//! `cargo xtask bindings`: the generated code of each language, committed, so that a change of the interface is seen in
//! review and nobody needs the generator.

use crate::{mended, run};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const LANGUAGES: &[&str] = &["kotlin", "python", "swift"];

/// Generates, and puts it in its place.
pub(crate) fn write() -> Result<(), String> {
    let made = generate()?;
    let place = run::root().join("bindings");
    for language in LANGUAGES {
        // What is not generated any more goes too.
        let _ = fs::remove_dir_all(place.join(language));
    }
    for (file, content) in &made {
        let path = place.join(file);
        let folder = path.parent().unwrap_or(&place);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, content))
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    println!("bindings: {} files", made.len());
    Ok(())
}

/// Generates, and fails when what is committed is something else.
pub(crate) fn check() -> Result<(), String> {
    let made = generate()?;
    let mut committed = BTreeMap::new();
    for language in LANGUAGES {
        read(&run::root().join("bindings"), Path::new(language), &mut committed)?;
    }
    let differs = different(&made, &committed);
    if differs.is_empty() {
        return Ok(());
    }
    let files: Vec<String> = differs.iter().map(|file| format!("bindings/{}", file.display())).collect();
    Err(format!("not what the generator makes, run `cargo xtask bindings`: {}", files.join(", ")))
}

/// Builds the generator: its program.
pub(crate) fn generator() -> Result<PathBuf, String> {
    run::cargo(&["build", "--quiet", "--package", "rosterkit-bindgen"])?;
    Ok(built(&format!("rosterkit-bindgen{}", std::env::consts::EXE_SUFFIX)))
}

fn built(name: &str) -> PathBuf {
    run::root().join(run::target()).join("debug").join(name)
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn generate() -> Result<Files, String> {
    let generator = generator()?.display().to_string();
    // Alone: in a build of the whole workspace the generator's features would be the library's too.
    run::cargo(&["build", "--quiet", "--package", "rosterkit-ffi"])?;
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = built(&format!("{prefix}rosterkit_ffi{suffix}")).display().to_string();
    run::command(&generator, &["lint", &library])?;
    let work = run::root().join(run::target()).join("bindings");
    let _ = fs::remove_dir_all(&work);
    let mut made = Files::new();
    for language in LANGUAGES {
        let folder = work.join(language).display().to_string();
        let command =
            ["generate", &library, "--language", language, "--no-format", "--out-dir", folder.as_str()];
        run::quietly(&generator, &command)?;
        read(&work, Path::new(language), &mut made)?;
    }
    for (file, content) in &mut made {
        if file.extension().is_some_and(|extension| extension == "kt") {
            *content = mended::kotlin(&String::from_utf8_lossy(content))?.into_bytes();
        }
    }
    Ok(made)
}

/// Every file below a folder, by its path from `base`.
fn read(base: &Path, folder: &Path, files: &mut Files) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(base.join(folder)) else {
        return Ok(());
    };
    for entry in entries.filter_map(Result::ok) {
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            // What Python leaves there when somebody imports it.
            if entry.file_name() != "__pycache__" {
                read(base, &path, files)?;
            }
        } else {
            let content = fs::read(entry.path()).map_err(|e| format!("{}: {e}", path.display()))?;
            files.insert(path, content);
        }
    }
    Ok(())
}

/// The files that are missing, too many, or not the same.
fn different(made: &Files, committed: &Files) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = made.keys().chain(committed.keys()).cloned().collect();
    files.sort();
    files.dedup();
    files.retain(|file| made.get(file) != committed.get(file));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_missing_or_too_much_is_named() {
        let files = |all: &[(&str, &str)]| -> Files {
            all.iter().map(|(file, text)| (PathBuf::from(file), text.as_bytes().to_vec())).collect()
        };
        let made = files(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!(different(&made, &made), [""; 0].map(PathBuf::from));
        let committed = files(&[("a", "1"), ("b", "other"), ("d", "4")]);
        assert_eq!(different(&made, &committed), ["b", "c", "d"].map(PathBuf::from));
    }
}

//! UniFFI's generator, and the rules that its metadata of the built library must keep.
//!
//!     rosterkit-bindgen lint LIBRARY
//!     rosterkit-bindgen exported LIBRARY
//!     rosterkit-bindgen generate LIBRARY --language python --no-format --out-dir FOLDER

mod exported;
mod lint;

use std::process::ExitCode;
use uniffi_meta::Metadata;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let does: fn(&str, &[Metadata]) -> ExitCode = match arguments.as_slice() {
        [command, _] if command == "lint" => lint,
        [command, _] if command == "exported" => exported,
        _ => {
            uniffi::uniffi_bindgen_main();
            return ExitCode::SUCCESS;
        }
    };
    let library = arguments[1].as_str();
    match uniffi_bindgen::macro_metadata::extract_from_library(library.into()) {
        Ok(metadata) => does(library, &metadata),
        Err(error) => {
            eprintln!("{library}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout)]
fn lint(library: &str, metadata: &[Metadata]) -> ExitCode {
    let broken = lint::broken(metadata);
    for rule in &broken {
        eprintln!("{rule}");
    }
    if metadata.is_empty() || !broken.is_empty() {
        eprintln!("{library}: {} of what is exported, {} rules broken", metadata.len(), broken.len());
        return ExitCode::FAILURE;
    }
    println!("{library}: {} things are exported, by the rules", metadata.len());
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout)]
fn exported(_library: &str, metadata: &[Metadata]) -> ExitCode {
    println!("{}", exported::as_json(&exported::callables(metadata)));
    ExitCode::SUCCESS
}

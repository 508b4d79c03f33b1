//! UniFFI's generator, and the rules that its metadata of the built library must keep.
//!
//!     rosterkit-bindgen lint LIBRARY
//!     rosterkit-bindgen generate LIBRARY --language python --no-format --out-dir FOLDER

mod lint;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, library] = arguments.as_slice()
        && command == "lint"
    {
        return lint(library);
    }
    uniffi::uniffi_bindgen_main();
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout)]
fn lint(library: &str) -> ExitCode {
    let metadata = match uniffi_bindgen::macro_metadata::extract_from_library(library.into()) {
        Ok(metadata) => metadata,
        Err(error) => {
            eprintln!("{library}: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let broken = lint::broken(&metadata);
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

//! `cargo xtask fuzz`: looks for bytes that the library cannot take, with libFuzzer and the address sanitizer.

use crate::needs::{self, C, CXX, RUST};
use crate::run;

/// What is fuzzed; the functions are in `tests/fuzz`.
const TARGETS: &[&str] = &["peer_link", "boundary", "rules", "address", "vcard", "import", "calls"];

/// How long each target is looked at when nobody says otherwise: enough to notice what a change broke.
pub(crate) const SECONDS: u32 = 10;

/// Sanitizers are for nightly compilers only, unless this says that one knows.
const ENVIRONMENT: &str = "RUSTC_BOOTSTRAP=1";

pub(crate) fn run(seconds: u32) -> Result<(), String> {
    needs::check(&[RUST, C, CXX])?;
    let program = needs::tool("cargo-fuzz")?;
    let work = run::root().join(run::target()).join("fuzz");
    let target_dir = work.display().to_string();
    for target in TARGETS {
        run::say(&format!("fuzzing {target} for {seconds} s"));
        // What is new goes here, and not among what is committed.
        let found = work.join("found").join(target);
        std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
        let (found, corpus) = (found.display().to_string(), format!("tests/fuzz/cargo-fuzz/corpus/{target}"));
        let (time, memory) = (format!("-max_total_time={seconds}"), "-rss_limit_mb=4096");
        let fuzz = [ENVIRONMENT, &program, "fuzz", "run", "--fuzz-dir", "tests/fuzz/cargo-fuzz"];
        let which = ["--target-dir", &target_dir, target, &found, &corpus];
        let limits = ["--", &time, memory, "-timeout=10", "-max_len=4096", "-print_final_stats=1"];
        run::command("env", &[&fuzz[..], &which, &limits].concat())?;
    }
    Ok(())
}

//! The generated Kotlin on the JVM: Maven and JUnit.

use crate::run;

/// Builds the library and runs `tests/kotlin`: what Maven says.
pub(crate) fn test() -> Result<(bool, String), String> {
    run::cargo(&["build", "--quiet", "--package", "rosterkit-ffi"])?;
    let target = run::root().join(run::target());
    let properties = [
        // Nothing of what the person at the machine has in their own repository.
        format!("-Dmaven.repo.local={}", target.join("kotlin/repository").display()),
        format!("-Drosterkit.target={}", target.display()),
    ];
    let maven =
        ["--batch-mode", "--no-transfer-progress", "-Dstyle.color=never", "--file", "tests/kotlin/pom.xml"];
    let arguments = [&maven[..], &properties.each_ref().map(String::as_str), &["test"]].concat();
    let (success, output) = run::captured("mvn", &arguments)?;
    if success || !output.contains("Could not transfer artifact") {
        return Ok((success, output));
    }
    run::say("a download failed, once more");
    run::captured("mvn", &[&arguments[..], &["--update-snapshots"]].concat())
}

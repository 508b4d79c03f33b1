//! What the commands stand on, and the one line that installs what is missing.

use crate::run;
use std::process::{Command, Stdio};

/// A thing that must be there.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    what: &'static str,
    /// Works when it is there.
    probe: &'static [&'static str],
    /// Installs it, elsewhere than on Debian as root.
    install: &'static str,
    /// Debian's package.
    package: Option<&'static str>,
}

pub(crate) const RUST: Need = Need {
    what: "Rust with rustfmt and clippy",
    probe: &["cargo", "clippy", "--version"],
    install: "rustup component add rustfmt clippy",
    package: None,
};
pub(crate) const C: Need = Need {
    what: "a C compiler",
    probe: &["cc", "--version"],
    install: "apt-get install -y gcc libc6-dev",
    package: Some("gcc"),
};
/// For libFuzzer.
pub(crate) const CXX: Need = Need {
    what: "a C++ compiler",
    probe: &["c++", "--version"],
    install: "apt-get install -y g++",
    package: Some("g++"),
};
pub(crate) const GIT: Need = Need {
    what: "git",
    probe: &["git", "--version"],
    install: "apt-get install -y git",
    package: Some("git"),
};
pub(crate) const PYTHON: Need = Need {
    what: "Python with venv",
    probe: &["python3", "-c", "import venv, ensurepip"],
    install: "apt-get install -y python3-venv",
    package: Some("python3-venv"),
};
pub(crate) const JDK: Need = Need {
    what: "a JDK, 17 or newer",
    probe: &["javac", "--release", "17", "-version"],
    install: "apt-get install -y default-jdk-headless",
    package: Some("default-jdk-headless"),
};
pub(crate) const MAVEN: Need = Need {
    what: "Maven",
    probe: &["mvn", "--version"],
    install: "apt-get install -y maven",
    package: Some("maven"),
};

/// Makes sure that everything is there: as root on Debian by installing it, else by saying how.
pub(crate) fn check(needs: &[Need]) -> Result<(), String> {
    let mut missing: Vec<Need> = needs.iter().copied().filter(|need| !works(need.probe)).collect();
    let packages: Vec<&str> = missing.iter().filter_map(|need| need.package).collect();
    if !packages.is_empty() && is_root() && works(&["apt-get", "--version"]) {
        run::say(&format!("installing {}", packages.join(", ")));
        run::command("apt-get", &["update", "-q"])?;
        let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
        install.extend(packages);
        run::command("apt-get", &install)?;
        missing.retain(|need| !works(need.probe));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let what: Vec<&str> = missing.iter().map(|need| need.what).collect();
    let how: Vec<&str> = missing.iter().map(|need| need.install).collect();
    Err(format!("missing: {}. Install with:\n    {}", what.join(", "), how.join(" && ")))
}

pub(crate) fn works(probe: &[&str]) -> bool {
    let [program, arguments @ ..] = probe else {
        return false;
    };
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// One of cargo's tools, installed beside what is built when it is not there yet: its program.
pub(crate) fn tool(name: &str) -> Result<String, String> {
    let tools = run::target().join("tools");
    let program = tools.join("bin").join(name).display().to_string();
    // Some know only the call that cargo makes.
    let command = name.strip_prefix("cargo-").unwrap_or(name);
    if !works(&[&program, command, "--version"]) {
        run::say(&format!("installing {name}"));
        let root = tools.display().to_string();
        // A debug build does its work as well and is made in a third of the time.
        let install = [
            "CARGO_PROFILE_DEV_DEBUG=0",
            "cargo",
            "install",
            "--locked",
            "--debug",
            "--quiet",
            "--root",
            &root,
            name,
        ];
        run::command("env", &install).map_err(|error| format!("{name} cannot be installed: {error}"))?;
    }
    Ok(program)
}

pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n")
}

//! Many seeds, in several processes.

use crate::arguments::{Arguments, only};
use rosterkit_sim::history::History;
use rosterkit_sim::report::{Report, all_sentences};
use rosterkit_sim::run::run as run_one;
use rosterkit_sim::shrink::shrink;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long a failing run is made shorter.
const SHRINKING: Duration = Duration::from_secs(60);
/// How many seeds, when nothing is said.
const SEEDS: u64 = 1_000;

/// A seed that failed, and how.
pub(crate) struct Failed {
    pub(crate) seed: u64,
    pub(crate) why: String,
}

/// What several processes found.
pub(crate) struct Found {
    pub(crate) report: Report,
    pub(crate) failed: Vec<Failed>,
}

/// One process's seeds: a line of JSON for each.
pub(crate) fn part(arguments: &Arguments, (part, of): (u64, u64)) -> bool {
    let begun = Instant::now();
    let mut out = std::io::stdout().lock();
    for number in (0..).map(|turn| part + turn * of) {
        let is_over = arguments.time.is_some_and(|time| begun.elapsed() > time);
        if is_over || arguments.seeds.is_some_and(|seeds| number >= seeds) {
            return true;
        }
        let seed = arguments.from + number;
        let outcome = run_one(&arguments.plan(seed), &Arc::new(History::default()));
        let mut line = outcome.report.json();
        line["seed"] = seed.into();
        line["history"] = outcome.history.1.into();
        line["failure"] = outcome.failure.clone().into();
        // Whoever read has gone: nobody wants to know.
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return false;
        }
    }
    true
}

/// Runs the seeds in several processes; until one fails, unless they are to keep going.
pub(crate) fn in_processes(arguments: &Arguments) -> Result<Found, String> {
    let processes = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let (told, hear) = channel();
    let mut children: Vec<Child> = Vec::new();
    for part in 0..processes {
        let mut command = Command::new(&program);
        command.args(["--part", &format!("{part}/{processes}")]);
        command.args(["--from", &arguments.from.to_string(), "--steps", &arguments.steps.to_string()]);
        command.args(["--crash-points", &arguments.crash_points.to_string()]);
        if let Some(seeds) = arguments.seeds {
            command.args(["--seeds", &seeds.to_string()]);
        }
        if let Some(time) = arguments.time {
            command.args(["--minutes", &(time.as_secs_f64() / 60.0).to_string()]);
        }
        if let Some(bug) = arguments.bug {
            command.args(["--plant", &format!("{bug:?}")]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        if let Some(output) = child.stdout.take() {
            let told = told.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = told.send(line);
                }
            });
        }
        children.push(child);
    }
    drop(told);
    let mut found = Found { report: Report::default(), failed: Vec::new() };
    for line in hear {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        found.report.add(Report::from_json(&value));
        if let Some(why) = value["failure"].as_str() {
            let seed = value["seed"].as_u64().unwrap_or_default();
            found.failed.push(Failed { seed, why: why.to_owned() });
            if !arguments.keep_going {
                break;
            }
            eprintln!("seed {seed} failed");
        }
    }
    let cut_short = !found.failed.is_empty() && !arguments.keep_going;
    let mut ended_well = true;
    for mut child in children {
        if cut_short {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|e| e.to_string())?;
        ended_well &= status.success() || cut_short;
    }
    if ended_well { Ok(found) } else { Err("a process of the simulation died".into()) }
}

/// Runs seeds and says what came of it.
pub(crate) fn run(arguments: &Arguments) -> bool {
    let mut arguments = arguments.clone();
    if arguments.seeds.is_none() && arguments.time.is_none() {
        arguments.seeds = Some(SEEDS);
    }
    let begun = Instant::now();
    let Found { report, failed } = match in_processes(&arguments) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("{error}");
            return false;
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    print(&report, seconds);
    if let Some(file) = &arguments.json {
        let mut value = report.json();
        value["seconds"] = seconds.into();
        value["seeds_per_second"] = (report.seeds as f64 / seconds).into();
        value["sentences"] = all_sentences().len().into();
        let found =
            failed.iter().map(|Failed { seed, why }| serde_json::json!({ "seed": seed, "what": why }));
        value["found"] = found.collect::<Vec<_>>().into();
        if let Err(error) = std::fs::write(file, format!("{value:#}\n")) {
            eprintln!("{file}: {error}");
            return false;
        }
    }
    for Failed { seed, why } in &failed {
        println!("\nseed {seed} failed: {why}\n\nleaving out what it does not need …");
        let shrunk = shrink(&arguments.plan(*seed), SHRINKING);
        let steps = shrunk.only.as_ref().map(only).unwrap_or_default();
        let planted = arguments.bug.map(|bug| format!(" --plant {bug:?}")).unwrap_or_default();
        println!(
            "cargo xtask sim --seed {seed} --only {steps} --steps {} --crash-points {}{planted} --trace 200",
            arguments.steps, arguments.crash_points
        );
    }
    failed.is_empty()
}

fn print(report: &Report, seconds: f64) {
    println!(
        "{} seeds in {seconds:.0} s ({:.1} a second): {} steps, {} crash points, {} file calls",
        report.seeds,
        report.seeds as f64 / seconds,
        report.steps,
        report.crash_points,
        report.calls
    );
    let list = |counts: &std::collections::BTreeMap<String, u64>| {
        let mut sorted: Vec<_> = counts.iter().collect();
        sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        sorted.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    println!("faults: {}", list(&report.faults));
    println!("steps: {}", list(&report.mix));
    let all = all_sentences();
    let unknown: Vec<_> = report.covered.iter().filter(|id| !all.contains(id.as_str())).collect();
    let covered = report.covered.len() - unknown.len();
    println!("sentences of docs/behaviour.md that something was compared with: {covered} of {}", all.len());
    println!("  {}", report.covered.iter().cloned().collect::<Vec<_>>().join(" "));
    if !unknown.is_empty() {
        println!("  and there are no such sentences: {unknown:?}");
    }
}

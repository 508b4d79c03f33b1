//! What the command line says.

use rosterkit_core::planted::Bug;
use rosterkit_sim::run::Plan;
use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) const HELP: &str = "\
rosterkit-sim [--seeds N] [--from SEED] [--minutes M] [--crash-points N] [--steps N] [--json FILE] [--keep-going]
    runs seeds: N of them, or as many as M minutes allow; stops at the first that fails, or keeps going, shrinks what failed,
    and says how to replay it
rosterkit-sim --seed SEED [--only STEP,STEP-STEP] [--crash-points N] [--steps N] [--trace LINES]
    runs one seed again
rosterkit-sim --bugs [--minutes M]
    plants each bug by turns, and runs seeds until it is found
    --plant BUG, with either of the first two, plants one";

/// Steps of a run.
const STEPS: usize = 80;
/// Crash points of a run.
const CRASH_POINTS: usize = 85;

#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) seeds: Option<u64>,
    pub(crate) from: u64,
    pub(crate) time: Option<Duration>,
    pub(crate) crash_points: usize,
    pub(crate) steps: usize,
    pub(crate) json: Option<String>,
    pub(crate) seed: Option<u64>,
    pub(crate) only: Option<BTreeSet<usize>>,
    pub(crate) trace: usize,
    pub(crate) bugs: bool,
    /// Seeds that fail do not end the run.
    pub(crate) keep_going: bool,
    pub(crate) bug: Option<Bug>,
    /// Of how many processes, the how manieth.
    pub(crate) part: Option<(u64, u64)>,
}

impl Arguments {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Arguments {
            seeds: None,
            from: 1,
            time: None,
            crash_points: CRASH_POINTS,
            steps: STEPS,
            json: None,
            seed: None,
            only: None,
            trace: 0,
            bugs: false,
            keep_going: false,
            bug: None,
            part: None,
        };
        let mut rest = arguments;
        while let Some(name) = rest.next() {
            let flag = match name.as_str() {
                "--bugs" => Some(&mut parsed.bugs),
                "--keep-going" => Some(&mut parsed.keep_going),
                _ => None,
            };
            if let Some(flag) = flag {
                *flag = true;
                continue;
            }
            let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{name} {value}: this is no number"));
            match name.as_str() {
                "--seeds" => parsed.seeds = Some(number()?),
                "--from" => parsed.from = number()?,
                "--minutes" => {
                    let minutes =
                        value.parse::<f64>().map_err(|_| format!("{name} {value}: this is no number"))?;
                    parsed.time = Some(Duration::from_secs_f64(minutes.clamp(0.0, 10_000.0) * 60.0));
                }
                "--crash-points" => parsed.crash_points = number()? as usize,
                "--steps" => parsed.steps = number()? as usize,
                "--json" => parsed.json = Some(value),
                "--seed" => parsed.seed = Some(number()?),
                "--only" => parsed.only = Some(steps(&value)?),
                "--trace" => parsed.trace = number()? as usize,
                "--plant" => {
                    let bug = Bug::SIMULATED.into_iter().find(|bug| format!("{bug:?}") == value);
                    parsed.bug = Some(bug.ok_or_else(|| format!("there is no bug {value}"))?);
                }
                "--part" => {
                    let (part, of) = value.split_once('/').ok_or("--part K/N")?;
                    let parse = |text: &str| text.parse::<u64>().map_err(|_| "--part K/N".to_owned());
                    parsed.part = Some((parse(part)?, parse(of)?));
                }
                _ => return Err(format!("{name} is not known")),
            }
        }
        Ok(parsed)
    }

    pub(crate) fn plan(&self, seed: u64) -> Plan {
        Plan { seed, steps: self.steps, only: self.only.clone(), crash_points: self.crash_points }
    }
}

/// `1,4-6,9`
fn steps(text: &str) -> Result<BTreeSet<usize>, String> {
    let mut all = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let parse = |text: &str| text.parse::<usize>().map_err(|_| format!("{part} is no step"));
        all.extend(parse(from)?..=parse(to)?);
    }
    Ok(all)
}

/// The same the other way round.
pub(crate) fn only(steps: &BTreeSet<usize>) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for step in steps {
        match parts.last_mut() {
            Some((_, to)) if *to + 1 == *step => *to = *step,
            _ => parts.push((*step, *step)),
        }
    }
    let part = |(from, to): &(usize, usize)| match from == to {
        true => from.to_string(),
        false => format!("{from}-{to}"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

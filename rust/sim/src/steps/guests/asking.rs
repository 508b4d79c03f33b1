//! Questions of one session to another that are answered late, or not at all.

use super::Random;
use crate::people::address;
use crate::world::{Step, World};
use rosterkit::{Body, Command, ErrorKind, EventBody, State};

/// How long a question waits.
const PATIENCE: u64 = 30_000;
/// How many of a session may.
const MOST: usize = 64;

impl World {
    /// One asks so much at once; the other answers some of it, some of that too late, or goes.
    pub(super) fn ask_at_length(&mut self, machine: usize, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        let [asks, answers] = self.guests(machine)?;
        self.befriend_guests(machine, &asks, &answers)?;
        answers.shows(State::Online)?;
        self.told(machine, &asks.session)?;
        self.told(machine, &answers.session)?;
        let to = answers.session.address();
        let body = |text: &str| Body::Text(text.into());
        for (recipient, text, kind) in [
            (&answers.address, "to nobody in particular", ErrorKind::InvalidArgument),
            (&to, "x".repeat(70_000).as_str(), ErrorKind::LimitExceeded { retry_after_ms: None }),
        ] {
            match asks.session.query(recipient, body(text)) {
                Err(error) if std::mem::discriminant(&error.kind) == std::mem::discriminant(&kind) => {}
                other => return Err(format!("a question to {recipient} was answered {other:?}")),
            }
        }
        let count = if random.bool() { MOST } else { random.usize(1..8) };
        let mut open: Vec<u64> = Vec::new();
        for _ in 0..count {
            open.push(asks.session.query(&to, body("what is it?")).map_err(|error| error.to_string())?);
        }
        if count == MOST {
            match asks.session.query(&to, body("one more")) {
                Err(error) if matches!(error.kind, ErrorKind::LimitExceeded { .. }) => {
                    self.covered.add("queries.bounds");
                }
                other => return Err(format!("one question more than {MOST}: {other:?}")),
            }
        }
        let came: Vec<u64> = self
            .told(machine, &answers.session)?
            .into_iter()
            .filter_map(|body| if let EventBody::Query { query, .. } = body { Some(query) } else { None })
            .collect();
        if came.len() != count {
            return Err(format!("{count} were asked, and {} came", came.len()));
        }
        // In time, at the last moment, or too late.
        let waits = [random.u64(..PATIENCE - 1), PATIENCE - 1, PATIENCE, PATIENCE + 5_000][random.usize(..4)];
        self.advance(waits)?;
        let is_late = waits >= PATIENCE;
        let some = random.usize(..=count.min(5));
        let mut expected: Vec<(u64, Option<Body>)> = Vec::new();
        for (query, came) in open.iter().zip(&came).take(some) {
            let answered = answers.session.answer_query(*came, Some(body("it is this")));
            match answered {
                Ok(()) if !is_late => expected.push((*query, Some(body("it is this")))),
                Err(error) if is_late && error.kind == ErrorKind::NotFound => {}
                other => return Err(format!("an answer after {waits} ms: {other:?}")),
            }
        }
        let goes = random.bool();
        match (is_late, goes) {
            (true, _) => expected.extend(open.iter().map(|query| (*query, None))),
            (false, true) => {
                if random.bool() {
                    answers.session.close();
                } else {
                    answers.ask(Command::GoOffline)?;
                }
                expected.extend(open[some..].iter().map(|query| (*query, None)));
            }
            (false, false) => {}
        }
        self.compare_answers(machine, &asks.session, expected)?;
        if !is_late && !goes {
            // Nobody says anything until nobody waits any more.
            self.advance(PATIENCE - waits)?;
            self.compare_answers(
                machine,
                &asks.session,
                open[some..].iter().map(|query| (*query, None)).collect(),
            )?;
        }
        self.covered.add("queries.late");
        // Nothing of it is kept, nor in anybody's way.
        let anybody = address([0, 7][machine]);
        asks.session
            .query(&anybody.with_instance("x").map_err(|e| e.to_string())?, body("and you?"))
            .map_err(|error| format!("a question after others that nobody waits for: {error}"))?;
        Ok(())
    }

    fn compare_answers(
        &self,
        machine: usize,
        session: &rosterkit::Session,
        mut expected: Vec<(u64, Option<Body>)>,
    ) -> Step {
        let mut answers: Vec<(u64, Option<Body>)> = self
            .told(machine, session)?
            .into_iter()
            .filter_map(|body| match body {
                EventBody::QueryAnswered { query, body } => Some((query, body)),
                _ => None,
            })
            .collect();
        answers.sort_by_key(|(query, _)| *query);
        expected.sort_by_key(|(query, _)| *query);
        if answers != expected {
            return Err(format!("{} was answered {answers:?}, not {expected:?}", session.account()));
        }
        Ok(())
    }
}

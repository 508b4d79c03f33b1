//! Applying rules: which, in which order, and what comes of it.

use super::action::{Action, Targets};
use super::condition::Condition;
use super::facts::{Facts, Found, Subjects};
use super::rule::{Rule, Stage};
use super::set::{Level, Place, RuleSet};
use serde::Serialize;

/// A signal that rules have sent on so often is not sent on again.
pub const MAX_HOPS: u8 = 16;
/// What its sender reads when it was to be redirected.
pub const TOO_MANY_HOPS: &str = "rules have sent this on too often";

/// The rules in force for an account.
#[derive(Clone, Copy, Debug, Default)]
pub struct Levels<'a> {
    /// The server's.
    pub server: Option<&'a RuleSet>,
    /// The account's domain's.
    pub domain: Option<&'a RuleSet>,
    /// The account's own.
    pub account: Option<&'a RuleSet>,
    /// So many milliseconds after a signal was accepted it counts as unanswered.
    pub no_answer_ms: u64,
}

impl<'a> Levels<'a> {
    /// The active rules of a stage, level by level, in the order in which they are applied ("Applying Signal Rules"):
    /// the server's and the domain's above 5, all of the account's, the domain's and the server's up to 5. The server's
    /// `immediate` rules all come first.
    fn order(&self, stage: Stage) -> [(Level, &'a [Rule], &'a [Place]); 6] {
        let at = |set: Option<&'a RuleSet>| match set {
            Some(set) => (set.rules(), set.at(stage)),
            None => Default::default(),
        };
        let (server, (high, low)) = at(self.server);
        let [server_high, server_low] = [high, low].map(|places| (Level::Server, server, places));
        let (domain, (high, low)) = at(self.domain);
        let [domain_high, domain_low] = [high, low].map(|places| (Level::Domain, domain, places));
        let (account, (high, low)) = at(self.account);
        let [account_high, account_low] = [high, low].map(|places| (Level::Account, account, places));
        match stage {
            Stage::Immediate => [server_high, server_low, domain_high, account_high, account_low, domain_low],
            _ => [server_high, domain_high, account_high, account_low, domain_low, server_low],
        }
    }

    /// Which stage comes next after this one, when there is a rule for it. The failure stage comes when something fails.
    pub fn next_due(&self, stage: Stage) -> Option<Due> {
        let moment = |stage: &Stage| match stage {
            Stage::Immediate => (0, 0),
            Stage::AfterDelay { seconds } => (u64::from(*seconds) * 1_000, 1),
            Stage::NoAnswer => (self.no_answer_ms, 2),
            Stage::Failure => (u64::MAX, 3),
        };
        let sets = || [self.server, self.domain, self.account].into_iter().flatten();
        let delayed = sets().flat_map(RuleSet::delays).map(|seconds| Stage::AfterDelay { seconds });
        let unanswered =
            sets().any(|set| !matches!(set.at(Stage::NoAnswer), ([], []))).then_some(Stage::NoAnswer);
        let coming = delayed.chain(unanswered).filter(|coming| moment(coming) > moment(&stage));
        coming.min_by_key(moment).map(|stage| Due { stage, after_ms: moment(&stage).0 })
    }
}

/// Which rule it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct By<'a> {
    /// Its level.
    pub level: Level,
    /// Its place in the document of that level, from 0.
    pub place: usize,
    /// Its name.
    pub name: &'a str,
}

/// What becomes of the signal itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome<'a> {
    /// It goes on as if there were no rules.
    Continue,
    /// It is refused with this text.
    Reject(&'a str),
    /// It goes to these accounts, and not to this one.
    Redirect(&'a Targets),
    /// It is kept, and delivered to nobody now.
    Store,
    /// Its sender gets a positive answer, and that is all.
    Discard,
}

/// What is done beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Effect<'a> {
    /// By which rule.
    pub by: By<'a>,
    /// What.
    pub kind: EffectKind<'a>,
}

/// What a rule does beside deciding what becomes of the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectKind<'a> {
    /// The signal goes to these accounts too.
    ForkTo(&'a Targets),
    /// The recipient sends this message.
    SendIm(&'a super::Im),
    /// The sender is put into this group of the recipient's roster.
    Remember(&'a super::Group),
    /// A line for the log.
    Log(&'a super::Text),
    /// An event for the host.
    SendUrl(&'a super::Url),
    /// An event for the host.
    SendPush(&'a super::Text),
}

/// When a stage is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Due {
    /// Which.
    pub stage: Stage,
    /// So many milliseconds after the signal was accepted.
    pub after_ms: u64,
}

/// What the rules say. It borrows from them: when none matches, nothing is allocated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict<'a> {
    /// What becomes of the signal.
    pub outcome: Outcome<'a>,
    /// By which rule, when it is not simply to go on.
    pub decided_by: Option<By<'a>>,
    /// What is done beside it, in this order.
    pub effects: Vec<Effect<'a>>,
    /// What is to be looked at next, unless the signal is acknowledged, or gone, before.
    pub next: Option<Due>,
}

/// Applies the rules of a stage to a signal.
///
/// Pure: what it says is to be done by whoever asks. It allocates only when a rule matches and does something, and once
/// for each text with capital letters that a rule compares.
pub fn evaluate<'a>(levels: &Levels<'a>, stage: Stage, facts: &Facts<'_>) -> Verdict<'a> {
    run(levels, stage, facts, &mut ())
}

/// Who watches. The one of [`evaluate`] sees nothing and costs nothing.
pub(super) trait Watch<'a> {
    /// Whether it is to see what each rule's conditions found, also where it is plain that the rule does not match.
    const SEES: bool = true;

    fn rule(&mut self, _by: By<'a>) {}
    fn condition(&mut self, _condition: &'a Condition, _found: &Found<'_>, _held: bool) {}
    fn held(&mut self) {}
    fn action(&mut self, _action: &'a Action, _refused: Option<&'static str>) {}
    fn end(&mut self, _by: By<'a>, _all: bool) {}
}

impl Watch<'_> for () {
    const SEES: bool = false;
}

/// What follows an action.
enum Then {
    Next,
    /// No further rule of this stage.
    StageEnds,
    /// No further rule.
    AllEnds,
}

pub(super) fn run<'a, W: Watch<'a>>(
    levels: &Levels<'a>,
    stage: Stage,
    facts: &Facts<'_>,
    watch: &mut W,
) -> Verdict<'a> {
    let subjects = Subjects::new(facts);
    let mut verdict =
        Verdict { outcome: Outcome::Continue, decided_by: None, effects: Vec::new(), next: None };
    for (level, rules, places) in levels.order(stage) {
        for Place { rule, gate } in places {
            if !W::SEES && gate.is_shut(&subjects) {
                continue;
            }
            let place = usize::from(*rule);
            let rule = &rules[place];
            if rule.stage != stage {
                // Its delay is another one.
                continue;
            }
            let by = By { level, place, name: &rule.name };
            watch.rule(by);
            if !holds(rule, &subjects, watch) {
                continue;
            }
            watch.held();
            for action in &rule.actions {
                let all = match act(action, by, facts, &mut verdict, watch) {
                    Then::Next => continue,
                    Then::StageEnds => false,
                    Then::AllEnds => true,
                };
                watch.end(by, all);
                if !all {
                    verdict.next = levels.next_due(stage);
                }
                return verdict;
            }
        }
    }
    verdict.next = levels.next_due(stage);
    verdict
}

fn holds<'a>(rule: &'a Rule, subjects: &Subjects<'_>, watch: &mut impl Watch<'a>) -> bool {
    rule.conditions.iter().all(|condition| {
        let found = condition.find(subjects);
        let held = condition.meets(&found);
        watch.condition(condition, &found, held);
        held
    })
}

fn act<'a>(
    action: &'a Action,
    by: By<'a>,
    facts: &Facts<'_>,
    verdict: &mut Verdict<'a>,
    watch: &mut impl Watch<'a>,
) -> Then {
    let far = facts.hops >= MAX_HOPS;
    let refused = (far && !action.targets().is_empty()).then_some(TOO_MANY_HOPS);
    watch.action(action, refused);
    let decided = match action {
        Action::StopProcessing => return Then::StageEnds,
        Action::DiscardRules => return Then::AllEnds,
        Action::RejectWith(text) => Some(Outcome::Reject(text.as_str())),
        Action::RedirectTo(_) if far => Some(Outcome::Reject(TOO_MANY_HOPS)),
        Action::RedirectTo(targets) => Some(Outcome::Redirect(targets)),
        Action::Store => Some(Outcome::Store),
        Action::Discard => Some(Outcome::Discard),
        _ => None,
    };
    if let Some(outcome) = decided {
        verdict.outcome = outcome;
        verdict.decided_by = Some(by);
        if matches!(outcome, Outcome::Reject(_)) {
            // What is refused makes no copies.
            verdict.effects.retain(|effect| !matches!(effect.kind, EffectKind::ForkTo(_)));
        }
        return Then::AllEnds;
    }
    let kind = match action {
        Action::ForkTo(_) | Action::SendIm(_) if far => None,
        Action::ForkTo(targets) => Some(EffectKind::ForkTo(targets)),
        Action::SendIm(im) => Some(EffectKind::SendIm(im)),
        Action::RememberFromIn(group) => Some(EffectKind::Remember(group)),
        Action::WriteToLog(text) => Some(EffectKind::Log(text)),
        Action::SendUrl(url) => Some(EffectKind::SendUrl(url)),
        Action::SendPush(text) => Some(EffectKind::SendPush(text)),
        _ => None,
    };
    verdict.effects.extend(kind.map(|kind| Effect { by, kind }));
    Then::Next
}

//! What the ordinary seeds of the world draw: each input, event, effect, answer and refusal occurs.
//!
//! A word that is never drawn is a word of the law that the world proves nothing about.

use std::collections::BTreeMap;

use super::seeds::run;
use super::world::Options;
use crate::kernel::{Effect, Input, Step, What};

/// How many seeds are run.
const SEEDS: u64 = 1_000;

/// Requests about scopes, records and limits, words of holders, and targets.
const INPUTS: &[&str] = &[
    "Spawn",
    "Cancel(One",
    "Cancel(Tree",
    "Cancel(Scope",
    "Cancel(Run",
    "Cancel(All",
    "Report(Done",
    "Report(Failed",
    "Report(Suspended",
    "Report(Aborted",
    "Parked",
    "Said",
    "Active",
    "Stuck",
    "Undelivered",
    "Resume",
    "Control(Abandon",
    "Control(Capacity",
    "Control(Charge",
    "Control(Close",
    "Control(Sweep",
    "Control(Remove",
    "Control(Reopen",
    "Control(Transfer",
    "Ask",
    "Respond",
    "Interrupt",
    "Message",
    "Acknowledge",
    "Control(Grant",
    "Shutdown",
    "External(Note",
    "External(Waits",
    "External(GoesOn",
    "External(Lives",
    "External(Refers",
    "External(Ended",
    "External(Unregistered",
    "CallbackOver",
    "HooksOver",
    "HookFailed",
    "Hosts(All",
    "Hosts(Registered",
    "Hosts(Nothing",
    "Tick",
];

/// Effects, and answers with their refusals.
const EFFECTS: &[&str] = &[
    "Start",
    "Signal",
    "Abort",
    "CheckIdle",
    "Answered",
    "Interrupt",
    "BeforeSettle",
    "Close",
    "Forget",
    "Unknown(",
    "Cancelled(CancelReport",
    "Spawned(Ok(New(",
    "Spawned(Ok(Existing(",
    "Spawned(Err(Closing",
    "Spawned(Err(ProducerOnly",
    "Spawned(Err(Stale",
    "Spawned(Err(DuplicateId(",
    "Spawned(Err(NameTaken(",
    "Spawned(Err(KeyConflict(",
    "Spawned(Err(UnknownParent(",
    "Spawned(Err(ParentClosing(",
    "Spawned(Err(ParentRetries(",
    "Spawned(Err(ParentElsewhere(",
    "Spawned(Err(UnknownDependency(",
    "Spawned(Err(DependencyAbove(",
    "Spawned(Err(UnknownLimit(",
    "Spawned(Err(ScopeClosed(",
    "Spawned(Err(RunCancelled(",
    "Spawned(Err(LimitReached(",
    "Spawned(Err(Bound(",
    "External(Ok(",
    "External(Err(Unknown(",
    "External(Err(NotExternal(",
    "External(Err(NotRunning(",
    "External(Err(RefIsSet(",
    "Resumed(Ok(",
    "Resumed(Err(Unknown(",
    "Resumed(Err(NotSuspended(",
    "Resumed(Err(AlreadyResumed(",
    "Resumed(Err(Full(",
    "Asked(Ok(None",
    "Asked(Ok(Some(",
    "Asked(Err(Stale",
    "Asked(Err(Stopping",
    "Responded(Ok(",
    "Responded(Err(Unknown(",
    "Responded(Err(NoSuchQuestion",
    "Responded(Err(AlreadyAnswered",
    "Responded(Err(Ended(",
    "Interrupted(Ok(",
    "Interrupted(Err(Unknown(",
    "Interrupted(Err(NotRunning(",
    "Controlled(Abandoned(Ok(",
    "Controlled(Abandoned(Err(Unknown(",
    "Controlled(Abandoned(Err(NotStopping(",
    "Controlled(Capacity(",
    "Controlled(Charged(Ok(",
    "Controlled(Charged(Err(",
    "Controlled(Closed(Ok(",
    "Controlled(Closed(Err(Active(",
    "Controlled(Removed(",
    "Controlled(Reopened(true",
    "Controlled(Reopened(false",
    "Controlled(Transferred(Ok(",
    "Controlled(Transferred(Err(ScopeClosed(",
    "Controlled(Transferred(Err(NameTaken(",
    "Controlled(Transferred(Err(KeyTaken(",
    "Controlled(Transferred(Err(FlightTaken(",
    "Controlled(Transferred(Err(BelowAnother(",
    "Controlled(Transferred(Err(LimitReached(",
];

/// Counts an input and what it led to, by name.
pub(super) fn count(drawn: &mut BTreeMap<String, u64>, input: &Input, step: &Step) {
    let mut add = |name: String| *drawn.entry(name).or_default() += 1;
    let told = format!("{input:?}");
    let name = told.split([' ', '(']).next().unwrap_or_default();
    let within = match input {
        Input::Cancel { target, .. } => format!("{target:?}"),
        Input::Control { ask, .. } => format!("{ask:?}"),
        Input::External { word, .. } => format!("{word:?}"),
        Input::Report { end, .. } => format!("{end:?}"),
        Input::Hosts(hosts) => format!("{hosts:?}"),
        Input::Spawn { .. }
        | Input::Parked { .. }
        | Input::Said { .. }
        | Input::Active { .. }
        | Input::Stuck { .. }
        | Input::Undelivered { .. }
        | Input::Resume { .. }
        | Input::Ask { .. }
        | Input::Respond { .. }
        | Input::Interrupt { .. }
        | Input::Message { .. }
        | Input::Acknowledge { .. }
        | Input::Shutdown { .. }
        | Input::CallbackOver { .. }
        | Input::HooksBegun { .. }
        | Input::HooksOver { .. }
        | Input::HookFailed { .. }
        | Input::Tick => String::new(),
    };
    let within = within.split([' ', '(']).next().unwrap_or_default();
    let opens = if within.is_empty() { "" } else { "(" };
    add(format!("input {name}{opens}{within}"));
    for event in &step.events {
        add(format!("event {}", event.what.name()));
    }
    for effect in &step.effects {
        let told = if let Effect::Answer { reply, .. } = effect {
            format!("{reply:?}")
        } else {
            let told = format!("{effect:?}");
            told.split([' ', '(']).next().unwrap_or_default().to_owned()
        };
        let is_name = |letter: char| letter.is_ascii_alphabetic() || letter == '(';
        let end = told.find(|letter| !is_name(letter));
        add(format!("effect {}", &told[..end.unwrap_or(told.len())]));
    }
}

#[test]
#[allow(
    clippy::print_stderr,
    reason = "how often each word was drawn is for whoever reads the log"
)]
fn every_word_of_the_kernel_is_drawn_by_the_ordinary_seeds() {
    let options = Options {
        count: true,
        ..Options::default()
    };
    let mut drawn: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let ran = run(seed, options);
        assert_eq!(ran.result, Ok(()), "seed {seed}");
        for (name, often) in ran.drawn {
            *drawn.entry(name).or_default() += often;
        }
    }
    for (name, often) in &drawn {
        eprintln!("{often:>8} {name}");
    }
    let events = What::NAMES.iter().map(|name| format!("event {name}"));
    let inputs = INPUTS.iter().map(|name| format!("input {name}"));
    let effects = EFFECTS.iter().map(|name| format!("effect {name}"));
    let words = events.chain(inputs).chain(effects);
    let is_drawn = |word: &str| drawn.keys().any(|name| name.starts_with(word));
    let never: Vec<_> = words.filter(|word| !is_drawn(word)).collect();
    assert!(never.is_empty(), "never drawn: {never:?}");
}

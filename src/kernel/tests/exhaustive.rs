//! Every case enumerated: each state with each trigger, each situation of a task with each input.
//!
//! The grids are the table of `ARCHITECTURE.md`, cell by cell. A letter is the state afterwards:
//! pending, Running, waiting, suspended, cancel requested as `p r w s q`; completed, failed, timed
//! out, cancelled, interrupted as `C F T Q I`.
//!
//! *Not here*: what several inputs lead to (`small_worlds`).

mod inputs;
mod situations;

use std::time::Duration;

use super::bed::{Bed, done, id};
use crate::kernel::{Body, Disposition, State, Target, Trigger};
use inputs::INPUTS;
use situations::SITUATIONS;

fn letter(state: State) -> char {
    match state {
        State::Pending => 'p',
        State::Running => 'r',
        State::Waiting => 'w',
        State::Suspended => 's',
        State::CancelRequested => 'q',
        State::Completed => 'C',
        State::Failed => 'F',
        State::TimedOut => 'T',
        State::Cancelled => 'Q',
        State::Interrupted => 'I',
    }
}

/// A row for each trigger, a column for each state in the order of [`State::ALL`]; a dot is "cannot
/// happen".
const LAW: [(Trigger, &str); 13] = [
    (Trigger::Start, "r.... ....."),
    (Trigger::Park, ".w... ....."),
    (Trigger::Unpark, "..r.. ....."),
    (Trigger::AwaitChildren, "wwwwq ....."),
    (Trigger::Suspend, ".ss.. ....."),
    (Trigger::Resume, "...p. ....."),
    (Trigger::Retry, ".pp.p ....."),
    (Trigger::AskStop, "qqqqq ....."),
    (Trigger::Complete, ".CC.C ....."),
    (Trigger::Fail, "FFF.F ....."),
    (Trigger::TimeOut, "T..TT ....."),
    (Trigger::Cancel, "Q..QQ ....."),
    (Trigger::Interrupt, "IIIII ....."),
];

#[test]
fn p2_every_state_trigger_pair_is_decided() {
    let told: Vec<_> = LAW.iter().map(|(trigger, _)| *trigger).collect();
    assert_eq!(told, Trigger::ALL);

    for (trigger, row) in LAW {
        let cells: Vec<_> = row.chars().filter(|cell| *cell != ' ').collect();
        assert_eq!(cells.len(), State::ALL.len());
        for (state, cell) in State::ALL.into_iter().zip(cells) {
            let next = state.next(trigger).map_or('.', letter);
            assert_eq!(next, cell, "{trigger:?} in {state}");
        }
    }
}

#[test]
fn p2_terminal_is_absorbing() {
    for state in State::ALL.into_iter().filter(|state| state.is_terminal()) {
        for trigger in Trigger::ALL {
            assert_eq!(state.next(trigger), None, "{trigger:?} in {state}");
        }
    }
}

#[test]
fn every_state_is_reached_and_left_by_its_name() {
    for state in State::ALL {
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
    assert_eq!(State::parse("gone"), None);
}

/// Builds a situation; the audit within [`Bed::step`] has then looked at each step of it.
fn bed(situation: usize) -> Bed {
    let mut bed = situations::bed();
    (SITUATIONS[situation].1)(&mut bed);
    bed
}

/// Everything ends: bodies are stopped, whatever is left is cancelled, time passes.
fn drain(bed: &mut Bed) {
    bed.cancel(Target::All, Some(Duration::ZERO));
    for _ in 0..4 {
        bed.pass(Duration::from_hours(1));
        let live: Vec<_> = bed.records.values().cloned().collect();
        for record in live.iter().filter(|record| record.body == Body::Live) {
            let number = u32::try_from(record.id.as_u128()).expect("a small id");
            bed.end(number, done());
        }
    }
    assert_eq!(bed.kernel.live(), 0);
    assert!(bed.records.values().all(|record| !record.is_held()));
}

#[test]
fn every_situation_is_what_it_says() {
    for (at, (name, _, state)) in SITUATIONS.iter().enumerate() {
        assert_eq!(letter(bed(at).state(1)), *state, "{name}");
    }
}

/// The column of each cell is the situation of the same place.
#[test]
fn every_input_in_every_situation_leads_where_the_table_says() {
    let mut wrong = Vec::new();
    for (name, input, row) in INPUTS {
        let mut told = String::new();
        for situation in 0..SITUATIONS.len() {
            let mut bed = bed(situation);
            let before = bed.record(1).clone();
            input(&mut bed);
            let state = bed.record(1).state;
            told.push(letter(state));
            if before.state.is_terminal() && before.incarnation == bed.record(1).incarnation {
                assert_eq!(bed.record(1).outcome, before.outcome, "{name}");
            }
            drain(&mut bed);
        }
        let row: String = row.chars().filter(|cell| *cell != ' ').collect();
        if told != row {
            wrong.push(format!("{told}  {name}\n{row}  as the table says"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The process may die in any situation, and again after any input.
#[test]
fn p12_every_situation_survives_a_crash() {
    let mut told = String::new();
    for (at, (name, ..)) in SITUATIONS.iter().enumerate() {
        let mut bed = bed(at);
        let before = bed.record(1).clone();
        bed.crash();
        let after = bed.record(1);
        told.push(letter(after.state));
        if before.state.is_terminal() {
            assert_eq!(
                (after.state, &after.outcome),
                (before.state, &before.outcome)
            );
        }
        assert_eq!(
            after.body == Body::Live,
            after.state == State::Running,
            "{name}"
        );
        drain(&mut bed);
    }
    assert_eq!(told, situations::AFTER_A_CRASH);

    for (_, input, _) in INPUTS {
        for situation in 0..SITUATIONS.len() {
            let mut bed = bed(situation);
            input(&mut bed);
            bed.crash();
            bed.crash();
            drain(&mut bed);
        }
    }
}

/// P12, P14: what is bound to its process runs on in the next one only if it has never started.
#[test]
fn p12_what_is_bound_to_its_owner_never_starts_again_once_it_has_started() {
    let mut told = String::new();
    for (name, build, _) in SITUATIONS {
        let mut bed = situations::bed();
        bed.disposition = Disposition::OwnerBound;
        build(&mut bed);
        let before = bed.record(1).clone();
        bed.crash();
        let after = bed.record(1).clone();
        told.push(letter(after.state));
        let never_again = |bed: &Bed| {
            let now = bed.record(1);
            let is_same = now.epoch == before.epoch && now.attempt == before.attempt;
            assert!(before.started_at.is_none() || is_same, "{name}: {now:?}");
        };
        never_again(&bed);
        for _ in 0..4 {
            bed.pass(Duration::from_mins(5));
            never_again(&bed);
        }
        bed.crash();
        never_again(&bed);
        drain(&mut bed);
    }
    assert_eq!(told, situations::BOUND_AFTER_A_CRASH);
}

/// P13: a report of any other run than the newest, or of a body that is gone, changes nothing.
#[test]
fn p13_stale_reports_change_nothing_in_any_situation() {
    for (at, (name, ..)) in SITUATIONS.iter().enumerate() {
        for stale in inputs::STALE {
            let mut bed = bed(at);
            let seq = bed.kernel.seq();
            let record = bed.record(1).clone();

            let effects = stale(&mut bed);

            assert!(effects.is_empty(), "{name}: {effects:?}");
            assert_eq!(bed.kernel.seq(), seq, "{name}");
            assert_eq!(*bed.record(1), record, "{name}");
        }
    }
    assert_eq!(id(1), crate::kernel::TaskId::from_u128(1));
}

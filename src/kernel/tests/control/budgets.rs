//! Budgets of trees.

use super::super::bed::{Bed, answers, done, fault, id, scope};
use crate::kernel::{
    Bounds, Cause, ChargeRefusal, Control, Controlled, Counter, Effect, End, Epoch, FaultKind,
    Input, OnParentEnd, Refusal, Remaining, Reply, Retry, Spec, State,
};

fn tokens() -> Counter {
    Counter::new("tokens").expect("a valid counter")
}

fn budget(limit: u64) -> impl Fn(&mut Spec) {
    move |spec| {
        spec.budgets.insert(tokens(), limit);
    }
}

fn below(parent: u32) -> impl Fn(&mut Spec) {
    move |spec| spec.parent = Some(id(parent))
}

fn charge_as(
    bed: &mut Bed,
    number: u32,
    epoch: Epoch,
    amount: u64,
) -> (Result<Remaining, ChargeRefusal>, Vec<Effect>) {
    let (id, counter) = (id(number), tokens());
    let ask = Control::Charge {
        id,
        epoch,
        counter,
        amount,
    };
    let ticket = bed.ticket();
    let effects = bed.step(Input::Control { ticket, ask });
    let replies = answers(&effects);
    let answered = replies.iter().find(|(of, _)| *of == ticket);
    let Some((_, Reply::Controlled(Controlled::Charged(charged)))) = answered else {
        panic!("{effects:?}");
    };
    (charged.clone(), effects)
}

fn charge(bed: &mut Bed, number: u32, amount: u64) -> Result<Remaining, ChargeRefusal> {
    let epoch = bed.epoch(number);
    charge_as(bed, number, epoch, amount).0
}

fn left(bed: &mut Bed, number: u32, amount: u64) -> Option<u64> {
    charge(bed, number, amount).expect("it fits").left
}

fn used(bed: &Bed, number: u32) -> (u64, bool) {
    let budget = bed.record(number).budgets[&tokens()];
    (budget.used, budget.exhausted)
}

#[test]
fn charge_is_taken_by_every_budget_up_to_the_root() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, budget(100));
    bed.spawn(2, below(1));
    bed.spawn(3, |spec| {
        below(2)(spec);
        budget(50)(spec);
    });

    assert_eq!(left(&mut bed, 3, 20), Some(30));
    assert_eq!(left(&mut bed, 2, 10), Some(70));
    assert_eq!(left(&mut bed, 1, 0), Some(70));
    assert_eq!((used(&bed, 1), used(&bed, 3)), ((30, false), (20, false)));
    let told = |number| {
        let told = bed.told(number);
        told.into_iter().filter(|told| *told == "charged").count()
    };
    assert_eq!((told(1), told(2), told(3)), (2, 0, 1));
}

#[test]
fn charge_that_one_budget_cannot_take_is_taken_by_none() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, budget(100));
    bed.spawn(2, |spec| {
        below(1)(spec);
        budget(10)(spec);
    });

    let refused = charge(&mut bed, 2, 11);

    let Err(ChargeRefusal::Exhausted(owner, charge)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((owner, charge.used, charge.limit), (id(2), 0, 10));
    assert_eq!((used(&bed, 1), used(&bed, 2)), ((0, false), (0, true)));
    assert_eq!(bed.state(1), State::Running);
    let stop = bed.record(2).stop.clone().expect("it was asked to stop");
    assert_eq!(stop.cause, Cause::Budget);
    assert!(stop.reason.contains("tokens"), "{}", stop.reason);
}

#[test]
fn used_up_budget_stops_its_tree_and_nothing_else() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    bed.spawn(2, |spec| {
        below(1)(spec);
        budget(10)(spec);
    });
    bed.spawn(3, |spec| {
        below(2)(spec);
        spec.on_parent_end = Some(OnParentEnd::Detach);
    });
    bed.spawn(4, below(1));
    assert_eq!(left(&mut bed, 3, 10), Some(0));

    assert!(charge(&mut bed, 3, 1).is_err());

    let states = [1, 2, 3, 4].map(|number| bed.state(number));
    let stopping = State::CancelRequested;
    assert_eq!(states, [State::Running, stopping, stopping, State::Running]);
    // Told once, however often it is charged again.
    assert!(charge(&mut bed, 2, 1).is_err());
    let told = bed.told(2);
    let told = told.iter().filter(|told| **told == "budget_exhausted");
    assert_eq!(told.count(), 1);
    bed.end(3, End::Aborted);
    bed.end(2, End::Aborted);
    assert_eq!(bed.state(2), State::Cancelled);
}

#[test]
fn exhausted_budget_takes_nothing_more_and_stops_nobody_else() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, budget(100));
    bed.spawn(2, |spec| {
        below(1)(spec);
        budget(10)(spec);
    });
    assert_eq!(left(&mut bed, 2, 4), Some(6));
    assert!(charge(&mut bed, 2, 7).is_err());
    let refused = |bed: &mut Bed| {
        // One that would fit, and one that would not fit the budget above, either.
        for amount in [1, 1_000] {
            let refused = charge(bed, 2, amount);
            let Err(ChargeRefusal::Exhausted(owner, charge)) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!((owner, charge.used, charge.amount), (id(2), 4, amount));
        }
        assert_eq!((used(bed, 1), used(bed, 2)), ((4, false), (4, true)));
    };

    refused(&mut bed);

    assert_eq!(bed.state(1), State::Running);
    assert_eq!(left(&mut bed, 1, 96), Some(0));
    assert_eq!(charge(&mut bed, 2, 0).map(|left| left.left), Ok(Some(0)));
    let stop = bed.record(2).stop.clone().expect("it was asked to stop");
    assert!(stop.reason.contains("4 are, 7 more"), "{}", stop.reason);
}

#[test]
fn of_two_budgets_that_are_short_the_one_nearest_to_the_root_counts() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, budget(5));
    bed.spawn(2, |spec| {
        below(1)(spec);
        budget(5)(spec);
    });

    assert!(charge(&mut bed, 2, 6).is_err());

    assert_eq!(bed.state(1), State::CancelRequested);
    assert_eq!((used(&bed, 1).1, used(&bed, 2).1), (true, false));
}

#[test]
fn counter_without_a_budget_has_no_limit_and_tells_nothing() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |_| {});
    let before = bed.kernel.seq();

    assert_eq!(left(&mut bed, 1, u64::MAX), None);

    assert_eq!(bed.kernel.seq(), before);
}

#[test]
fn budget_survives_attempts_and_a_crash() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, |spec| {
        budget(10)(spec);
        spec.retry = Retry::fixed(3, std::time::Duration::ZERO);
    });
    assert_eq!(left(&mut bed, 1, 4), Some(6));
    bed.end(1, fault(FaultKind::Error));
    bed.pass(std::time::Duration::ZERO);
    assert_eq!(left(&mut bed, 1, 4), Some(2));

    bed.crash();
    bed.pass(std::time::Duration::ZERO);

    assert_eq!(bed.state(1), State::Running);
    assert!(charge(&mut bed, 1, 3).is_err());
    assert_eq!(bed.record(1).budgets[&tokens()].used, 8);
}

#[test]
fn p13_stale_run_charges_nothing() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, budget(10));
    let (early, late) = (Epoch(0), bed.epoch(1).next());

    for epoch in [early, late] {
        let (charged, effects) = charge_as(&mut bed, 1, epoch, 11);
        assert_eq!((charged, effects.len()), (Err(ChargeRefusal::Stale), 1));
    }
    bed.end(1, done());
    assert_eq!(charge(&mut bed, 1, 11), Err(ChargeRefusal::Stale));
    assert_eq!(used(&bed, 1), (0, false));
}

#[test]
fn detached_tree_charges_its_former_parent_no_more() {
    let mut bed = Bed::new(Bounds::default());
    bed.spawn(1, budget(10));
    bed.spawn(2, |spec| {
        below(1)(spec);
        spec.scope = scope("s");
        spec.on_parent_end = Some(OnParentEnd::Detach);
    });
    bed.end(1, done());

    assert_eq!(left(&mut bed, 2, 99), None);
}

#[test]
fn task_has_at_most_sixteen_budgets() {
    let mut bed = Bed::new(Bounds::default());
    for (number, budgets, is_taken) in [(1, 16, true), (2, 17, false)] {
        let effects = bed.spawn(number, |spec| {
            for at in 0..budgets {
                let counter = Counter::new(&format!("c{at}")).expect("a valid counter");
                spec.budgets.insert(counter, 1);
            }
        });
        let refused = Reply::Spawned(Err(Refusal::Bound("budgets of a task", 16)));
        let is_refused = format!("{:?}", answers(&effects)[0].1) == format!("{refused:?}");
        assert_eq!(is_refused, !is_taken);
    }
}

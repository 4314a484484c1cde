//! The kernel against the model, and against what it says about fairness, slots and delays.

use std::time::Duration;

use proptest::prelude::*;

use super::bed::{Bed, answers, done, fault, id, name, scope};
use super::model::{Ask, Model};
use crate::kernel::{
    Accepted, Bounds, Class, ClassName, FaultKind, Jitter, Reply, Retry, Spec, Target, Wait, What,
};

const SCOPES: [&str; 3] = ["s", "t", "u"];
const NAMES: [&str; 3] = ["ann", "bob", "cid"];

/// One thing that is done; numbers are taken modulo the tasks there are.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Spawn(Ask),
    End(usize, bool),
    Cancel(usize),
    CancelTree(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    let ask = (
        proptest::option::weighted(0.6, 0..12_usize),
        0..3_usize,
        proptest::option::weighted(0.3, 0..3_usize),
        any::<bool>(),
    );
    let ask = ask.prop_map(|(parent, scope, name, limited)| Ask {
        parent,
        scope,
        name,
        limited,
    });
    prop_oneof![
        5 => ask.prop_map(Deed::Spawn),
        4 => (0..12_usize, any::<bool>()).prop_map(|(task, well)| Deed::End(task, well)),
        1 => (0..12_usize).prop_map(Deed::Cancel),
        1 => (0..12_usize).prop_map(Deed::CancelTree),
    ]
}

fn one() -> ClassName {
    ClassName::new("one").expect("a valid class name")
}

fn with_class(size: u32) -> Bed {
    let mut bounds = Bounds::default();
    bounds.named.insert(one(), Class::queue(size));
    Bed::new(bounds)
}

fn number(task: usize) -> u32 {
    u32::try_from(task).expect("a small number") + 1
}

/// Makes the ask fit the tasks there are: a child is in the scope of its parent, now and then not.
fn fit(mut ask: Ask, scopes: &[usize]) -> Ask {
    ask.parent = ask.parent.filter(|_| !scopes.is_empty());
    ask.parent = ask.parent.map(|parent| parent % scopes.len());
    if let (Some(parent), true) = (ask.parent, ask.scope > 0) {
        ask.scope = scopes[parent];
    }
    ask
}

fn spawn(bed: &mut Bed, at: u32, ask: Ask) -> bool {
    let effects = bed.spawn(at, |spec: &mut Spec| {
        spec.scope = scope(SCOPES[ask.scope]);
        spec.parent = ask.parent.map(|parent| id(number(parent)));
        spec.name = ask.name.map(|at| name(NAMES[at]));
        spec.limits = ask.limited.then(one).into_iter().collect();
    });
    let is_new = |reply: &Reply| matches!(reply, Reply::Spawned(Ok(Accepted::New(_))));
    answers(&effects).iter().all(|(_, reply)| is_new(reply))
}

/// Which tasks the kernel told of in events of this type, in order.
fn told(bed: &Bed, wanted: &str) -> Vec<usize> {
    let of_type = bed
        .events
        .iter()
        .filter(|event| event.what.name() == wanted);
    let task = |bits: u128| usize::try_from(bits).expect("a small id") - 1;
    of_type.map(|event| task(event.task.as_u128())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    })]

    #[test]
    fn p6_p7_p16_kernel_does_as_the_model_does(
        size in 1..3_u32,
        deeds in proptest::collection::vec(deed(), 1..40),
    ) {
        let mut bed = with_class(size);
        let mut model = Model::new(size as usize);
        let mut scopes = Vec::new();
        for deed in deeds {
            let count = model.count();
            match deed {
                Deed::Spawn(ask) => {
                    let ask = fit(ask, &scopes);
                    let taken = model.spawn(ask);
                    prop_assert_eq!(spawn(&mut bed, number(count), ask), taken);
                    scopes.extend(taken.then_some(ask.scope));
                }
                _ if count == 0 => {}
                Deed::End(task, well) => {
                    let task = task % count;
                    model.end(task, well);
                    let end = if well { done() } else { fault(FaultKind::Error) };
                    bed.end(number(task), end);
                }
                Deed::Cancel(task) => {
                    model.cancel(task % count);
                    bed.cancel_one(number(task % count));
                }
                Deed::CancelTree(task) => {
                    model.cancel_tree(task % count);
                    bed.cancel_tree(number(task % count));
                }
            }
            for task in 0..model.count() {
                prop_assert_eq!(bed.state(number(task)), model.state(task), "task {}", task);
            }
            prop_assert_eq!(told(&bed, "started"), &model.started[..]);
            prop_assert_eq!(told(&bed, "stop_asked"), &model.asked[..]);
            let mut ended = (told(&bed, "settled"), model.ended.clone());
            ended.0.sort_unstable();
            ended.1.sort_unstable();
            prop_assert_eq!(ended.0, ended.1);
            let used = bed.kernel.slots().iter().map(|(_, used, ..)| *used as usize).sum::<usize>();
            prop_assert_eq!(used, model.in_use());
        }
    }

    /// With k scopes waiting for one class, a scope is served at least once in k admissions.
    #[test]
    fn p16_no_scope_waits_longer_than_its_turn(
        size in 1..3_u32,
        arrivals in proptest::collection::vec((0..3_usize, 0..3_u8), 10..60),
    ) {
        let mut bed = with_class(size);
        let mut waiting: [Vec<u32>; 3] = Default::default();
        let mut running = Vec::new();
        let mut passed = [0; 3];
        for (at, (scope_at, ends)) in arrivals.into_iter().enumerate() {
            let ask = Ask { parent: None, scope: scope_at, name: None, limited: true };
            let before = bed.events.len();
            spawn(&mut bed, number(at), ask);
            waiting[scope_at].push(number(at));
            if ends > 0 && !running.is_empty() {
                bed.end(running.remove(0), done());
            }
            let begun = bed.events[before..].iter().filter(|event| event.what == What::Started);
            let begun: Vec<_> = begun.map(|event| event.task).collect();
            for started in begun {
                let has_it = |queue: &Vec<_>| queue.iter().any(|it| id(*it) == started);
                let scope = waiting.iter().position(has_it);
                let scope = scope.expect("it was waiting");
                let first = waiting[scope].remove(0);
                prop_assert_eq!(id(first), started, "within a scope nobody overtakes");
                running.push(first);
                for (other, passed) in passed.iter_mut().enumerate() {
                    let had_a_turn = other == scope || waiting[other].is_empty();
                    *passed = if had_a_turn { 0 } else { *passed + 1 };
                    prop_assert!(*passed < 3, "scope {} was passed over {} times", other, passed);
                }
            }
        }
    }

    /// Whatever classes tasks need together, no slot is given twice, and none is idle while
    /// somebody could use it.
    #[test]
    fn p16_slots_of_several_classes_are_neither_lost_nor_given_twice(
        sizes in (1..3_u32, 1..3_u32, proptest::option::of(1..4_u32)),
        deeds in proptest::collection::vec((0..4_u8, 0..16_u32, 0..4_u8), 10..80),
    ) {
        let classes = ["a", "b"].map(|text| ClassName::new(text).expect("a valid class name"));
        let mut bounds = Bounds::default();
        bounds.named.insert(classes[0].clone(), Class::queue(sizes.0));
        bounds.named.insert(classes[1].clone(), Class::queue(sizes.1));
        bounds.per_scope = sizes.2.map(Class::queue);
        let mut bed = Bed::new(bounds);
        let mut count = 0;
        for (turn, (verb, task, needs)) in (1..).zip(deeds) {
            let task = task % (count + 1);
            if verb == 0 || task == 0 {
                count += 1;
                bed.spawn(count, |spec| {
                    spec.scope = scope(SCOPES[usize::from(needs) % 3]);
                    let chosen = classes.iter().enumerate();
                    let chosen = chosen.filter(|(at, _)| needs & (1 << at) != 0);
                    spec.limits = chosen.map(|(_, class)| class.clone()).collect();
                });
            } else if verb == 1 {
                // The audit after each step proves the rest: each waiting task needs a class that
                // is full.
                bed.end(task, done());
            } else {
                bed.park(task, turn, (verb == 2).then_some(Wait::Parked));
            }
        }
        bed.cancel(Target::All, Some(Duration::ZERO));
        for task in 1..=count {
            bed.end(task, done());
        }
        prop_assert!(bed.kernel.slots().iter().all(|(_, used, _, waiting)| used + waiting == 0));
    }

    #[test]
    fn delays_grow_by_their_factor_up_to_the_cap(
        first in 0..10_000_u64,
        percent in 0..400_u32,
        cap in 0..100_000_u64,
        attempt in 1..20_u32,
        dice in any::<u64>(),
    ) {
        let cap = Duration::from_millis(cap);
        let retry = Retry::fixed(20, Duration::from_millis(first)).factor_percent(percent).cap(cap);
        let factor = f64::from(percent.max(100)) / 100.0;
        let exponent = i32::try_from(attempt).expect("a small number") - 1;
        let first_delay = Duration::from_millis(first).as_secs_f64();
        let exact = (first_delay * factor.powi(exponent)).min(cap.as_secs_f64());

        let plain = retry.delay_after(attempt, dice);
        let spread = retry.clone().jitter(Jitter::Full);

        prop_assert!((plain.as_secs_f64() - exact).abs() < 1e-6 * (1.0 + exact));
        prop_assert!(spread.delay_after(attempt, dice) <= plain);
        prop_assert_eq!(spread.delay_after(attempt, dice), spread.delay_after(attempt, dice));
    }
}

#[test]
fn jitter_spreads_delays_over_the_whole_range() {
    let retry = Retry::exponential(3);
    let most = retry.longest_delay_after(1);

    let delays: Vec<_> = (0..1_000).map(|dice| retry.delay_after(1, dice)).collect();

    let mean = delays.iter().sum::<Duration>() / 1_000;
    assert!(delays.iter().any(|delay| *delay < most / 20));
    assert!(delays.iter().any(|delay| *delay > most * 19 / 20));
    assert!(mean > most * 45 / 100 && mean < most * 55 / 100, "{mean:?}");
}

#[test]
fn retries_follow_each_other_after_their_delays() {
    let mut bed = with_class(1);
    bed.spawn(1, |spec| {
        spec.retry = Retry::fixed(3, Duration::from_secs(2)).factor_percent(200);
    });
    for seconds in [2, 4, 8] {
        bed.end(1, fault(FaultKind::Error));
        let due = bed.now.after(Duration::from_secs(seconds));
        assert_eq!(bed.record(1).wait, Some(Wait::Backoff(due)));

        bed.pass(Duration::from_millis(seconds * 1_000 - 1));
        assert_eq!(bed.record(1).wait, Some(Wait::Backoff(due)));
        bed.pass(Duration::from_millis(1));
        assert_eq!(bed.record(1).wait, None);
    }
    bed.end(1, fault(FaultKind::Error));
    assert_eq!(bed.state(1), crate::kernel::State::Failed);
}

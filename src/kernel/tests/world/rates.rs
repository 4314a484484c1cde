//! What one seed is like: how often things happen and how large the bounds are.
//!
//! Every seed draws its own (a swarm), so that some worlds hardly crash, some hardly run, and some
//! do nothing but cancel: combinations that no average world would reach.

use std::time::Duration;

use super::dice::Dice;
use super::rarer::Rarer;
use crate::kernel::{Bounds, Class, ClassName, Counter, Kind, Scope, WhenFull};

/// What can happen in a turn of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel_tests) enum Action {
    Spawn,
    Body,
    Deliver,
    Repeat,
    Commit,
    Tick,
    Pass,
    Cancel,
    Resume,
    Crash,
    Scopes,
    Records,
    Holder,
    Hosts,
}

const ACTIONS: [Action; 14] = [
    Action::Spawn,
    Action::Body,
    Action::Deliver,
    Action::Repeat,
    Action::Commit,
    Action::Tick,
    Action::Pass,
    Action::Cancel,
    Action::Resume,
    Action::Crash,
    Action::Scopes,
    Action::Records,
    Action::Holder,
    Action::Hosts,
];

/// How often what happens; numbers are percents where nothing else is said.
#[derive(Clone, Debug)]
pub(in crate::kernel_tests) struct Rates {
    weights: [usize; ACTIONS.len()],
    pub(in crate::kernel_tests) turns: usize,
    pub(in crate::kernel_tests) scopes: usize,
    pub(in crate::kernel_tests) named: u32,
    pub(in crate::kernel_tests) keyed: u32,
    pub(in crate::kernel_tests) parented: u32,
    pub(in crate::kernel_tests) after: u32,
    pub(in crate::kernel_tests) limited: u32,
    pub(in crate::kernel_tests) timed: u32,
    pub(in crate::kernel_tests) idle: u32,
    pub(in crate::kernel_tests) retried: u32,
    pub(in crate::kernel_tests) executors: u32,
    pub(in crate::kernel_tests) policies: u32,
    pub(in crate::kernel_tests) cooperative: u32,
    pub(in crate::kernel_tests) deaf: u32,
    pub(in crate::kernel_tests) hangs: u32,
    pub(in crate::kernel_tests) fails: u32,
    pub(in crate::kernel_tests) suspends: u32,
    pub(in crate::kernel_tests) parks: u32,
    pub(in crate::kernel_tests) duplicates: u32,
    pub(in crate::kernel_tests) groups: u32,
    pub(in crate::kernel_tests) trees: u32,
    pub(in crate::kernel_tests) restarted: u32,
    pub(in crate::kernel_tests) hooked: u32,
    pub(in crate::kernel_tests) rarer: Rarer,
}

impl Rates {
    pub(in crate::kernel_tests) fn draw(dice: &mut Dice, rarer: Rarer) -> Self {
        let mut of = |levels: &[u32]| *dice.pick(levels).expect("there are levels");
        let weights = [
            of(&[2, 4, 8]) as usize,
            of(&[8, 16, 30]) as usize,
            of(&[6, 16, 30]) as usize,
            of(&[0, 2, 4]) as usize,
            of(&[4, 16, 30]) as usize,
            of(&[1, 4, 10]) as usize,
            of(&[1, 3, 6]) as usize,
            of(&[0, 1, 3]) as usize,
            of(&[1, 2, 5]) as usize,
            of(&[0, 0, 1]) as usize,
            rarer.scopes,
            rarer.records,
            rarer.holders,
            rarer.hosts,
        ];
        Self {
            weights,
            turns: of(&[100, 300, 600]) as usize,
            scopes: of(&[1, 2, 3]) as usize,
            named: of(&[0, 20, 80]),
            keyed: of(&[0, 10, 40]),
            parented: of(&[10, 50, 90]),
            after: of(&[0, 10, 40]),
            limited: of(&[0, 40, 90]),
            timed: of(&[0, 10, 50]),
            idle: of(&[0, 10, 30]),
            retried: of(&[0, 30, 80]),
            executors: of(&[0, 50, 100]),
            policies: of(&[0, 30, 80]),
            cooperative: of(&[0, 10, 50]),
            deaf: of(&[0, 20, 60]),
            hangs: of(&[0, 0, 20]),
            fails: of(&[5, 30, 70]),
            suspends: of(&[0, 5, 20]),
            parks: of(&[0, 20, 50]),
            duplicates: of(&[0, 20, 60]),
            groups: of(&[0, 30, 80]),
            trees: of(&[30, 70, 100]),
            restarted: of(&[0, 0, 30]),
            hooked: of(&[0, 0, 20]),
            rarer,
        }
    }

    pub(in crate::kernel_tests) fn action(&self, dice: &mut Dice) -> Action {
        let mut at = dice.below(self.weights.iter().sum());
        for (weight, action) in self.weights.iter().zip(ACTIONS) {
            if at < *weight {
                return action;
            }
            at -= weight;
        }
        Action::Body
    }
}

/// Bounds that a small world can reach.
pub(in crate::kernel_tests) fn bounds(dice: &mut Dice) -> Bounds {
    let mut bounds = Bounds {
        live_max: 4 + dice.below(40),
        depth_max: u32::try_from(1 + dice.below(6)).expect("a small number"),
        children_max: 2 + dice.below(8),
        settled_max: [5, 50, 1_000][dice.below(3)],
        grace: Duration::from_millis(1 + dice.below(50) as u64),
        abort_window: Duration::from_millis(dice.below(20) as u64),
        key_window: Duration::from_millis(10 + dice.below(300) as u64),
        ..Bounds::default()
    };
    bounds.global = class(dice, 30);
    bounds.per_scope = class(dice, 30);
    let own = class(dice, 30);
    bounds.scopes.extend(own.map(|own| (scope(0), own)));
    let of_kind = class(dice, 50);
    bounds.kinds.extend(of_kind.map(|class| (kind(), class)));
    bounds.hooked.all = dice.percent(10);
    bounds
        .hooked
        .scopes
        .extend(dice.percent(15).then(|| scope(0)));
    bounds.hooked.kinds.extend(dice.percent(15).then(kind));
    for name in ["a", "b"] {
        let class = class(dice, 100).unwrap_or(Class::queue(1));
        bounds.named.insert(class_name(name), class);
    }
    bounds
}

fn class(dice: &mut Dice, often: u32) -> Option<Class> {
    if !dice.percent(often) {
        return None;
    }
    let size = u32::try_from(1 + dice.below(3)).expect("a small number");
    let when_full = match dice.below(6) {
        0 => WhenFull::Refuse,
        1 => WhenFull::Queue { waiting_max: 2 },
        2 => WhenFull::Inline,
        _ => return Some(Class::queue(size)),
    };
    Some(Class { size, when_full })
}

pub(in crate::kernel_tests) fn scope(number: usize) -> Scope {
    Scope::new(["s", "t", "u"][number]).expect("a valid scope")
}

pub(in crate::kernel_tests) fn counter() -> Counter {
    Counter::new("tokens").expect("a valid counter")
}

pub(in crate::kernel_tests) fn kind() -> Kind {
    Kind::new("k").expect("a valid kind")
}

pub(in crate::kernel_tests) fn class_name(text: &str) -> ClassName {
    ClassName::new(text).expect("a valid class name")
}

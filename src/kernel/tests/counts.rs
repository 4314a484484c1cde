//! Work is counted, not timed: what a cancel of a large tree costs per task, whatever the shape of
//! the tree.
//!
//! The trees are built, cancelled and dropped on a small stack: nothing in the kernel recurses.

use std::sync::Arc;

use super::bed::{ask, scope};
use crate::kernel::{
    Body, Bounds, Effect, End, Epoch, Input, Record, Reply, Reuse, Seq, Spec, Step, Supervisor,
    Target, TaskId, Ticket, Timestamp,
};

const STACK_BYTES: usize = 128 * 1024;
const NOW: Timestamp = Timestamp::from_micros(1);

/// In which order the bodies of a cancelled tree stop.
#[derive(Clone, Copy, Debug)]
enum Stops {
    RootFirst,
    LeafFirst,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    visits: u64,
    records: usize,
    events: usize,
    effects: usize,
}

impl Work {
    fn add(&mut self, step: &Step) {
        self.records += step.records.len();
        self.events += step.events.len();
        self.effects += step.effects.len();
    }
}

fn id(number: usize) -> TaskId {
    TaskId::from_u128(number as u128 + 1)
}

fn forest(count: usize, parent: impl Fn(usize) -> usize) -> Supervisor {
    let bounds = Bounds {
        live_max: count,
        depth_max: u32::MAX,
        children_max: count,
        ..Bounds::default()
    };
    let mut kernel = Supervisor::new(bounds, 1);
    for number in 0..count {
        let mut spec = Spec::new(scope("s"));
        spec.parent = (number > 0).then(|| id(parent(number)));
        let step = kernel.step(
            NOW,
            Input::Spawn {
                ticket: Ticket(0),
                id: id(number),
                spec: Arc::new(spec),
                by: None,
                reuse: Reuse::Refused,
            },
        );
        assert_eq!(step.events.len(), 2, "accepted and started");
    }
    kernel
}

/// Cancels the whole tree and lets its bodies stop one after another.
fn cancel(kernel: &mut Supervisor, count: usize, stops: Stops) -> Work {
    let mut work = Work::default();
    let before = kernel.visits();
    let step = kernel.step(
        NOW,
        Input::Cancel {
            ticket: Ticket(1),
            target: Target::Tree(id(0)),
            ask: ask(None),
        },
    );
    work.add(&step);
    let mut answered = 0;
    for at in 0..count {
        let number = match stops {
            Stops::RootFirst => at,
            Stops::LeafFirst => count - 1 - at,
        };
        let step = kernel.step(
            NOW,
            Input::Report {
                id: id(number),
                epoch: Epoch(1),
                end: End::Aborted,
                undelivered: 0,
            },
        );
        work.add(&step);
        for effect in &step.effects {
            if let Effect::Answer {
                reply: Reply::Cancelled(report),
                ..
            } = effect
            {
                answered += 1;
                assert_eq!(report.cancelled.len(), count);
            }
        }
    }
    assert_eq!((answered, kernel.live()), (1, 0));
    work.visits = kernel.visits() - before;
    work
}

/// Per task of a cancelled tree: asked, perhaps told that it waits for its children, and settled.
fn check(count: usize, parent: impl Fn(usize) -> usize + Copy + Send + 'static) {
    let run = move || {
        for stops in [Stops::RootFirst, Stops::LeafFirst] {
            let mut kernel = forest(count, parent);
            let work = cancel(&mut kernel, count, stops);
            assert!(work.visits <= 3 * count as u64, "{stops:?} {work:?}");
            assert!(work.events <= 3 * count, "{stops:?} {work:?}");
            assert!(work.records <= 3 * count, "{stops:?} {work:?}");
            // A signal, a close and a forget for each, and one answer for all.
            assert_eq!(work.effects, 3 * count + 1, "{stops:?}");
        }
        drop(forest(count, parent));
        recover(count, parent);
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let thread = thread.spawn(run).expect("a thread can be made");
    assert!(thread.join().is_ok(), "it worked on a small stack");
}

/// After a crash the same tree is interrupted with as little work.
fn recover(count: usize, parent: impl Fn(usize) -> usize) {
    let kernel = forest(count, parent);
    let records: Vec<_> = (0..count)
        .filter_map(|number| kernel.record(id(number)).cloned())
        .collect();
    assert!(
        records
            .iter()
            .all(|record: &Arc<Record>| record.body == Body::Live)
    );

    let bounds = Bounds::default();
    let (kernel, step) = Supervisor::recover(bounds, 1, NOW, Seq(2 * count as u64), records);

    assert_eq!(kernel.live(), 0);
    assert_eq!(step.events.len(), count);
    assert!(step.records.len() <= 2 * count);
    assert!(kernel.visits() <= 3 * count as u64);
}

#[test]
fn flat_tree_costs_the_same_per_task() {
    check(100_000, |_| 0);
}

#[test]
fn chain_costs_the_same_per_task() {
    check(10_000, |number| number - 1);
}

#[test]
fn wide_tree_costs_the_same_per_task() {
    check(100_000, |number| (number - 1) / 10);
}

/// A parent that fails cancels what is below it; each level that ends must not ask all below again.
#[test]
fn cascade_down_a_chain_asks_each_task_once() {
    let count = 10_000;
    let mut kernel = forest(count, |number| number - 1);
    let mut asked = 0;
    for number in 0..count {
        let step = kernel.step(
            NOW,
            Input::Report {
                id: id(number),
                epoch: Epoch(1),
                end: super::bed::fault(crate::kernel::FaultKind::Error),
                undelivered: 0,
            },
        );
        let told = step.events.iter();
        asked += told
            .filter(|event| event.what.name() == "stop_asked")
            .count();
    }
    assert_eq!((asked, kernel.live()), (count - 1, 0));
    assert!(kernel.visits() <= 3 * count as u64, "{}", kernel.visits());
}

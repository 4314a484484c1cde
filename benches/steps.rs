//! The kernel alone: spawn, start, progress and report, on one thread.
//!
//! `cargo bench --bench steps` prints how many inputs a core can decide on. No store, no actor, no
//! runtime: what remains is the law. The time that goes in counts up by itself; the only clock is
//! around the loop.
#![allow(
    clippy::print_stdout,
    reason = "a benchmark prints what it has measured"
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use understory::kernel::{
    Bounds, Effect, End, Epoch, Input, Note, Payload, Reuse, Scope, Spec, Step, Supervisor, TaskId,
    Ticket, Timestamp, What,
};

/// Inputs in all; each task takes three: its spawn (which starts it), a note, its report.
const STEPS: u64 = 1_000_000;
const LIVE_MAX: usize = 10_000;
const REPETITIONS: usize = 5;

struct World {
    supervisor: Supervisor,
    spec: Arc<Spec>,
    /// Bodies that run, the oldest first.
    running: VecDeque<(TaskId, Epoch)>,
    steps: u64,
    spawned: u64,
    completed: u64,
}

impl World {
    fn new() -> Self {
        let bounds = Bounds {
            settled_max: LIVE_MAX,
            ..Bounds::default()
        };
        let scope = Scope::new("bench").expect("it is a valid name");
        Self {
            supervisor: Supervisor::new(bounds, 1),
            spec: Arc::new(Spec::new(scope)),
            running: VecDeque::with_capacity(LIVE_MAX),
            steps: 0,
            spawned: 0,
            completed: 0,
        }
    }

    fn step(&mut self, input: Input) -> Step {
        self.steps += 1;
        let now = Timestamp::from_micros(self.steps);
        self.supervisor.step(now, input)
    }

    fn spawn(&mut self) {
        self.spawned += 1;
        let step = self.step(Input::Spawn {
            ticket: Ticket(self.spawned),
            id: TaskId::from_u128(u128::from(self.spawned)),
            spec: Arc::clone(&self.spec),
            by: None,
            reuse: Reuse::Refused,
        });
        for effect in &step.effects {
            if let Effect::Start { id, epoch, .. } = effect {
                self.running.push_back((*id, *epoch));
            }
        }
    }

    /// Lets the oldest body say something and end.
    fn finish(&mut self, note: &Payload) {
        let oldest = self.running.pop_front();
        let (id, epoch) = oldest.expect("each spawn has started a body");
        let note = Note::Progress(note.clone());
        let _ = self.step(Input::Said { id, epoch, note });
        let step = self.step(Input::Report {
            id,
            epoch,
            end: End::Done(Payload::from_json("null")),
            undelivered: 0,
        });
        let is_end = |what: &What| matches!(what, What::Settled { .. });
        let has_ended = step.events.iter().any(|event| is_end(&event.what));
        self.completed += u64::from(has_ended);
    }
}

/// Makes that many steps with up to [`LIVE_MAX`] tasks live, and tells how long they took.
fn run() -> (Duration, u64) {
    let mut world = World::new();
    let note = Payload::from_json("\"half way\"");
    let began = Instant::now();
    while world.steps < STEPS {
        if world.running.len() == LIVE_MAX {
            world.finish(&note);
        }
        world.spawn();
    }
    let took = began.elapsed();
    assert_eq!(world.spawned, world.completed + world.running.len() as u64);
    (took, world.steps)
}

fn main() {
    let mut runs: Vec<_> = (0..REPETITIONS).map(|_| run()).collect();
    runs.sort();
    let (took, steps) = runs[REPETITIONS / 2];
    let seconds = took.as_secs_f64();
    let count = f64::from(u32::try_from(steps).expect("it is about a million"));
    println!("{steps} steps, at most {LIVE_MAX} tasks live, median of {REPETITIONS} runs");
    println!(
        "{:.0} steps/s, {:.0} ns per step",
        count / seconds,
        seconds * 1e9 / count
    );
}

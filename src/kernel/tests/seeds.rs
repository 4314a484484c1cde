//! The world run: every seed that ever found something, then others: the same ones in an ordinary
//! run of the tests, those of a base or fresh ones for as long as one likes when that is asked for.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::world::{Life, Options, World};
use crate::kernel::{Step, Supervisor};

/// How many of the last lines a failure shows, unless `UNDERSTORY_STEPS` says more.
const STEPS_SHOWN: u64 = 50;

/// After how many broken worlds a run gives up.
const BROKEN_SHOWN: usize = 12;

/// What a seed came to.
pub(super) struct Ran {
    pub(super) steps: u64,
    pub(super) result: Result<(), String>,
    pub(super) trace: Vec<String>,
    pub(super) lives: Vec<Life>,
    pub(super) drawn: BTreeMap<String, u64>,
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("the variable holds a number"))
}

/// How many worlds an ordinary run of the tests draws, always the same ones.
const SEEDS: u64 = 2_000;

/// Which worlds are drawn.
struct Plan {
    base: u64,
    count: u64,
    time: Duration,
}

impl Plan {
    /// With `UNDERSTORY_SEED_SECONDS` a hunt from a fresh base for so long, otherwise
    /// `UNDERSTORY_SEEDS` worlds; from `UNDERSTORY_SEED` on if that is given.
    fn asked() -> Self {
        let seconds = number("UNDERSTORY_SEED_SECONDS");
        let since = || SystemTime::now().duration_since(UNIX_EPOCH);
        let fresh = || since().expect("it is after 1970").as_secs() << 24;
        let base = seconds.map_or(0, |_| fresh());
        Self {
            base: number("UNDERSTORY_SEED").unwrap_or(base),
            count: number("UNDERSTORY_SEEDS").unwrap_or(seconds.map_or(SEEDS, |_| u64::MAX)),
            time: seconds.map_or(Duration::MAX, Duration::from_secs),
        }
    }
}

/// Whether whoever runs the tests asked for long proofs.
pub(super) fn has_time() -> bool {
    let plan = Plan::asked();
    plan.count >= 10_000 && plan.time >= Duration::from_secs(10)
}

/// Runs one world. A panic of the kernel is a broken promise like any other.
pub(super) fn run(seed: u64, options: Options) -> Ran {
    let mut world = World::new(seed, options);
    let run = catch_unwind(AssertUnwindSafe(|| world.run()));
    let result = run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("without words")))
    });
    Ran {
        steps: world.steps,
        result,
        trace: std::mem::take(&mut world.trace),
        lives: std::mem::take(&mut world.lives),
        drawn: std::mem::take(&mut world.drawn),
    }
}

/// Runs one world with all eyes open: how many steps it took, or what was broken.
fn check(seed: u64) -> Result<u64, String> {
    let ran = run(
        seed,
        Options {
            audit: true,
            ..Options::default()
        },
    );
    ran.result.map(|()| ran.steps)
}

/// Tells which seeds broke something, and the last steps of the first of them.
fn report(broken: &[(u64, String)]) {
    let Some((first, _)) = broken.first() else {
        return;
    };
    let options = Options {
        audit: true,
        trace: true,
        ..Options::default()
    };
    let told = run(*first, options).trace;
    let shown = number("UNDERSTORY_STEPS").unwrap_or(STEPS_SHOWN);
    let from = told
        .len()
        .saturating_sub(usize::try_from(shown).unwrap_or(usize::MAX));
    let list = broken.iter().map(|(seed, why)| format!("{seed}: {why}"));
    panic!(
        "Worlds broke a promise; add their seeds to src/kernel/tests/seeds.txt.\n\
         The last {shown} steps of {first}:\n{}\n{}",
        told[from..].join("\n"),
        list.collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn every_seed_that_found_something_keeps_every_promise() {
    let lines = include_str!("seeds.txt").lines();
    let seeds = lines.filter(|line| !line.starts_with('#'));
    let mut broken = Vec::new();

    for line in seeds {
        let number = line.split(' ').next().unwrap_or(line);
        let seed = number.parse().expect("a line begins with a seed");
        broken.extend(check(seed).err().map(|why| (seed, why)));
    }
    report(&broken);
}

/// Which worlds, [`Plan::asked`] says.
#[test]
#[allow(
    clippy::print_stderr,
    reason = "the base seed and the speed are for whoever reads the log"
)]
fn fresh_seeds_keep_every_promise() {
    let plan = Plan::asked();
    eprintln!("base seed {}", plan.base);
    let (start, mut seeds, mut steps) = (Instant::now(), 0, 0);
    let is_over = |seeds| seeds >= plan.count || start.elapsed() >= plan.time;
    let mut broken = Vec::new();

    while !is_over(seeds) && broken.len() < BROKEN_SHOWN {
        let seed = plan.base.wrapping_add(seeds);
        match check(seed) {
            Ok(taken) => steps += taken,
            Err(why) => broken.push((seed, why)),
        }
        seeds += 1;
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "a speed is read with two digits"
    )]
    let speed = steps as f64 / start.elapsed().as_secs_f64();
    eprintln!("{seeds} seeds, {steps} steps, {speed:.0} steps/s with every check");
    report(&broken);
    assert!(steps > seeds, "worlds must do something");
}

/// The kernel at the start of a life, and the step of its recovery.
fn begin(life: &Life) -> (Supervisor, Option<String>) {
    let bounds = life.bounds.clone();
    match &life.start {
        None => (Supervisor::new(bounds, life.dice), None),
        Some(start) => {
            let records = start.records.clone();
            let (kernel, step) =
                Supervisor::recover(bounds, life.dice, start.now, start.seq, records);
            (kernel, Some(format!("{step:?}")))
        }
    }
}

#[test]
#[allow(
    clippy::print_stderr,
    reason = "the speed is for whoever reads the log"
)]
fn p23_kernel_replays_identically() {
    let options = Options {
        record: true,
        ..Options::default()
    };
    let (mut replayed, mut busy) = (0_u32, Duration::ZERO);
    for seed in 0..60 {
        let ran = run(seed, options);
        assert_eq!(ran.result, Ok(()), "seed {seed}");
        for life in ran.lives {
            let (mut kernel, recovered) = begin(&life);
            assert_eq!(recovered, life.start.map(|start| start.step), "seed {seed}");
            let mut steps = Vec::with_capacity(life.steps.len());
            let inputs: Vec<_> = life.steps.iter().map(|step| step.1.clone()).collect();
            let start = Instant::now();
            for (input, (now, ..)) in inputs.into_iter().zip(&life.steps) {
                steps.push(kernel.step(*now, input));
            }
            busy += start.elapsed();
            for (step, (_, _, told)) in steps.iter().zip(&life.steps) {
                assert_eq!(format!("{step:?}"), *told, "seed {seed}");
                replayed += 1;
            }
        }
    }
    let speed = f64::from(replayed) / busy.as_secs_f64();
    eprintln!("{replayed} steps replayed, {speed:.0} steps/s of the kernel alone");
    assert!(replayed > 1_000, "only {replayed} steps were replayed");
}

/// A batch of many inputs leads to what the same inputs lead to one by one, also in the room of one
/// before it.
#[test]
fn batches_equal_single_steps() {
    let record = true;
    for seed in 0..60 {
        let ran = run(
            seed,
            Options {
                record,
                ..Options::default()
            },
        );
        let life = ran.lives.into_iter().next().expect("there is a first life");
        let mut single = Supervisor::new(life.bounds.clone(), life.dice);
        let mut batched = Supervisor::new(life.bounds, life.dice);
        let mut room = Step::default();
        for chunk in life.steps.chunks(7) {
            let mut one_by_one = Vec::new();
            for (now, input, _) in chunk {
                one_by_one.push(single.step(*now, input.clone()));
                batched.feed(*now, input.clone());
            }
            let mut batch = batched.take_for(room);
            let events: Vec<_> = one_by_one.iter().flat_map(|step| &step.events).collect();
            assert!(events.into_iter().eq(&batch.events), "seed {seed}");
            let effects = one_by_one.iter().flat_map(|step| &step.effects);
            let told: Vec<_> = effects.map(|effect| format!("{effect:?}")).collect();
            let batch_told = batch.effects.iter().map(|effect| format!("{effect:?}"));
            assert!(batch_told.eq(told), "seed {seed}");
            let newest = one_by_one.iter().flat_map(|step| &step.records);
            let newest: std::collections::BTreeMap<_, _> =
                newest.map(|record| (record.id, record)).collect();
            let in_batch: std::collections::BTreeMap<_, _> = batch
                .records
                .iter()
                .map(|record| (record.id, record))
                .collect();
            assert_eq!(newest, in_batch, "seed {seed}");
            // As the shell does: what was carried out gives its room to the next batch.
            batch.records.clear();
            batch.removed.clear();
            batch.events.clear();
            batch.effects.clear();
            batch.closed = None;
            room = batch;
        }
    }
}

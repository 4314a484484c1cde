//! S9 and S12: spawning and stopping in numbers.
//!
//! Not here: what one actor does (`endings`, `stopping`).

use std::time::Duration;

use ractor::{Actor, ActorStatus, SpawnErr};
use tokio::sync::oneshot;

use crate::puppet::{Heard, Puppet, supervisor};

const RACES: usize = 500;
const SPAWNS_PER_RACE: usize = 4;
const MANY: usize = 20_000;

/// What became of the spawns of one race.
#[derive(Default)]
struct Tallied {
    spawned: usize,
    refused: usize,
    survivors: usize,
}

/// Consequence: ractor closes the race at the level of actors; above it our tree closes its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s9_no_child_survives_a_race_of_spawn_against_kill() {
    let mut total = Tallied::default();

    for race in 0..RACES {
        let race = race_spawn_against_kill(race % SPAWNS_PER_RACE).await;
        total.spawned += race.spawned;
        total.refused += race.refused;
        total.survivors += race.survivors;
    }

    // The first child of a race is there before the kill, the last is asked for after it.
    assert!(total.spawned >= RACES && total.refused >= RACES);
    assert_eq!(total.spawned + total.refused, RACES * (SPAWNS_PER_RACE + 2));
    assert_eq!(total.survivors, 0);
}

/// Kills a supervisor while it is given children, from the one at `start_of_race` on.
async fn race_spawn_against_kill(start_of_race: usize) -> Tallied {
    let mut tallied = Tallied::default();
    let (boss, boss_join, _ear) = supervisor().await;
    let mut children = vec![Puppet::default().spawn_below(&boss).await];

    let parent = boss.get_cell();
    let (go, gone) = oneshot::channel();
    let spawner = tokio::spawn(async move {
        let (mut go, mut results) = (Some(go), Vec::new());
        for place in 0..SPAWNS_PER_RACE {
            if place == start_of_race {
                let _ = go.take().map(|go| go.send(()));
            }
            let actor = Puppet::default();
            results.push(Actor::spawn_linked(None, actor, Box::new(()), parent.clone()).await);
        }
        results
    });
    gone.await.expect("the spawner tells when the race begins");
    boss.kill();
    boss_join.await.expect("the supervisor ends in order");
    let mut results = spawner.await.expect("the spawner does not panic");
    let late = Actor::spawn_linked(None, Puppet::default(), Box::new(()), boss.get_cell()).await;
    results.push(late);

    for result in results {
        match result {
            Ok(child) => children.push(child),
            Err(SpawnErr::StartupFailed(_)) => tallied.refused += 1,
            Err(other) => panic!("a child is refused for its supervisor's sake only: {other}"),
        }
    }
    tallied.spawned = children.len();
    for (child, join) in children {
        // A survivor would wait here for ever; the limit is only for that.
        let ended = tokio::time::timeout(Duration::from_mins(1), join).await;
        if ended.is_err() || child.get_status() != ActorStatus::Stopped {
            tallied.survivors += 1;
        }
    }
    tallied
}

/// Consequence: a hundred thousand live tasks is a limit that one manager can hold.
#[tokio::test]
async fn s12_twenty_thousand_linked_actors_start_and_end() {
    let (manager, _, mut ear) = supervisor().await;
    let mut children = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        children.push(Puppet::default().spawn_below(&manager).await);
    }

    for (child, _) in &children {
        child.stop(None);
    }

    for (_, join) in children {
        join.await.expect("each child ends in order");
    }
    let (mut started, mut ended) = (0, 0);
    while ended < MANY {
        match ear.recv().await.expect("the manager lives") {
            Heard::Started(_) => started += 1,
            Heard::Ended(_, why) => {
                assert_eq!(why, None);
                ended += 1;
            }
            Heard::Failed(_, why) => panic!("no child fails: {why}"),
        }
    }
    assert_eq!(started, MANY);
    assert!(manager.get_children().is_empty());
}

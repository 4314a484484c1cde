//! S9 and S12: spawning and stopping in numbers.
//!
//! Not here: what one actor does (`endings`, `stopping`).

use std::time::Duration;

use ractor::{Actor, ActorRef, ActorStatus, SpawnErr};
use tokio::sync::oneshot;

use crate::puppet::{Heard, Note, Puppet, Spawned, supervisor};

const RACES: usize = 500;
const MANY: usize = 20_000;

/// Consequence: ractor closes the race at the level of actors; above it our tree closes its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s9_no_child_survives_a_race_of_spawn_against_kill() {
    let (mut spawned, mut survivors) = (0, 0);

    for _ in 0..RACES {
        let (boss, boss_join, _ear) = supervisor().await;
        let (begins, race) = oneshot::channel();
        let giver = tokio::spawn(spawn_until_refused(boss.clone(), begins));
        race.await.expect("the race begins");
        boss.kill();
        boss_join.await.expect("the supervisor ends in order");
        let children = giver.await.expect("the giver is refused in the end");
        spawned += children.len();
        survivors += count_survivors(children).await;
    }

    assert!(
        spawned >= RACES,
        "the first child of a race starts before the kill"
    );
    assert_eq!(survivors, 0);
}

/// Gives `boss` children and returns them once one is refused; tells `begins` after the first.
async fn spawn_until_refused(boss: ActorRef<Note>, begins: oneshot::Sender<()>) -> Vec<Spawned> {
    let mut children = vec![Puppet::default().spawn_below(&boss).await];
    begins.send(()).expect("the race is waited for");
    loop {
        tokio::task::yield_now().await;
        let actor = Puppet::default();
        match Actor::spawn_linked(None, actor, Box::new(()), boss.get_cell()).await {
            Ok(child) => children.push(child),
            Err(SpawnErr::StartupFailed(_)) => return children,
            Err(other) => panic!("a child is refused for its supervisor's sake only: {other}"),
        }
    }
}

async fn count_survivors(children: Vec<Spawned>) -> usize {
    let mut survivors = 0;
    for (child, join) in children {
        // A survivor would be waited for without end; the limit is only for that.
        let ended = tokio::time::timeout(Duration::from_mins(1), join).await;
        if ended.is_err() || child.get_status() != ActorStatus::Stopped {
            survivors += 1;
        }
    }
    survivors
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

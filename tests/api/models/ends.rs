//! The loop over turns: what it holds while it waits, and ends whose records are gone.

use tokio::time::sleep;
use understory::models::{Pause, UntilIdle};
use understory::{Class, OnParentEnd};

use super::idle::{run, until_idle};
use super::*;

const ID: TaskId = TaskId::from_u128(7);

#[tokio::test(start_paused = true)]
async fn body_that_waits_between_turns_lends_its_slot_and_is_not_idle() {
    let manager = Manager::builder().global_limit(Class::queue(1));
    let manager = manager.build().unwrap();
    let lead = manager.scope("s").task("lead");
    let lead = lead.idle_timeout(Duration::from_secs(30));
    let lead = lead.spawn(|ctx| async move {
        let wishes = UntilIdle::new(ctx.scope()).below(ctx.id());
        let manager = ctx.manager();
        let pause = wishes.run(&manager, |turn| {
            let child = turn.continuation.is_none().then(|| ctx.task("child"));
            async move {
                let Some(child) = child else { return Ok(()) };
                let child = child.spawn(|_| async {
                    sleep(Duration::from_mins(1)).await;
                    Ok(())
                });
                child.await.map(drop)
            }
        });
        Ok(pause.await?? == Pause::Idle)
    });

    assert!(soon(lead.await.unwrap()).await.unwrap());
}

#[tokio::test]
async fn end_of_each_life_is_told_though_the_next_one_runs() {
    let manager = Manager::in_memory();
    let task = || manager.scope("s").task("t").id(ID).reuse_id();
    let (pause, told) = run(&manager, until_idle().turns_max(2), || async {
        for life in ["one", "two"] {
            let ended = task().spawn(async move |_| Ok(life)).await?;
            ended.settled().await.expect("it settles");
        }
        task().spawn(until_cancelled).await.map(drop)
    })
    .await;

    assert_eq!((pause, told.len()), (Pause::TurnsSpent, 1));
    for life in ["one", "two"] {
        assert_eq!(
            told[0].matches(&format!(": {life}\n")).count(),
            1,
            "{told:?}"
        );
    }
    assert!(told[0].starts_with("<background-tasks>"));
}

#[tokio::test(start_paused = true)]
async fn end_is_told_though_its_record_went_during_the_turn() {
    let kept_for = Duration::from_secs(1);
    let manager = Manager::builder().retain(State::Completed, kept_for);
    let manager = manager.build().unwrap();
    let scope = manager.scope("s");
    let (pause, told) = run(&manager, until_idle(), || async {
        let lead = scope.task("lead").spawn(|ctx| async move {
            let child = ctx.task("child").on_parent_end(OnParentEnd::Wait);
            child.spawn(|_| async { Ok("done") }).await?;
            Ok(())
        });
        lead.await?.settled().await.expect("it settles");
        sleep(Duration::from_secs(10)).await;
        assert_eq!(live(&manager).len(), 0);
        Ok(())
    })
    .await;

    assert_eq!((pause, told.len()), (Pause::Idle, 1));
    assert!(told[0].contains("- lead (task") && told[0].contains("- child (task"));
    assert!(told[0].contains(": done"));
}

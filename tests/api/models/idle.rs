//! The loop over turns.

use std::future::Future;

use understory::models::{Pause, Turn, UntilIdle};
use understory::{OnParentEnd, Scope, SpawnError};

use super::*;
use crate::stage::settle_down;

pub(super) fn until_idle() -> UntilIdle {
    UntilIdle::new(Scope::new("s").unwrap())
}

/// Runs a loop whose first turn is `first`; gives why it ended, and what each further turn was told.
pub(super) async fn run<F, Fut>(
    manager: &Manager,
    wishes: UntilIdle,
    first: F,
) -> (Pause, Vec<String>)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), SpawnError>>,
{
    let told = Told::default();
    let pause = wishes.run(manager, |turn: Turn| {
        let (told, first) = (Arc::clone(&told), Box::pin(first()));
        async move {
            match turn.continuation {
                None => first.await,
                Some(text) => {
                    told.lock().unwrap().push(text);
                    Ok(())
                }
            }
        }
    });
    let pause = soon(pause).await.unwrap().unwrap();
    let told = told.lock().unwrap().clone();
    (pause, told)
}

#[tokio::test]
async fn loop_without_tasks_ends_after_its_turn() {
    let manager = Manager::in_memory();
    let (pause, told) = run(&manager, until_idle(), || async { Ok(()) }).await;
    assert_eq!((pause, told.len()), (Pause::Idle, 0));
}

#[tokio::test]
async fn ends_that_come_together_are_told_together_and_once() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let (pause, told) = run(&manager, until_idle(), || async {
        for name in ["a", "b", "c"] {
            let task = scope.task(name).spawn(|_| async { Ok(1) }).await?;
            task.settled().await.expect("it settles");
        }
        Ok(())
    })
    .await;
    assert_eq!((pause, told.len()), (Pause::Idle, 1));
    for name in ["a", "b", "c"] {
        assert_eq!(told[0].matches(&format!("- {name} (task")).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn each_later_end_leads_to_a_turn() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let (pause, told) = run(&manager, until_idle(), || async {
        for (name, secs) in [("a", 1), ("b", 2)] {
            let task = scope.task(name).spawn(move |_| async move {
                tokio::time::sleep(Duration::from_secs(secs)).await;
                Ok(())
            });
            task.await?;
        }
        Ok(())
    })
    .await;
    assert_eq!((pause, told.len()), (Pause::Idle, 2));
    assert!(told[0].contains("- a (task") && told[1].contains("- b (task"));
}

#[tokio::test(start_paused = true)]
async fn idle_time_counts_between_turns_only() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let wishes = until_idle().idle_max(Duration::from_secs(10));
    let (pause, told) = run(&manager, wishes, || async {
        let task = scope.task("quick").spawn(|_| async { Ok(()) }).await?;
        task.settled().await.expect("it settles");
        scope.task("slow").spawn(until_cancelled).await?;
        // Far longer than the idle time, but within a turn.
        tokio::time::sleep(Duration::from_mins(1)).await;
        Ok(())
    })
    .await;
    assert_eq!((pause, told.len()), (Pause::TimedOut, 1));
    assert_eq!(manager.live(), 1, "the task goes on");
}

#[tokio::test(start_paused = true)]
async fn task_that_ran_out_of_time_leads_to_no_turn_unless_asked_for() {
    for asked in [false, true] {
        let manager = Manager::in_memory();
        let scope = manager.scope("s");
        let wishes = if asked {
            until_idle().after_timeouts()
        } else {
            until_idle()
        };
        let (pause, told) = run(&manager, wishes, || async {
            let task = scope.task("late").timeout(Duration::from_secs(1));
            task.spawn(until_cancelled).await?;
            Ok(())
        })
        .await;
        assert_eq!((pause, told.len()), (Pause::Idle, usize::from(asked)));
    }
}

#[tokio::test]
async fn turns_have_a_bound() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let turns = Mutex::new(0);
    let pause = until_idle().turns_max(3).run(&manager, |turn| {
        *turns.lock().unwrap() += 1;
        assert_eq!(turn.number, *turns.lock().unwrap());
        let task = Box::pin(scope.unnamed().spawn(|_| async { Ok(()) }));
        async move { task.await.map(drop) }
    });
    assert_eq!(soon(pause).await.unwrap().unwrap(), Pause::TurnsSpent);
    assert_eq!(*turns.lock().unwrap(), 3);
}

#[tokio::test]
async fn suspended_task_is_told_with_its_question() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let wishes = until_idle().turns_max(2);
    let (pause, told) = run(&manager, wishes, || async {
        let task = scope.task("asks").resumable();
        task.spawn(|ctx| async move { Err::<(), _>(ctx.suspend("which one?")) })
            .await?;
        Ok(())
    })
    .await;
    assert_eq!(pause, Pause::TurnsSpent);
    assert!(told[0].contains("waiting for an answer:\n- asks") && told[0].contains("which one?"));
}

#[tokio::test]
async fn newer_loop_of_a_scope_closes_the_older_one() {
    let manager = Manager::in_memory();
    manager
        .scope("s")
        .task("t")
        .spawn(until_cancelled)
        .await
        .unwrap();
    let begin = |scope: &str| {
        let (manager, scope) = (manager.clone(), Scope::new(scope).unwrap());
        tokio::spawn(async move {
            let turn = |_| async { Ok::<(), ()>(()) };
            UntilIdle::new(scope)
                .run(&manager, turn)
                .await
                .unwrap()
                .unwrap()
        })
    };
    let first = begin("s");
    settle_down().await;
    assert_eq!(soon(begin("other")).await.unwrap(), Pause::Idle);
    assert!(
        !first.is_finished(),
        "a loop of another scope is none of its business"
    );

    let second = begin("s");
    assert_eq!(soon(first).await.unwrap(), Pause::Replaced);
    settle_down().await;
    assert!(!second.is_finished());
    soon(manager.cancel_all(Cancel::because("enough")))
        .await
        .unwrap();
    assert_eq!(soon(second).await.unwrap(), Pause::Idle);
}

#[tokio::test]
async fn loop_inside_a_body_does_not_wait_for_itself() {
    let manager = Manager::in_memory();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let wishes = UntilIdle::new(ctx.scope().clone());
        let (manager, turns) = (ctx.manager(), Mutex::new(0));
        let pause = wishes.run(&manager, |turn| {
            *turns.lock().unwrap() = turn.number;
            let task = turn.continuation.is_none().then(|| ctx.task("child"));
            async move {
                match task {
                    Some(task) => task.spawn(|_| async { Ok(()) }).await.map(drop),
                    None => Ok(()),
                }
            }
        });
        let pause = pause.await??;
        Ok((pause == Pause::Idle, turns.into_inner().unwrap()))
    });
    assert_eq!(soon(lead.await.unwrap()).await.unwrap(), (true, 2));
}

#[tokio::test]
async fn error_of_a_turn_and_the_end_of_the_manager_end_the_loop() {
    let manager = Manager::in_memory();
    let fails = |_| async { Err::<(), _>("no model") };
    let ended = soon(until_idle().run(&manager, fails)).await.unwrap();
    assert_eq!(ended, Err("no model"));

    manager
        .scope("s")
        .task("t")
        .spawn(crate::stage::for_ever)
        .await
        .unwrap();
    let running = tokio::spawn({
        let manager = manager.clone();
        async move {
            run(&manager, until_idle().turns_max(1_000), || async { Ok(()) })
                .await
                .0
        }
    });
    settle_down().await;
    soon(manager.shutdown(Duration::ZERO)).await.unwrap();
    let pause = soon(running).await.unwrap();
    assert!(matches!(pause, Pause::Stopped | Pause::Idle), "{pause:?}");
}

/// A loop of one turn and then rest; says why it came to rest.
async fn rests(manager: &Manager, wishes: UntilIdle) -> Pause {
    let turn = |_| async { Ok::<(), SpawnError>(()) };
    wishes.run(manager, turn).await.unwrap().unwrap()
}

#[tokio::test]
async fn loop_below_a_task_hears_of_nothing_else() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let lead = scope.task("lead").spawn(until_cancelled).await.unwrap();
    scope.task("beside").spawn(until_cancelled).await.unwrap();
    let wishes = until_idle().below(lead.id());
    assert_eq!(soon(rests(&manager, wishes.clone())).await, Pause::Idle);

    let middle = scope.task("middle").parent(lead.id());
    let middle = middle.spawn(until_cancelled).await.unwrap();
    let (pause, told) = run(&manager, wishes, || async {
        let deep = scope.task("deep").parent(middle.id());
        deep.spawn(|_| async { Ok(()) })
            .await?
            .settled()
            .await
            .expect("it settles");
        let beside = scope.task("quick").spawn(|_| async { Ok(()) }).await?;
        beside.settled().await.expect("it settles");
        middle.send("no reader").await.expect("it has room");
        manager
            .task(middle.id())
            .cancel(Cancel::because("enough"))
            .await
            .expect("it ends");
        Ok(())
    })
    .await;
    assert_eq!((pause, told.len()), (Pause::Idle, 1));
    assert!(told[0].contains("- deep (task") && told[0].contains("- middle (task"));
    assert!(!told[0].contains("quick"));
    assert_eq!(manager.live(), 2, "the task and the one beside it go on");
}

#[tokio::test]
async fn loops_below_different_tasks_do_not_replace_each_other() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let mut loops = Vec::new();
    for name in ["one", "two"] {
        let lead = scope.task(name).spawn(until_cancelled).await.unwrap();
        let child = scope.unnamed().parent(lead.id());
        child.spawn(until_cancelled).await.unwrap();
        let (manager, wishes) = (manager.clone(), until_idle().below(lead.id()));
        let again = wishes.clone();
        loops.push(tokio::spawn({
            let manager = manager.clone();
            async move { rests(&manager, wishes).await }
        }));
        settle_down().await;
        if name == "two" {
            loops.push(tokio::spawn(async move { rests(&manager, again).await }));
            settle_down().await;
        }
    }
    assert!(!loops[0].is_finished() && loops[1].is_finished() && !loops[2].is_finished());
    soon(manager.cancel_all(Cancel::because("enough")))
        .await
        .unwrap();
    let mut pauses = Vec::new();
    for each in loops {
        pauses.push(soon(each).await.unwrap());
    }
    assert_eq!(pauses, [Pause::Idle, Pause::Replaced, Pause::Idle]);
}

#[tokio::test]
async fn task_that_leaves_is_waited_for_no_longer() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let moves = scope.task("moves").spawn(until_cancelled).await.unwrap();
    let whole = {
        let manager = manager.clone();
        tokio::spawn(async move { rests(&manager, until_idle()).await })
    };
    settle_down().await;
    assert!(!whole.is_finished());
    moves.transfer("elsewhere").await.unwrap();
    assert_eq!(soon(whole).await.unwrap(), Pause::Idle);

    let lead = scope
        .task("lead")
        .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) });
    let lead = lead.await.unwrap();
    let child = scope.task("child").parent(lead.id());
    let child = child
        .on_parent_end(OnParentEnd::Detach)
        .spawn(until_cancelled)
        .await
        .unwrap();
    let wishes = until_idle().below(lead.id());
    let tree = {
        let manager = manager.clone();
        tokio::spawn(async move { rests(&manager, wishes).await })
    };
    settle_down().await;
    assert!(!tree.is_finished());
    lead.send("end").await.unwrap();
    assert_eq!(soon(tree).await.unwrap(), Pause::Idle);
    assert_eq!(child.state(), Some(understory::State::Running));
}

//! Hooks of tasks: who is called before a task settles, in which order, and what cannot go wrong.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[cfg(feature = "testing")]
use understory::State;
use understory::{
    Cancel, Context, Failure, Manager, Outcome, Refusal, Retry, Settling, SpawnError, TaskHooks,
    Wait, What,
};

#[cfg(feature = "testing")]
use crate::stage::reaches;
use crate::stage::{feed_of, for_ever, sees, settle_down, soon, story, until};

/// What hooks have written, in order.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn write(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// A hook that writes who it is and how the task is going to end.
    fn hook(&self, who: &'static str) -> TaskHooks {
        let notes = self.clone();
        TaskHooks::new().before_settle(move |settling: Settling| {
            let notes = notes.clone();
            async move {
                tokio::task::yield_now().await;
                notes.write(format!("{who}: {}", settling.outcome.state()));
                Ok(())
            }
        })
    }
}

fn hangs() -> TaskHooks {
    TaskHooks::new().before_settle(|_| pending())
}

#[tokio::test]
async fn hooks_of_all_levels_are_called_from_the_task_to_the_manager() {
    let notes = Notes::default();
    let manager = Manager::builder()
        .task_hooks(notes.hook("manager"))
        .task_hooks_in("s", notes.hook("scope"))
        .task_hooks_in("other", notes.hook("another scope"))
        .task_hooks_of("k", notes.hook("kind"))
        .task_hooks_of("other", notes.hook("another kind"))
        .task_hooks_of("k", notes.hook("kind, too"))
        .build()
        .unwrap();
    let task = manager.scope("s").task("t").kind("k");
    let own = notes.hook("task");
    let task = task.hooks(own).spawn(|_| async { Ok(()) }).await.unwrap();

    soon(task).await.unwrap();
    let order = ["task", "kind", "kind, too", "scope", "manager"];
    assert_eq!(notes.read(), order.map(|who| format!("{who}: completed")));
}

#[tokio::test]
async fn hook_goes_before_the_record_and_the_event_and_holds_the_name() {
    let (seen, held) = (Notes::default(), Notes::default());
    let hook = {
        let (seen, held) = (seen.clone(), held.clone());
        TaskHooks::new().before_settle(move |settling: Settling| {
            let (seen, held) = (seen.clone(), held.clone());
            async move {
                let record = settling.task.record().unwrap();
                assert_eq!(record.wait, Some(Wait::Hook));
                seen.write(record.state.to_string());
                held.write(settling.task.path());
                assert!(matches!(&*settling.outcome, Outcome::Completed(value) if value.as_json() == "7"));
                Ok(())
            }
        })
    };
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").hooks(hook);
    let task = task.spawn(|_| async { Ok(7) }).await.unwrap();
    let id = task.id();

    assert_eq!(soon(task).await.unwrap(), 7);
    assert_eq!(
        (seen.read(), held.read()),
        (vec!["waiting".to_owned()], vec!["t".to_owned()])
    );
    let told = story(&manager, id).await;
    assert_eq!(told, ["accepted", "started", "waiting", "settled"]);
}

/// A hook that counts how the tasks of a manager end.
fn counting() -> (Notes, Manager) {
    let notes = Notes::default();
    let manager = Manager::builder()
        .grace(Duration::ZERO)
        .abort_window(Duration::ZERO)
        .task_hooks(notes.hook("end"))
        .build()
        .unwrap();
    (notes, manager)
}

#[tokio::test(start_paused = true)]
async fn every_end_has_its_hooks_once() {
    let (notes, manager) = counting();
    let scope = manager.scope("s");
    let panics = |_: Context| async { std::panic::resume_unwind(Box::new("on purpose")) };
    let fails = |_: Context| async { Err::<(), _>(Failure::new("broken")) };
    let limit = Duration::from_secs(1);
    let ends = [
        scope.unnamed().spawn(|_| async { Ok(()) }).await.unwrap(),
        scope.unnamed().spawn(fails).await.unwrap(),
        scope.unnamed().spawn::<(), _, _>(panics).await.unwrap(),
        scope
            .unnamed()
            .timeout(limit)
            .spawn(for_ever)
            .await
            .unwrap(),
    ];
    for task in ends {
        soon(task.settled()).await.unwrap();
    }
    let running = scope.unnamed().spawn(for_ever).await.unwrap();
    let first = scope
        .task("first")
        .cooperative()
        .spawn(for_ever)
        .await
        .unwrap();
    let pending = scope
        .unnamed()
        .after([first.id()])
        .spawn(for_ever)
        .await
        .unwrap();
    for task in [&running, &pending, &first] {
        soon(task.cancel(Cancel::because("enough"))).await.unwrap();
    }
    let elsewhere = scope.unnamed().external().await.unwrap();
    elsewhere.unregister().await.unwrap();
    soon(elsewhere.settled()).await.unwrap();

    let states = [
        "completed",
        "failed",
        "failed",
        "timed_out",
        "cancelled",
        "cancelled",
        "cancelled",
        "interrupted",
    ];
    assert_eq!(notes.read(), states.map(|state| format!("end: {state}")));
}

#[tokio::test(start_paused = true)]
async fn hooks_that_hang_panic_or_fail_are_told_and_stop_no_other() {
    let notes = Notes::default();
    let panics = TaskHooks::new()
        .before_settle(|_| async { std::panic::resume_unwind(Box::new("out of cheese")) });
    let at_once = TaskHooks::new().before_settle(|_| -> std::future::Ready<_> {
        std::panic::resume_unwind(Box::new("at once"))
    });
    let fails = TaskHooks::new().before_settle(|_| async { Err(Failure::new("no disk")) });
    let manager = Manager::builder()
        .task_hooks(panics)
        .task_hooks(at_once)
        .task_hooks(fails)
        .task_hooks(notes.hook("manager"))
        .build()
        .unwrap();
    let task = manager.scope("s").task("t").hooks(hangs());
    let task = task.spawn(|_| async { Ok(1) }).await.unwrap();
    let id = task.id();
    let began = tokio::time::Instant::now();

    assert_eq!(task.await.unwrap(), 1);
    assert_eq!(began.elapsed().as_secs(), 5, "the longest time of hooks");
    assert_eq!(notes.read(), ["manager: completed"]);
    let mut feed = feed_of(&manager, id).await;
    let mut told = Vec::new();
    for _ in 0..4 {
        let event = sees(&mut feed, |event| event.what.name() == "hook_failed").await;
        let What::HookFailed(why) = &event.what else {
            panic!("it is that event")
        };
        told.push(why.to_string());
    }
    assert_eq!(
        told,
        [
            "before_settle of the manager: out of cheese",
            "before_settle of the manager: at once",
            "before_settle of the manager: no disk",
            "before_settle of the task: it took too long",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn tree_whose_hooks_hang_is_cancelled_within_its_grace_and_a_second() {
    let manager = Manager::builder().task_hooks(hangs()).build().unwrap();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(for_ever).await?;
        Ok(child.await?)
    });
    let lead = lead.await.unwrap();
    until(|| manager.live() == 2).await;
    let began = tokio::time::Instant::now();

    let cancel = Cancel::because("enough").grace(Duration::from_secs(2));
    let report = lead.cancel_tree(cancel).await.unwrap();

    assert!(
        began.elapsed() <= Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(report.cancelled.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn cancel_of_a_task_whose_hook_runs_waits_for_it_and_changes_nothing() {
    let slow = TaskHooks::new().before_settle(|_| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    });
    let manager = Manager::builder().task_hooks(slow).build().unwrap();
    let task = manager
        .scope("s")
        .task("t")
        .spawn(|_| async { Ok(1) })
        .await
        .unwrap();
    until(|| {
        task.record()
            .is_some_and(|record| record.wait == Some(Wait::Hook))
    })
    .await;

    let report = task.cancel(Cancel::because("too late")).await.unwrap();
    assert_eq!(report.already_ended, [task.id()]);
    assert_eq!(task.await.unwrap(), 1);
}

#[tokio::test]
async fn hidden_task_has_no_hooks_but_its_own() {
    let notes = Notes::default();
    let manager = Manager::builder()
        .task_hooks(notes.hook("manager"))
        .build()
        .unwrap();
    let task = manager
        .scope("s")
        .unnamed()
        .hidden()
        .hooks(notes.hook("own"));
    let task = task.spawn(|_| async { Ok(()) }).await.unwrap();
    soon(task).await.unwrap();
    assert_eq!(notes.read(), ["own: completed"]);
}

#[tokio::test]
async fn hook_is_not_called_between_two_attempts() {
    let (notes, manager) = counting();
    let task = manager
        .scope("s")
        .unnamed()
        .retry(Retry::fixed(1, Duration::ZERO));
    let task = task.spawn(|ctx| async move {
        match ctx.attempt() {
            1 => Err(Failure::new("once more")),
            _ => Ok(()),
        }
    });
    soon(task.await.unwrap()).await.unwrap();
    assert_eq!(notes.read(), ["end: completed"]);
}

#[tokio::test]
async fn asking_with_the_same_key_and_a_hook_more_is_another_wish() {
    let manager = Manager::in_memory();
    let task = || manager.scope("s").task("t").key("k");
    let first = task().spawn(for_ever).await.unwrap();
    let second = task().hooks(hangs()).spawn(for_ever).await;
    assert!(matches!(
        second,
        Err(SpawnError::Refused(Refusal::KeyConflict(id, wish)))
            if id == first.id() && wish == "before_settle"
    ));
}

#[tokio::test]
async fn builder_refuses_hooks_of_names_that_are_not_valid() {
    let hooks = TaskHooks::new;
    assert!(
        Manager::builder()
            .task_hooks_in("", hooks())
            .build()
            .is_err()
    );
    assert!(
        Manager::builder()
            .task_hooks_of("", hooks())
            .build()
            .is_err()
    );
}

/// Whoever drops the last hold on a hook is not harmed by its destructor.
#[tokio::test]
async fn hook_whose_destructor_panics_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                std::panic::resume_unwind(Box::new("boom"));
            }
        }
    }
    let manager = Manager::in_memory();
    for _ in 0..3 {
        let bomb = Arc::new(Bomb);
        let hooks = TaskHooks::new().before_settle(move |_| {
            let bomb = Arc::clone(&bomb);
            async move {
                std::mem::forget(bomb);
                Ok(())
            }
        });
        let task = manager.scope("s").unnamed().hooks(hooks);
        soon(task.spawn(|_| async { Ok(()) }).await.unwrap())
            .await
            .unwrap();
    }
    settle_down().await;
    assert_eq!(manager.incarnation(), 1);
}

/// Lets an actor fail on its next turn, and gives it one.
#[cfg(feature = "testing")]
async fn breaks(manager: &Manager, part: understory::Part) {
    manager.break_part(part);
    let asked = soon(manager.scope("s").unnamed().hidden().spawn(for_ever)).await;
    assert!(matches!(asked, Err(SpawnError::Unknown(_))));
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn failure_of_an_actor_calls_the_hooks_of_a_settling_task_again() {
    let (notes, gate) = (Notes::default(), Arc::new(tokio::sync::Notify::new()));
    let hook = {
        let (notes, gate) = (notes.clone(), Arc::clone(&gate));
        TaskHooks::new().before_settle(move |settling: Settling| {
            let (notes, gate) = (notes.clone(), Arc::clone(&gate));
            async move {
                notes.write(settling.outcome.state().to_string());
                gate.notified().await;
                Ok(())
            }
        })
    };
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").hooks(hook);
    let task = task.spawn(|_| async { Ok(1) }).await.unwrap();
    until(|| notes.read().len() == 1).await;

    breaks(&manager, understory::Part::Manager).await;
    until(|| notes.read().len() == 2).await;
    gate.notify_waiters();

    assert_eq!(soon(task.settled()).await.unwrap().state, State::Completed);
    assert_eq!(notes.read(), ["completed", "completed"]);
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn body_lost_with_its_actors_has_its_hooks_before_it_is_interrupted() {
    let (notes, manager) = counting();
    let task = manager.scope("s").task("t").hooks(notes.hook("own"));
    let task = task.spawn(for_ever).await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    breaks(&manager, understory::Part::Writer).await;

    assert_eq!(
        soon(task.settled()).await.unwrap().state,
        State::Interrupted
    );
    assert_eq!(notes.read(), ["own: interrupted", "end: interrupted"]);
}

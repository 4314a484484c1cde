//! S4–S8: what a turn, a stop and a kill can and cannot do.
//!
//! Not here: how an actor ends of itself (`endings`).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ractor::ActorStatus;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::puppet::{Heard, Puppet, Tally, note, round_trip, supervisor};

/// Rounds of the scheduler given to an actor that must not move; each lets every ready task run.
const ROUNDS: usize = 1_000;

async fn let_others_run() {
    for _ in 0..ROUNDS {
        tokio::task::yield_now().await;
    }
}

/// `spawn_linked` runs the child's `pre_start` on the turn of whoever calls it.
///
/// Consequence: nothing of the user's and nothing slow in `pre_start`; it builds state and returns.
#[tokio::test]
async fn s4_slow_pre_start_deafens_the_manager() {
    let (manager, _, _ear) = supervisor().await;
    let (entered, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let child = Puppet::default().on_pre_start({
        let (entered, gate) = (entered.clone(), gate.clone());
        move || {
            let (entered, gate) = (entered.clone(), gate.clone());
            async move {
                entered.notify_one();
                gate.notified().await;
            }
        }
    });
    let below = manager.clone();
    let spawning = note(async move {
        child.spawn_below(&below).await;
    });
    assert!(manager.cast(spawning).is_ok());
    entered.notified().await;
    let (answer, mut answered) = oneshot::channel();
    let question = note(async move {
        let _ = answer.send(());
    });
    assert!(manager.cast(question).is_ok());

    let_others_run().await;
    let deaf = answered.try_recv();
    gate.notify_one();

    assert_eq!(deaf, Err(oneshot::error::TryRecvError::Empty));
    answered
        .await
        .expect("the manager answers once the child has started");
}

/// Consequence: `Ok` from our `send` means "in our inbox", never "in ractor's mailbox".
#[tokio::test]
async fn s5_stop_overtakes_queued_messages() {
    let (actor, join) = Puppet::default().spawn().await;
    let handled = Tally::default();
    for _ in 0..5 {
        let handled = handled.clone();
        assert!(actor.cast(note(async move { handled.add_one() })).is_ok());
    }

    actor.stop(None);

    join.await.expect("the actor ends in order");
    assert_eq!(handled.get(), 0);
}

/// Consequence: where queued messages matter, stopping goes through a drain.
#[tokio::test]
async fn s5_drain_keeps_queued_messages_and_refuses_later_ones() {
    let (actor, join) = Puppet::default().spawn().await;
    let handled = Tally::default();
    let counted = || {
        let handled = handled.clone();
        note(async move { handled.add_one() })
    };
    for _ in 0..5 {
        assert!(actor.cast(counted()).is_ok());
    }

    assert!(actor.drain().is_ok());
    let late = actor.cast(counted());

    join.await.expect("the actor ends in order");
    assert!(late.is_err());
    assert_eq!(handled.get(), 5);
}

/// Consequence: code that does not yield cannot be killed; "abandoned and fenced" is a real end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s6_kill_does_not_interrupt_a_busy_loop() {
    let (boss, _, mut ear) = supervisor().await;
    let (child, _) = Puppet::default().spawn_below(&boss).await;
    assert_eq!(ear.recv().await, Some(Heard::Started(child.get_id())));
    let rounds_after_kill = Arc::new(AtomicUsize::new(0));
    let (killed, released) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (entered, has_entered) = oneshot::channel();
    let (outlives, has_outlived) = oneshot::channel();
    let spin = note({
        let rounds = rounds_after_kill.clone();
        let (killed, released) = (killed.clone(), released.clone());
        async move {
            let _ = entered.send(());
            while !killed.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            while rounds.fetch_add(1, Ordering::SeqCst) < ROUNDS {
                std::thread::yield_now();
            }
            let _ = outlives.send(());
            while !released.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        }
    });
    assert!(child.cast(spin).is_ok());
    has_entered.await.expect("the loop has begun");

    child.kill();
    killed.store(true, Ordering::SeqCst);

    has_outlived.await.expect("the loop goes on after the kill");
    assert_eq!(child.get_status(), ActorStatus::Running);
    released.store(true, Ordering::SeqCst);
    assert_eq!(
        ear.recv().await,
        Some(Heard::Ended(child.get_id(), Some("killed".into())))
    );
    assert!(rounds_after_kill.load(Ordering::SeqCst) > ROUNDS);
}

/// Consequence: a body that runs in `post_start` watches a cancel signal of ours.
#[tokio::test]
async fn s6_stop_is_not_seen_while_post_start_runs() {
    let gate = Arc::new(Notify::new());
    let body = gate.clone();
    let actor = Puppet::default().on_post_start(move || {
        let gate = body.clone();
        async move { gate.notified().await }
    });
    let (child, join) = actor.spawn().await;

    child.stop(None);
    let_others_run().await;
    let unmoved = child.get_status();
    gate.notify_one();

    assert_eq!(unmoved, ActorStatus::Starting);
    join.await
        .expect("the stop is seen once post_start has returned");
}

/// Consequence: kill drops a body at its next `.await`, so it is our last resort after the grace.
#[tokio::test]
async fn s6_kill_drops_a_waiting_post_start() {
    struct Dropped(mpsc::UnboundedSender<&'static str>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    let (boss, _, mut ear) = supervisor().await;
    let (tells, mut told) = mpsc::unbounded_channel();
    let actor = Puppet::default().on_post_start(move || {
        let tells = tells.clone();
        async move {
            let _ = tells.send("waiting");
            let _guard = Dropped(tells);
            std::future::pending::<()>().await;
        }
    });
    let (child, join) = actor.spawn_below(&boss).await;
    assert_eq!(told.recv().await, Some("waiting"));

    child.kill();

    assert_eq!(told.recv().await, Some("dropped"));
    join.await.expect("the actor ends in order");
    assert_eq!(
        ear.recv().await,
        Some(Heard::Ended(child.get_id(), Some("killed".into())))
    );
}

/// Consequence: the graceful order is ours; the manager stops last, when its tree is empty.
#[tokio::test]
async fn s7_stopped_manager_kills_its_children_without_post_stop() {
    let (manager, manager_join, mut ear) = supervisor().await;
    let farewells = Tally::default();
    let mut children = Vec::new();
    for _ in 0..3 {
        let farewells = farewells.clone();
        let actor = Puppet::default().on_post_stop(move || {
            let farewells = farewells.clone();
            async move { farewells.add_one() }
        });
        let (child, join) = actor.spawn_below(&manager).await;
        assert_eq!(ear.recv().await, Some(Heard::Started(child.get_id())));
        children.push((child, join));
    }

    manager.stop(None);

    manager_join.await.expect("the manager ends in order");
    for (child, join) in children {
        join.await.expect("each child ends in order");
        assert_eq!(child.get_status(), ActorStatus::Stopped);
    }
    assert_eq!(farewells.get(), 0);
    assert_eq!(ear.recv().await, None, "nobody is told of these ends");
}

/// A child set is a `HashMap`, so a cascade through ractor ends children in another order each
/// time. Sixty-four of them keep the order of their start about once in 10^89 runs.
///
/// Consequence: we cancel in our own order.
#[tokio::test]
async fn s7_children_of_a_stopped_manager_end_in_no_order() {
    struct Ends(usize, Arc<Mutex<Vec<usize>>>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.1
                .lock()
                .expect("nobody panics while it is held")
                .push(self.0);
        }
    }
    let (manager, manager_join, _ear) = supervisor().await;
    let ends = Arc::new(Mutex::new(Vec::new()));
    let mut joins = Vec::new();
    for place in 0..64 {
        let baggage = Box::new(Ends(place, ends.clone()));
        let (child, join) = Puppet::default()
            .spawn_with(baggage, manager.get_cell())
            .await;
        round_trip(&child).await;
        joins.push(join);
    }

    manager.stop(None);

    manager_join.await.expect("the manager ends in order");
    for join in joins {
        join.await.expect("each child ends in order");
    }
    let mut order = ends.lock().expect("nobody panics while it is held").clone();
    assert!(
        !order.is_sorted(),
        "the order of the ends is the order of the starts"
    );
    order.sort_unstable();
    assert!(order.into_iter().eq(0..64), "each child ends once");
}

/// Consequence: waiting is on a signal of ours, never on ractor's.
#[tokio::test]
async fn s8_second_stop_and_wait_returns_without_waiting() {
    let gate = Arc::new(Notify::new());
    let leaving = gate.clone();
    let actor = Puppet::default().on_post_stop(move || {
        let gate = leaving.clone();
        async move { gate.notified().await }
    });
    let (child, join) = actor.spawn().await;

    child.stop(None);
    let second = child.stop_and_wait(None, None).await;
    let status = child.get_status();
    gate.notify_one();

    assert!(second.is_err());
    assert_ne!(status, ActorStatus::Stopped);
    join.await.expect("the actor ends in order");
}

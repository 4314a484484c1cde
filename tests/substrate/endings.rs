//! S1–S3, S14 and S16: how an actor ends, and what its supervisor hears of it.
//!
//! Not here: stops and kills that overtake work (`stopping`).

use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus, SpawnErr};

use crate::puppet::{DropBomb, Heard, Puppet, note, round_trip, supervisor};

/// Consequence: a panic inside a message of ours costs that actor and nobody else.
#[tokio::test]
async fn s1_panic_in_handle_is_told_to_the_supervisor() {
    let (boss, _, mut ear) = supervisor().await;
    let (child, _) = Puppet::default().spawn_below(&boss).await;

    let sent = child.cast(note(async { panic!("in handle") }));

    assert!(sent.is_ok());
    assert_eq!(ear.recv().await, Some(Heard::Started(child.get_id())));
    assert_eq!(
        ear.recv().await,
        Some(Heard::Failed(child.get_id(), "in handle".into()))
    );
    round_trip(&boss).await;
}

/// Consequence: a body that runs in `post_start` may panic; no `ActorStarted` comes before that.
#[tokio::test]
async fn s1_panic_in_post_start_is_told_to_the_supervisor() {
    let (boss, _, mut ear) = supervisor().await;
    let actor = Puppet::default().on_post_start(|| async { panic!("in post_start") });

    let (child, _) = actor.spawn_below(&boss).await;

    assert_eq!(
        ear.recv().await,
        Some(Heard::Failed(child.get_id(), "in post_start".into()))
    );
    round_trip(&boss).await;
}

/// Consequence: what an actor does while it stops may fail like anything else.
#[tokio::test]
async fn s1_panic_in_post_stop_is_told_to_the_supervisor() {
    let (boss, _, mut ear) = supervisor().await;
    let actor = Puppet::default().on_post_stop(|| async { panic!("in post_stop") });
    let (child, _) = actor.spawn_below(&boss).await;

    child.stop(None);

    assert_eq!(ear.recv().await, Some(Heard::Started(child.get_id())));
    assert_eq!(
        ear.recv().await,
        Some(Heard::Failed(child.get_id(), "in post_stop".into()))
    );
    round_trip(&boss).await;
}

/// Consequence: a start that fails is the caller's to handle; supervision never hears of it.
#[tokio::test]
async fn s1_panic_in_pre_start_is_told_to_the_caller_only() {
    let (boss, boss_join, mut ear) = supervisor().await;
    let actor = Puppet::default().on_pre_start(|| async { panic!("in pre_start") });

    let refused = Actor::spawn_linked(None, actor, Box::new(()), boss.get_cell()).await;

    let Err(SpawnErr::StartupFailed(why)) = refused else {
        panic!("the start must fail")
    };
    assert_eq!(why.to_string(), "in pre_start");
    round_trip(&boss).await;
    boss.stop(None);
    boss_join.await.expect("the supervisor ends in order");
    assert_eq!(ear.recv().await, None);
}

/// The state of a child that ended well travels to the supervisor in `ActorTerminated`, and is
/// dropped on the supervisor's turn.
///
/// Consequence: no value of a user in any `State`; bodies are dropped under our `catch_unwind`.
#[tokio::test]
async fn s2_state_whose_drop_panics_kills_the_supervisor() {
    let (above, _, mut ear) = supervisor().await;
    let (boss, boss_join) = Puppet::default().spawn_below(&above).await;
    let (child, _) = Puppet::default()
        .spawn_with(Box::new(DropBomb), boss.get_cell())
        .await;

    child.stop(None);

    boss_join
        .await
        .expect("the panic is caught by the supervisor's own loop");
    assert_eq!(ear.recv().await, Some(Heard::Started(boss.get_id())));
    let failed = Heard::Failed(boss.get_id(), "the destructor panicked".into());
    assert_eq!(ear.recv().await, Some(failed));
    assert_eq!(boss.get_status(), ActorStatus::Stopped);
}

/// Consequence: the payload of a panic is user code too; we drop it under a second `catch_unwind`.
#[tokio::test]
async fn s3_payload_whose_drop_panics_loses_the_cause() {
    let (boss, _, mut ear) = supervisor().await;
    let (child, join) = Puppet::default().spawn_below(&boss).await;

    let sent = child.cast(note(async { std::panic::panic_any(DropBomb) }));

    assert!(sent.is_ok());
    assert!(
        join.await.is_err_and(|error| error.is_panic()),
        "the tokio task itself panics"
    );
    assert_eq!(ear.recv().await, Some(Heard::Started(child.get_id())));
    let lost = Heard::Ended(child.get_id(), Some("actor_task_cancelled".into()));
    assert_eq!(ear.recv().await, Some(lost));
    round_trip(&boss).await;
}

/// Consequence: leftover messages of users never wait in ractor's mailbox; our inbox drops them
/// under `catch_unwind`.
#[tokio::test]
async fn s3_queued_message_whose_drop_panics_loses_the_cause() {
    let (boss, _, mut ear) = supervisor().await;
    let (child, join) = Puppet::default().spawn_below(&boss).await;
    let bomb = DropBomb;

    let sent = child.cast(note(async move { std::mem::forget(bomb) }));
    child.stop(None);

    assert!(sent.is_ok());
    assert!(
        join.await.is_err_and(|error| error.is_panic()),
        "the tokio task itself panics"
    );
    assert_eq!(ear.recv().await, Some(Heard::Started(child.get_id())));
    let lost = Heard::Ended(child.get_id(), Some("actor_task_cancelled".into()));
    assert_eq!(ear.recv().await, Some(lost));
    round_trip(&boss).await;
}

/// Consequence: a runtime that shuts down aborts its tasks, and the tree survives that.
#[tokio::test]
async fn s14_aborted_actor_is_told_and_cleaned_up() {
    let (boss, _, mut ear) = supervisor().await;
    let (child, join) = Puppet::default().spawn_below(&boss).await;
    assert_eq!(ear.recv().await, Some(Heard::Started(child.get_id())));

    join.abort();

    let ended = Heard::Ended(child.get_id(), Some("actor_task_cancelled".into()));
    assert_eq!(ear.recv().await, Some(ended));
    assert!(join.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(child.get_status(), ActorStatus::Stopped);
    assert!(boss.get_children().is_empty());
}

/// Leaves its supervisor and fails: in `post_start`, or when it gets a message.
struct Leaver {
    waits: bool,
}

impl Leaver {
    fn leave(myself: &ActorRef<()>) -> Result<(), ActorProcessingErr> {
        let boss = myself.try_get_supervisor().expect("it has one");
        myself.unlink(boss);
        Err("it has left".into())
    }
}

impl Actor for Leaver {
    type Msg = ();
    type State = DropBomb;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<DropBomb, ActorProcessingErr> {
        Ok(DropBomb)
    }

    async fn post_start(
        &self,
        myself: ActorRef<()>,
        _: &mut DropBomb,
    ) -> Result<(), ActorProcessingErr> {
        if self.waits {
            return Ok(());
        }
        Self::leave(&myself)
    }

    async fn handle(
        &self,
        myself: ActorRef<()>,
        (): (),
        _: &mut DropBomb,
    ) -> Result<(), ActorProcessingErr> {
        Self::leave(&myself)
    }
}

/// Consequence: an actor that has nothing more to do leaves and fails; that is its shortest way out.
/// It costs its supervisor no turn, not even that of dropping its state.
#[tokio::test]
async fn s16_failure_of_a_child_that_has_left_is_told_to_nobody() {
    for waits in [false, true] {
        let (boss, boss_join, mut ear) = supervisor().await;
        let spawned = Actor::spawn_linked(None, Leaver { waits }, (), boss.get_cell()).await;
        let (child, join) = spawned.expect("it starts");
        if waits {
            // One that comes before it has started waits for it, too.
            child.cast(()).expect("it takes messages");
        }

        // Its state panics as it is dropped, on its own turn.
        assert!(join.await.is_err_and(|error| error.is_panic()));

        assert_eq!(child.get_status(), ActorStatus::Stopped);
        assert!(boss.get_children().is_empty());
        round_trip(&boss).await;
        boss.stop(None);
        boss_join.await.expect("the supervisor ends in order");
        if waits {
            assert_eq!(ear.recv().await, Some(Heard::Started(child.get_id())));
        }
        assert_eq!(ear.recv().await, None);
    }
}

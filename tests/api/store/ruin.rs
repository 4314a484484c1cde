//! A store that can never work again: the manager ends, and says why.

use std::sync::Arc;

use serde_json::Value;
use understory::store::sqlite::{Options, SqliteStore};
use understory::store::{Batch, FaultyStore, MemoryStore, Store};
use understory::{FaultKind, Manager, Outcome, Payload, Record};
use understory::{SpawnError, State};

use super::Folder;
use crate::stage::{reaches, soon, until, until_cancelled};

fn over_faulty() -> (Arc<FaultyStore>, Manager) {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let builder = Manager::builder().store(Arc::clone(&store));
    (store, builder.build().expect("nothing is wrong with it"))
}

#[tokio::test]
async fn manager_whose_store_is_damaged_ends_at_once_and_says_why() {
    let (store, manager) = over_faulty();
    let scope = manager.scope("s");
    soon(scope.unnamed().spawn(until_cancelled)).await.unwrap();
    assert_eq!(manager.store_trouble(), None);

    store.damage_until_healed();
    let lost = soon(scope.unnamed().spawn(|_| async { Ok(()) })).await;

    let is_told = matches!(
        lost,
        Err(SpawnError::Unknown(_) | SpawnError::Unavailable(_))
    );
    assert!(is_told, "{lost:?}");
    until(|| manager.store_trouble().is_some()).await;
    let trouble = manager.store_trouble().unwrap();
    assert!(trouble.contains("told that it is damaged"), "{trouble}");
    let late = loop {
        match soon(scope.unnamed().spawn(|_| async { Ok(()) })).await {
            Err(SpawnError::Unknown(_)) => {}
            Err(error) => break error.to_string(),
            Ok(_) => panic!("nothing is stored any more"),
        }
    };
    assert!(late.contains("its store cannot be used"), "{late}");
    assert_eq!(manager.incarnation(), 1, "it was started again");
}

#[tokio::test]
async fn commit_that_panics_is_made_again() {
    let (store, manager) = over_faulty();
    store.panic_next();
    let task = manager.scope("s").unnamed().spawn(|_| async { Ok(7) });
    assert_eq!(soon(soon(task).await.unwrap()).await.unwrap(), 7);
    assert_eq!(manager.store_trouble(), None);
}

/// So many arrays, each in the other.
fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// The same as a value, which could be made, though not read.
fn nested_value(levels: usize) -> Value {
    let deeper = |inner: Option<Value>, _| Some(Value::Array(inner.into_iter().collect()));
    (0..levels)
        .fold(None, deeper)
        .expect("there is at least one")
}

#[tokio::test]
async fn input_that_cannot_be_read_again_is_refused() {
    let folder = Folder::new();
    let manager = folder.open().await;
    let spawn = |input| manager.scope("s").unnamed().spawn_kind("double", input);

    soon(spawn(nested_value(127))).await.unwrap();
    let error = soon(spawn(nested_value(128))).await.unwrap_err();

    assert!(matches!(error, SpawnError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("127 levels"), "{error}");
    let in_texts = Value::from("[\"{".repeat(200));
    soon(spawn(in_texts)).await.unwrap();
    assert!(serde_json::from_str::<Value>(&nested(127)).is_ok());
    assert!(serde_json::from_str::<Value>(&nested(128)).is_err());
}

#[tokio::test]
async fn nothing_that_would_come_back_as_null_is_taken() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").resumable();
    let task = task.spawn(|ctx| async move {
        if ctx.resumed().is_none() {
            let told = ctx.progress(nested_value(128)).await.unwrap_err();
            assert!(told.to_string().contains("127 levels"), "{told}");
            return Err(ctx.suspend(0));
        }
        Ok(nested_value(128))
    });
    let task = soon(task).await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;

    let error = soon(task.send_durable(nested_value(128)))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("127 levels"), "{error}");
    let error = soon(task.resume(nested_value(128))).await.unwrap_err();
    assert!(error.to_string().contains("127 levels"), "{error}");

    soon(task.resume(nested_value(127))).await.unwrap();
    let error = soon(task).await.unwrap_err();
    assert!(error.to_string().contains("127 levels"), "{error}");
}

#[tokio::test]
async fn task_whose_input_cannot_be_read_fails_and_says_why() {
    let folder = Folder::new();
    let manager = folder.open().await;
    let task = manager.scope("s").unnamed().spawn_kind("double", 1);
    let id = soon(task).await.unwrap().id();
    soon(manager.task(id).settled()).await.unwrap();
    super::close(&manager).await;
    let store = SqliteStore::open(&folder.path, Options::default()).unwrap();
    let ended = store.load().unwrap().records[0].clone();
    let mut spec = (*ended.spec).clone();
    spec.input = Some(Payload::from_json(nested(200)));
    let pending = Record {
        spec: Arc::new(spec),
        state: State::Pending,
        outcome: None,
        ended_at: None,
        started_at: None,
        attempt: 0,
        incarnation: 2,
        ..Record::clone(&ended)
    };
    let records = vec![Arc::new(pending)];
    let batch = Batch {
        records,
        ..Batch::default()
    };
    store.commit(&batch).unwrap();
    drop(store);

    let manager = folder.open().await;
    let ended = soon(manager.task(id).settled()).await.unwrap();
    let Some(Outcome::Failed(fault)) = ended.outcome.as_deref() else {
        panic!("it ran with another input: {ended:?}");
    };
    assert_eq!(fault.kind, FaultKind::Permanent);
    assert!(fault.message.contains("input cannot be read"), "{fault}");
}

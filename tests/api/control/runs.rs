//! Runs: cancelled as a whole, and over then.

use understory::{Cancel, Cause, Manager, Refusal, SpawnError, State};

use crate::stage::{soon, until_cancelled};

fn enough() -> Cancel {
    Cancel::because("user pressed stop")
}

#[tokio::test]
async fn cancelled_run_ends_in_every_scope_and_takes_no_late_task() {
    let manager = Manager::in_memory();
    let ask = |scope: &str, run: &str| {
        let task = manager.scope(scope).unnamed().label("run", run);
        task.spawn(until_cancelled)
    };
    let (first, second) = (ask("s", "7").await.unwrap(), ask("t", "7").await.unwrap());
    let other = ask("s", "8").await.unwrap();

    let report = soon(manager.cancel_run("7", enough())).await.unwrap();

    assert_eq!(report.cancelled.len(), 2);
    for task in [first, second] {
        let record = task.record().unwrap();
        assert_eq!(record.state, State::Cancelled);
        assert_eq!(record.stop.as_ref().unwrap().cause, Cause::Run);
        assert_eq!(record.to_json()["stop"]["cause"], "run");
    }
    assert!(!other.state().is_some_and(State::is_terminal));
    let late = ask("u", "7").await.unwrap_err();
    assert!(late.to_string().contains("run 7 was cancelled"), "{late}");
    assert!(matches!(
        late,
        SpawnError::Refused(Refusal::RunCancelled(_))
    ));
    assert!(ask("u", "8").await.is_ok());
}

#[tokio::test]
async fn scope_takes_tasks_after_a_cancel_unlike_a_run() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    soon(scope.cancel_scope(enough())).await.unwrap();
    assert!(scope.unnamed().spawn(until_cancelled).await.is_ok());
}

#[tokio::test]
async fn host_says_how_many_cancelled_runs_are_remembered() {
    let manager = Manager::builder().cancelled_runs_max(1).build().unwrap();
    for run in ["1", "2"] {
        assert!(manager.cancel_run(run, enough()).await.unwrap().is_empty());
    }
    let ask = |run: &str| {
        let task = manager.scope("s").unnamed().label("run", run);
        task.spawn(until_cancelled)
    };
    assert!(ask("1").await.is_ok());
    assert!(ask("2").await.is_err());
}

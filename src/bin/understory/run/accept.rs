//! Asking the manager for every task of the plan that it does not know yet.
//!
//! *Not here*: what the tasks do (`body`).

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use understory::{Again, Manager, OnParentEnd, Retry, ScopeRef, TaskBuilder, TaskId};

use super::RunError;
use super::crew::{Crew, kind};
use super::past::Past;
use super::stage::Store;
use crate::plan::{Plan, PlanInbox, PlanParentEnd, PlanRetry, PlanTask};

/// The scope of all tasks of a run.
pub(super) const SCOPE: &str = "run";
/// What the manager grants beyond the grace of a process, so that a slot is free only when all of
/// the process is dead: its shim kills within two seconds, and its output is read for one more.
pub(super) const GRACE_MARGIN: Duration = Duration::from_secs(5);
/// Tasks that are asked for at once, so that they reach the disk together.
const AT_ONCE: usize = 256;
/// Messages that wait in an open inbox.
const INBOX_CAPACITY: u32 = 1_024;
/// The pause before the first retry when the plan names none.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Asks for the tasks that were added to the plan of a run that goes on, of a manager that has its
/// records and not its file: if one is refused, none of them must be in the file.
pub(super) async fn rehearse(plan: &Plan, past: &mut Past, crew: &Crew) -> Result<(), RunError> {
    let Some(loaded) = past.take_before_additions() else {
        return Ok(());
    };
    let manager = Store::copy_of(&loaded)?.manage(plan).await?;
    let accepted = accept_all(plan, past, crew, &manager).await;
    drop(manager.leave().await);
    accepted
}

/// Accepts all tasks that an earlier run has not, parents and `after` targets first.
pub(super) async fn accept_all(
    plan: &Plan,
    past: &Past,
    crew: &Crew,
    manager: &Manager,
) -> Result<(), RunError> {
    let scope = manager.scope(SCOPE);
    let is_new = |task: &&PlanTask| past.id(&task.name).is_none();
    let tasks: Vec<_> = plan.tasks.iter().filter(is_new).collect();
    for some in tasks.chunks(AT_ONCE) {
        let asked = some.iter().map(|task| {
            let accepted = accept(task, crew, &scope);
            async move {
                accepted.await.map_err(|error| RunError::Spawn {
                    name: task.name.clone(),
                    error,
                })
            }
        });
        in_order(asked).await?;
    }
    Ok(())
}

/// Waits for all. They are asked for in their order, as that is how they are polled.
async fn in_order<F>(asked: impl Iterator<Item = F>) -> Result<(), RunError>
where
    F: Future<Output = Result<(), RunError>>,
{
    let mut asked: Vec<_> = asked.map(|one| Some(Box::pin(one))).collect();
    poll_fn(|context| {
        let mut left = false;
        for one in &mut asked {
            let polled = one.as_mut().map(|it| it.as_mut().poll(context));
            match polled {
                Some(Poll::Ready(Ok(()))) => *one = None,
                Some(Poll::Ready(error)) => return Poll::Ready(error),
                Some(Poll::Pending) => left = true,
                None => {}
            }
        }
        if left {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    })
    .await
}

async fn accept(
    task: &PlanTask,
    crew: &Crew,
    scope: &ScopeRef,
) -> Result<(), understory::SpawnError> {
    let id = |name: &String| crew.planned(name).map(|member| member.id);
    let after: Vec<TaskId> = task.after.iter().filter_map(id).collect();
    let member = crew.planned(&task.name);
    let member = member.expect("a crew has every task of its plan");
    let mut builder = scope.task(&task.name).id(member.id).after(after);
    if let Some(parent) = task.parent.as_ref().and_then(id) {
        builder = builder.parent(parent);
    }
    prepare(builder, task, crew)
        .spawn_kind(kind(task), member.recorded())
        .await?;
    Ok(())
}

/// Everything that a task says of itself, without its name and its links to others.
pub(super) fn prepare(builder: TaskBuilder, task: &PlanTask, crew: &Crew) -> TaskBuilder<Again> {
    // A body that outlasts its grace is abandoned, not dropped: its slot is held until all is dead.
    let mut builder = builder
        .grace(crew.grace(task) + GRACE_MARGIN)
        .cooperative()
        .inbox_capacity(match task.inbox {
            PlanInbox::Open => INBOX_CAPACITY,
            PlanInbox::Closed => 0,
        });
    if let Some(timeout) = task.timeout {
        builder = builder.timeout(timeout);
    }
    if let Some(timeout) = task.idle_timeout {
        builder = builder.idle_timeout(timeout);
    }
    if let Some(policy) = task.on_parent_end {
        builder = builder.on_parent_end(parent_end(policy));
    }
    for class in &task.limits {
        builder = builder.limit(class);
    }
    builder.retry(task.retry.map_or_else(Retry::never, retry))
}

fn parent_end(policy: PlanParentEnd) -> OnParentEnd {
    match policy {
        PlanParentEnd::Wait => OnParentEnd::Wait,
        PlanParentEnd::Cancel => OnParentEnd::Cancel,
        PlanParentEnd::Detach => OnParentEnd::Detach,
    }
}

fn retry(plan: PlanRetry) -> Retry {
    let mut retry = Retry::fixed(plan.count, plan.delay.unwrap_or(RETRY_DELAY));
    if let Some(factor) = plan.factor {
        retry = retry.factor_percent(percent(factor));
    }
    if let Some(cap) = plan.cap {
        retry = retry.cap(cap);
    }
    retry
}

/// A factor as whole percent; a plan holds factors from 1 to 100.
fn percent(factor: f64) -> u32 {
    let percent = (factor * 100.0).round();
    (100..=10_000)
        .find(|whole| f64::from(*whole) >= percent)
        .unwrap_or(10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_is_as_long_as_the_plan_says() {
        let plan = PlanRetry {
            count: 3,
            delay: Some(Duration::from_mins(10)),
            factor: None,
            cap: None,
        };
        let first = retry(plan).delay_after(1, 0);
        assert_eq!(first, Duration::from_mins(10));
        let capped = PlanRetry {
            cap: Some(Duration::from_mins(2)),
            ..plan
        };
        assert_eq!(retry(capped).delay_after(1, 0), Duration::from_mins(2));
    }
}

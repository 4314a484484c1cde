//! Listeners of one end: all of them hear of it, whatever the others do.

use understory::{Cancel, Failure, Filter, Manager, Since, State};

use crate::stage::{for_ever, sees, soon};

#[tokio::test]
async fn listeners_of_all_of_an_agent_of_a_kind_and_of_a_task_hear_of_each_end() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    for wanted in [State::Completed, State::Failed, State::Cancelled] {
        let task = scope.unnamed().kind("tool").agent("a").resumable();
        let task = task.spawn(move |ctx| async move {
            if wanted == State::Cancelled {
                for_ever(ctx).await?;
            }
            let fails = wanted == State::Failed;
            (!fails).then_some(()).ok_or_else(|| Failure::new("broken"))
        });
        let task = task.await.unwrap();
        if wanted == State::Cancelled {
            let now = Cancel::because("enough").grace(std::time::Duration::ZERO);
            soon(task.cancel(now)).await.unwrap();
        }
        let ends = || Filter::all().event("settled");
        let of_kind = Filter::parse("kind=tool event=settled").unwrap();
        for level in [
            ends(),
            ends().label("agent", "a"),
            of_kind,
            ends().task(task.id()),
        ] {
            let feed = manager.subscribe_to(Since::Seq(understory::Seq(0)), level);
            let mut feed = feed.await.unwrap();
            let end = sees(&mut feed, |event| event.task == task.id()).await;
            assert_eq!(end.state, wanted);
        }
    }
}

#[tokio::test]
async fn listener_that_panics_hides_no_end_from_another() {
    let manager = Manager::in_memory();
    let ends = Filter::all().event("settled");
    let mut first = manager
        .subscribe_to(Since::Now, ends.clone())
        .await
        .unwrap();
    let mut second = manager.subscribe_to(Since::Now, ends).await.unwrap();
    let panics = tokio::spawn(async move {
        sees(&mut first, |_| true).await;
        panic!("its owner has a mistake");
    });
    let task = manager.scope("s").unnamed().spawn(|_| async { Ok(1) });
    let task = task.await.unwrap();

    assert!(soon(panics).await.unwrap_err().is_panic());
    let end = sees(&mut second, |_| true).await;
    assert_eq!((end.task, end.state), (task.id(), State::Completed));
    assert_eq!(soon(task).await.unwrap(), 1);
    let next = manager.scope("s").unnamed().spawn(|_| async { Ok(2) });
    let next = next.await.unwrap();
    assert_eq!(sees(&mut second, |_| true).await.task, next.id());
}

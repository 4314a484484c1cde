//! Reading and waiting.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use understory::kernel::{Kind, Name};
use understory::{
    Cancel, Context, Failure, Filter, Listing, Manager, Page, QueryError, Scope, State, TaskId,
};

use crate::stage::{for_ever, reaches, settle_down, soon, until, until_cancelled};

mod waiting;

async fn nothing(_: Context) -> Result<(), Failure> {
    Ok(())
}

/// A body that ends when it is sent something, which it returns.
async fn on_word(ctx: Context) -> Result<Option<Value>, Failure> {
    Ok(ctx.recv().await.map(|message| message.body))
}

fn now() -> Cancel {
    Cancel::because("enough").grace(Duration::ZERO)
}

fn ids(listing: &Listing) -> Vec<TaskId> {
    listing.records.iter().map(|record| record.id).collect()
}

#[tokio::test]
async fn get_and_counts_follow_the_life_of_a_task() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let first = scope.task("first").spawn(on_word).await.unwrap();
    let second = scope.task("second").after([first.id()]).spawn(nothing);
    let second = second.await.unwrap();
    reaches(&manager, first.id(), State::Running).await;
    let of = |state| manager.counts().of(state);

    assert_eq!(manager.get(TaskId::from_u128(7)), None);
    assert_eq!(manager.task(TaskId::from_u128(7)).state(), None);
    assert_eq!((of(State::Running), of(State::Pending)), (1, 1));
    assert_eq!((manager.live(), manager.counts().live()), (2, 2));
    first.send("go").await.unwrap();
    soon(second).await.unwrap();

    assert_eq!((manager.live(), of(State::Completed)), (0, 2));
    assert_eq!(manager.counts().total(), 2);
    assert_eq!(manager.get(first.id()), first.record());
    assert_eq!(first.state(), Some(State::Completed));
}

#[tokio::test]
async fn children_are_the_live_ones_in_order_of_acceptance() {
    let manager = Manager::in_memory();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        ctx.task("ended").spawn(nothing).await?.await?;
        for name in ["c", "a", "b"] {
            ctx.task(name).spawn(until_cancelled).await?;
        }
        Ok(())
    });
    let lead = lead.await.unwrap();
    reaches(&manager, lead.id(), State::Waiting).await;
    until(|| manager.children(lead.id()).len() == 3).await;

    let children = manager.children(lead.id());
    let segments: Vec<_> = children
        .iter()
        .map(|child| child.spec.segment(child.id))
        .collect();
    assert_eq!(segments, ["c", "a", "b"]);
    let below = manager.list(&Filter::all().parent(lead.id()), &Page::default());
    assert_eq!(below.total, 4);
    soon(lead.cancel_tree(now())).await.unwrap();
    assert!(manager.children(lead.id()).is_empty());
}

#[tokio::test]
async fn order_that_was_said_last_counts() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let mut spawned = Vec::new();
    for _ in 0..3 {
        spawned.push(scope.unnamed().spawn(nothing).await.unwrap().id());
    }
    let oldest = Page::first(3).newest_first().oldest_first();
    assert_eq!(ids(&manager.list(&Filter::all(), &oldest)), spawned);
    spawned.reverse();
    let newest = Page::first(3).oldest_first().newest_first();
    assert_eq!(ids(&manager.list(&Filter::all(), &newest)), spawned);
}

#[tokio::test]
async fn pages_show_every_task_once_in_either_order() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let mut spawned = Vec::new();
    for _ in 0..1_000 {
        spawned.push(scope.unnamed().spawn(nothing).await.unwrap().id());
        manager
            .scope("other")
            .unnamed()
            .spawn(nothing)
            .await
            .unwrap();
    }
    spawned.sort();

    for (limit, pages) in [(1_000, 2), (500, 2), (333, 4), (7, 143)] {
        let (mut seen, mut page, mut count) = (Vec::new(), Page::first(limit), 0);
        page = page.oldest_first();
        loop {
            let listing = scope.list(Filter::all(), &page).unwrap();
            assert_eq!(listing.total, 1_000);
            seen.extend(ids(&listing));
            count += 1;
            let Some(next) = listing.next else { break };
            let text = next.to_string();
            page = page.after(text.parse().unwrap());
        }
        assert_eq!((&seen, count), (&spawned, pages));
    }
    let newest = scope.list(Filter::all(), &Page::first(10)).unwrap();
    let wanted: Vec<_> = spawned.iter().rev().take(10).copied().collect();
    assert_eq!(ids(&newest), wanted);
}

#[tokio::test]
async fn pages_are_whole_while_tasks_end_and_come() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let mut old = BTreeSet::new();
    for _ in 0..100 {
        old.insert(scope.unnamed().spawn(on_word).await.unwrap().id());
    }
    let (mut seen, mut page) = (Vec::new(), Page::first(9));
    loop {
        let listing = manager.list(&Filter::all(), &page);
        seen.extend(ids(&listing));
        manager.send(listing.records[0].id, "end").await.unwrap();
        scope.unnamed().spawn(nothing).await.unwrap();
        settle_down().await;
        let Some(next) = listing.next else { break };
        page = page.after(next);
    }

    let distinct: BTreeSet<_> = seen.iter().copied().collect();
    assert_eq!((seen.len(), &distinct), (100, &old));
}

#[tokio::test]
async fn filters_narrow_what_is_listed() {
    let manager = Manager::in_memory();
    let one = manager
        .scope("one")
        .task("x")
        .kind("reader")
        .label("agent", "a7");
    let one = one.spawn(for_ever).await.unwrap().id();
    let two = manager
        .scope("two")
        .task("y")
        .kind("writer")
        .label("agent", "b8");
    let two = soon(two.spawn(nothing).await.unwrap().settled())
        .await
        .unwrap()
        .id;
    reaches(&manager, one, State::Running).await;
    let scope = Scope::new("one").unwrap();

    for (filter, wanted) in [
        (Filter::all(), vec![two, one]),
        (Filter::all().scope(scope.clone()), vec![one]),
        (Filter::all().kind(Kind::new("writer").unwrap()), vec![two]),
        (Filter::all().name(Name::new("x").unwrap()), vec![one]),
        (Filter::all().task(two), vec![two]),
        (Filter::all().label("agent", "b8"), vec![two]),
        (
            Filter::all().label("agent", "a7").label("agent", "b8"),
            vec![],
        ),
        (Filter::all().state(State::Completed), vec![two]),
        (
            Filter::all().state(State::Completed).state(State::Running),
            vec![two, one],
        ),
        (Filter::all().live(), vec![one]),
        (Filter::all().live().task(two), vec![]),
        (
            Filter::all()
                .scope(scope)
                .kind(Kind::new("writer").unwrap()),
            vec![],
        ),
    ] {
        let listing = manager.list(&filter, &Page::default());
        assert_eq!(
            (ids(&listing), listing.total),
            (wanted.clone(), wanted.len()),
            "{filter:?}"
        );
    }
}

#[tokio::test]
async fn list_of_a_scope_with_an_invalid_name_says_so() {
    let manager = Manager::in_memory();
    let invalid = manager.scope("a b").list(Filter::all(), &Page::default());
    assert!(matches!(invalid, Err(QueryError::Invalid(_))));
}

#[tokio::test]
async fn name_is_found_until_its_body_has_stopped() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let (go, gone) = oneshot::channel::<()>();
    let task = scope.task("t").cooperative().spawn(|_| async move {
        gone.await?;
        Ok(())
    });
    let task = task.await.unwrap();
    let report = soon(task.cancel(now())).await.unwrap();
    assert_eq!(report.abandoned, [task.id()]);

    assert_eq!(manager.live(), 0);
    assert_eq!(scope.find("t"), Some(task.id()));
    assert!(scope.task("t").spawn(nothing).await.is_err());
    go.send(()).unwrap();
    until(|| scope.find("t").is_none()).await;

    assert!(!task.record().unwrap().is_abandoned());
    assert!(scope.task("t").spawn(nothing).await.is_ok());
}

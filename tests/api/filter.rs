//! Filters: every field, dates, orders, pages by number, and filters from text.

use std::collections::BTreeMap;
use std::time::Duration;

use understory::kernel::{Key, Kind, Name};
use understory::{
    Cancel, Context, Date, Failure, FeedItem, Filter, FilterError, Listing, Manager, Page, Scope,
    Since, State, TaskId, TaskRef,
};

use crate::stage::{soon, until_cancelled};

async fn on_word(ctx: Context) -> Result<(), Failure> {
    ctx.recv().await;
    Ok(())
}

fn ids(listing: &Listing) -> Vec<TaskId> {
    listing.records.iter().map(|record| record.id).collect()
}

fn found(manager: &Manager, filter: &Filter) -> Vec<TaskId> {
    ids(&manager.list(filter, &Page::default().oldest_first()))
}

/// A lead with a child that waits for its parent's word, and a task with everything set.
async fn cast(manager: &Manager) -> BTreeMap<&'static str, TaskRef> {
    let lead = manager
        .scope("one")
        .task("lead")
        .spawn(on_word)
        .await
        .unwrap();
    let child = manager.scope("one").task("child").parent(lead.id());
    let child = child
        .kind("reader")
        .label("agent", "x")
        .spawn(on_word)
        .await
        .unwrap();
    let last = manager
        .scope("one")
        .task("last")
        .after([child.id()])
        .key("k-1");
    let last = last.spawn(on_word).await.unwrap();
    let other = manager
        .scope("two")
        .task("lead")
        .spawn(on_word)
        .await
        .unwrap();
    for task in [&lead, &child, &other] {
        crate::stage::reaches(manager, task.id(), State::Running).await;
    }
    let all = [
        ("lead", lead),
        ("child", child),
        ("last", last),
        ("other", other),
    ];
    all.into_iter()
        .map(|(name, task)| (name, task.task()))
        .collect()
}

#[tokio::test]
async fn every_field_can_be_asked_for() {
    let manager = Manager::in_memory();
    let cast = cast(&manager).await;
    let id = |name: &str| cast[name].id();
    let check = |filter: Filter, names: &[&str]| {
        let wanted: Vec<_> = names.iter().map(|name| id(name)).collect();
        assert_eq!(found(&manager, &filter), wanted, "{filter:?}");
    };

    check(Filter::all(), &["lead", "child", "last", "other"]);
    check(Filter::all().scope(Scope::new("two").unwrap()), &["other"]);
    check(
        Filter::all().name(Name::new("lead").unwrap()),
        &["lead", "other"],
    );
    check(Filter::all().kind(Kind::new("reader").unwrap()), &["child"]);
    check(Filter::all().label("agent", "x"), &["child"]);
    check(Filter::all().key(Key::new("k-1").unwrap()), &["last"]);
    check(Filter::all().task(id("last")), &["last"]);
    check(Filter::all().parent(id("lead")), &["child"]);
    check(Filter::all().root(id("lead")), &["lead", "child"]);
    check(Filter::all().state(State::Pending), &["last"]);
    check(Filter::all().waits_for("after"), &["last"]);
    check(Filter::all().waits_for("slot"), &[]);
}

#[tokio::test(start_paused = true)]
async fn date_ranges_leave_out_their_end_and_dates_that_have_not_come() {
    let manager = Manager::in_memory();
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(manager.scope("s").unnamed().spawn(on_word).await.unwrap());
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    tasks[0].send("end").await.unwrap();
    soon(tasks[0].settled()).await.unwrap();
    let at = |place: usize, date| tasks[place].record().unwrap().date(date).unwrap();
    let check = |date, from: usize, to: usize, wanted: &[usize]| {
        let range = at(from, Date::Created)..at(to, Date::Created);
        let wanted: Vec<_> = wanted.iter().map(|place| tasks[*place].id()).collect();
        assert_eq!(found(&manager, &Filter::all().date(date, range)), wanted);
    };

    check(Date::Created, 0, 2, &[0, 1]);
    check(Date::Created, 1, 1, &[]);
    check(Date::Started, 1, 2, &[1]);
    check(Date::Suspended, 0, 2, &[]);
    check(Date::Ended, 0, 2, &[]);
    let ended = at(0, Date::Ended);
    let since = Filter::all().date(Date::Ended, ended..ended.after(Duration::from_micros(1)));
    assert_eq!(found(&manager, &since), [tasks[0].id()]);
}

#[tokio::test(start_paused = true)]
async fn list_is_ordered_by_a_date_then_by_id_and_ends_with_those_without_one() {
    let manager = Manager::in_memory();
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(manager.scope("s").unnamed().spawn(on_word).await.unwrap());
    }
    for place in [2, 0, 1] {
        tokio::time::advance(Duration::from_secs(1)).await;
        tasks[place].send("end").await.unwrap();
        soon(tasks[place].settled()).await.unwrap();
    }
    let by_end = Page::first(2).order_by(Date::Ended);
    let walk = |first: Page| {
        let (mut page, mut walked) = (first, Vec::new());
        loop {
            let listing = manager.list(&Filter::all(), &page);
            assert_eq!(listing.total, 4);
            walked.extend(ids(&listing));
            match listing.next {
                // As a door would hand it on.
                Some(cursor) => page = first.after(cursor.to_string().parse().unwrap()),
                None => return walked,
            }
        }
    };
    let wanted = |places: [usize; 4]| places.map(|place| tasks[place].id());

    assert_eq!(walk(by_end.oldest_first()), wanted([2, 0, 1, 3]));
    assert_eq!(walk(by_end.newest_first()), wanted([1, 0, 2, 3]));
    assert_eq!(
        walk(by_end.order_by(Date::Created).oldest_first()),
        wanted([0, 1, 2, 3])
    );
}

#[tokio::test]
async fn pages_by_number_have_the_total_and_end() {
    let manager = Manager::in_memory();
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let task = manager
            .scope("s")
            .unnamed()
            .spawn(until_cancelled)
            .await
            .unwrap();
        tasks.push(task.id());
    }
    let page = |number| manager.list(&Filter::all(), &Page::number(number, 2).oldest_first());

    assert_eq!(ids(&page(0)), tasks[..2]);
    assert_eq!(ids(&page(1)), tasks[2..4]);
    assert_eq!((ids(&page(2)), page(2).next), (tasks[4..].to_vec(), None));
    assert!(page(3).records.is_empty());
    assert!((0..5).all(|number| page(number).total == 5));
    assert!(page(usize::MAX).records.is_empty());
    manager.cancel_all(Cancel::because("enough")).await.unwrap();
}

#[tokio::test]
async fn subscription_hears_of_what_its_filter_says_also_ends_and_progress() {
    let manager = Manager::in_memory();
    let cast = cast(&manager).await;
    let tree = Filter::all().root(cast["lead"].id());
    let mut feed = manager.subscribe_to(Since::Now, tree).await.unwrap();
    let mut keyed = manager
        .subscribe_to(
            Since::Now,
            Filter::all().key(Key::new("k-1").unwrap()).live(),
        )
        .await
        .unwrap();

    // `last` is in another tree and starts when `child` has ended.
    for name in ["other", "child", "lead"] {
        cast[name].send("end").await.unwrap();
        soon(cast[name].settled()).await.unwrap();
    }
    cast["last"].send("end").await.unwrap();
    soon(cast["last"].settled()).await.unwrap();

    let mut ends = Vec::new();
    while ends.len() < 2 {
        let Some(FeedItem::Event(event)) = soon(feed.next()).await else {
            panic!("an event")
        };
        assert!([cast["lead"].id(), cast["child"].id()].contains(&event.task));
        if event.what.name() == "settled" {
            ends.push(event.task);
        }
    }
    assert_eq!(ends, [cast["child"].id(), cast["lead"].id()]);
    // A filter for live tasks hides no end from a subscriber.
    let mut last = None;
    while last != Some("settled") {
        let Some(FeedItem::Event(event)) = soon(keyed.next()).await else {
            panic!("an event")
        };
        assert_eq!(event.task, cast["last"].id());
        last = Some(event.what.name());
    }
}

#[tokio::test]
async fn events_of_a_task_have_numbers_of_their_own() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.task("child").spawn(|_| async { Ok(()) }).await?.await?;
        ctx.progress("half").await?;
        Ok(())
    });
    let task = task.await.unwrap();
    soon(task.settled()).await.unwrap();

    let mut feed = crate::stage::feed_of(&manager, task.id()).await;
    let mut number = 0;
    loop {
        let event = crate::stage::sees(&mut feed, |_| true).await;
        number += 1;
        assert_eq!(event.task_seq, number);
        if event.what.name() == "settled" {
            break;
        }
    }
    assert_eq!(task.record().unwrap().events, number);
}

#[test]
fn text_means_the_same_as_the_conditions() {
    let id = TaskId::from_u128(7);
    let check = |text: &str, filter: Filter| assert_eq!(Filter::parse(text), Ok(filter), "{text}");
    let micros = understory::Timestamp::from_micros;
    let all = Filter::all;

    check("", all());
    check("  live=true ", all().live());
    check(
        "scope=a:b name=n",
        all()
            .scope("a:b".parse().unwrap())
            .name("n".parse().unwrap()),
    );
    check(
        "kind=llm key=k",
        all().kind("llm".parse().unwrap()).key("k".parse().unwrap()),
    );
    check(&format!("task={id}"), all().task(id));
    check(&format!("parent={id} root={id}"), all().parent(id).root(id));
    check(
        "state=running,failed",
        all().state(State::Failed).state(State::Running),
    );
    check(
        "wait=slot,children",
        all().waits_for("slot").waits_for("children"),
    );
    check("event=settled", all().event("settled"));
    check(
        "label.agent=x label.run=a=b",
        all().label("agent", "x").label("run", "a=b"),
    );
    check(
        "created=5..9",
        all().date(Date::Created, micros(5)..micros(9)),
    );
    check(
        "started=5..",
        all().date(Date::Started, micros(5)..micros(u64::MAX)),
    );
    check(
        "suspended=..9",
        all().date(Date::Suspended, micros(0)..micros(9)),
    );
    check("ended=1..2", all().date(Date::Ended, micros(1)..micros(2)));
    assert_eq!("kind=llm".parse(), Filter::parse("kind=llm"));
}

#[test]
fn text_that_is_not_understood_is_an_error_that_says_what_could_stand_there() {
    let check = |text: &str, part: &str| {
        let error = Filter::parse(text).unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
    };
    assert_eq!(
        Filter::parse("agent=x"),
        Err(FilterError::UnknownKey("agent".to_owned()))
    );
    check(
        "agent=x",
        "scope name kind key task parent root state live hidden wait event label.KEY",
    );
    check("running", "write key=value");
    check("state=runing", "cancel_requested");
    check("wait=godot", "parent_start");
    check("event=end", "attempt_failed");
    check("live=no", "true");
    check("created=today", "FROM..TO");
    check("created=a..b", "FROM..TO");
    check("task=7", "UUID");
    check("name=a/b", "not a valid name");
    check("label.a/b=x", "label key");
    check("kind=a kind=b", "twice");
}

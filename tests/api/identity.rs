//! Who a task is: chosen ids and their lives, keys, labels.

use std::time::Duration;

use understory::{
    Admitted, Cancel, Class, Context, Failure, Filter, Manager, Page, Refusal, Seq, SpawnError,
    State, TaskId, labels,
};

use crate::stage::{feed_of, sees, soon, until_cancelled};

const ID: TaskId = TaskId::from_u128(7);

async fn nothing(_: Context) -> Result<(), Failure> {
    Ok(())
}

/// A body that ends when it gets a message.
async fn until_told(ctx: Context) -> Result<String, Failure> {
    let message = ctx.recv().await;
    Ok(message.map_or_else(String::new, |message| message.body.to_string()))
}

#[tokio::test]
async fn chosen_id_asked_for_twice_gives_one_task_and_its_value_to_both() {
    let manager = Manager::in_memory();
    let ask = || manager.scope("s").task("t").id(ID).spawn(until_told);
    let first = ask().await.unwrap();
    let second = ask().await.unwrap();
    first.send("go").await.unwrap();

    assert!(first.is_new() && !second.is_new());
    assert_eq!(soon(second).await.unwrap(), "\"go\"");
    assert_eq!(soon(ask().await.unwrap()).await.unwrap(), "\"go\"");
    let other = manager
        .scope("s")
        .task("t")
        .id(ID)
        .kind("k")
        .spawn(until_told)
        .await;
    assert!(matches!(
        other,
        Err(SpawnError::Refused(Refusal::DuplicateId(ID)))
    ));
}

#[tokio::test]
async fn id_used_again_is_another_life_in_every_view() {
    let manager = Manager::in_memory();
    let (scope, lead) = (manager.scope("s"), TaskId::from_u128(8));
    scope
        .task("lead")
        .id(lead)
        .spawn(until_cancelled)
        .await
        .unwrap();
    let child = scope
        .task("a")
        .id(ID)
        .parent(lead)
        .spawn(|_| async { Ok(1) });
    let child = child.await.unwrap();
    child.settled().await.unwrap();

    let again = scope
        .task("b")
        .id(ID)
        .reuse_id()
        .spawn(until_told)
        .await
        .unwrap();

    assert!(again.is_new());
    let record = manager.get(ID).unwrap();
    assert_eq!(
        (record.incarnation, record.parent, record.attempt),
        (2, None, 1)
    );
    assert_eq!(record.to_json()["incarnation"], 2);
    assert_eq!((scope.find("a"), scope.find("b")), (None, Some(ID)));
    let below = manager.list(&Filter::all().parent(lead), &Page::default());
    assert_eq!(below.total, 0);
    assert_eq!(
        manager.list(&Filter::all().live(), &Page::default()).total,
        2
    );
    assert_eq!((manager.counts().total(), manager.live()), (2, 2));
    let mut feed = feed_of(&manager, ID).await;
    let settled = sees(&mut feed, |event| event.what.name() == "settled").await;
    let accepted = sees(&mut feed, |event| event.what.name() == "accepted").await;
    assert_eq!((settled.incarnation, accepted.incarnation), (1, 2));
    assert_eq!(accepted.to_json()["incarnation"], 2);
    assert_eq!(soon(child).await.unwrap(), 1);
    again.send("x").await.unwrap();
    assert_eq!(soon(again).await.unwrap(), "\"x\"");
}

#[tokio::test]
async fn id_is_used_again_in_the_turn_in_which_its_task_ends() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    for life in 1..=50 {
        loop {
            let again = scope
                .unnamed()
                .id(ID)
                .reuse_id()
                .label("life", &life.to_string());
            match again
                .spawn(|ctx| async move { Ok(ctx.incarnation()) })
                .await
            {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, SpawnError::Refused(_)), "{error}"),
            }
        }
    }
    let record = manager.task(ID).settled().await.unwrap();
    assert_eq!((record.incarnation, record.state), (50, State::Completed));
}

#[tokio::test]
async fn reuse_is_refused_without_the_word_and_while_the_task_lives() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let first = scope.task("t").id(ID).spawn(until_cancelled).await.unwrap();
    let live = scope.task("u").id(ID).reuse_id().spawn(nothing).await;
    first.cancel(Cancel::because("enough")).await.unwrap();
    let unsaid = scope.task("u").id(ID).spawn(nothing).await;
    let elsewhere = manager
        .scope("other")
        .task("u")
        .id(ID)
        .reuse_id()
        .spawn(nothing)
        .await;

    for refused in [live, unsaid, elsewhere] {
        let refused = refused.expect_err("the id is taken");
        assert!(matches!(
            refused,
            SpawnError::Refused(Refusal::DuplicateId(ID))
        ));
    }
}

#[tokio::test]
async fn reserved_names_are_refused() {
    let manager = Manager::in_memory();
    for name in ["parent", "self", "root", "all", "broadcast"] {
        let refused = manager.scope("s").task(name).spawn(nothing).await;
        assert!(matches!(refused, Err(SpawnError::Invalid(_))), "{name}");
    }
}

#[tokio::test]
async fn answer_says_whether_the_task_started_waits_or_was_there() {
    let manager = Manager::builder()
        .limit("one", Class::queue(1))
        .build()
        .unwrap();
    let task = |name: &str| manager.scope("s").task(name).limit("one").key(name);
    let first = task("a").spawn(until_cancelled).await.unwrap();
    let second = task("b").spawn(until_cancelled).await.unwrap();
    let again = task("b").spawn(until_cancelled).await.unwrap();

    let told = [first.admitted(), second.admitted(), again.admitted()];
    assert_eq!(
        told,
        [Admitted::Started, Admitted::Queued, Admitted::Existing]
    );
    assert_eq!(second.id(), again.id());
}

#[tokio::test(start_paused = true)]
async fn key_of_a_task_is_bound_for_its_own_window() {
    let manager = Manager::in_memory();
    let window = Duration::from_mins(1);
    let ask = || {
        manager
            .scope("s")
            .unnamed()
            .key("k")
            .key_window(window)
            .spawn(nothing)
    };
    let first = ask().await.unwrap();
    first.settled().await.unwrap();
    assert_eq!(ask().await.unwrap().id(), first.id());
    tokio::time::advance(Duration::from_secs(61)).await;

    assert_ne!(ask().await.unwrap().id(), first.id());
}

#[tokio::test]
async fn well_known_labels_and_the_description_are_in_the_record() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").unnamed().description("reads the docs");
    let task = task
        .agent("a")
        .run("r")
        .resource("u")
        .thread("t")
        .tool_call("c");
    let task = task
        .role("reader")
        .message_group("g")
        .work_item("w")
        .checkpoint("p");
    let task = task.spawn(nothing).await.unwrap();

    let record = task.record().unwrap();
    let all = [
        (labels::AGENT, "a"),
        (labels::RUN, "r"),
        (labels::RESOURCE, "u"),
        (labels::THREAD, "t"),
        (labels::TOOL_CALL, "c"),
        (labels::ROLE, "reader"),
        (labels::MESSAGE_GROUP, "g"),
        (labels::WORK_ITEM, "w"),
        (labels::CHECKPOINT, "p"),
    ];
    for (key, value) in all {
        assert_eq!(record.spec.labels[key].as_ref(), value);
    }
    assert_eq!(record.to_json()["description"], "reads the docs");
}

#[tokio::test]
async fn what_a_body_spawns_has_its_provenance_and_explicit_labels_win() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let outer = scope
        .task("outer")
        .run("r1")
        .agent("a1")
        .role("lead")
        .label("own", "1");
    let outer = outer.spawn({
        let scope = scope.clone();
        move |ctx| async move {
            let plain = ctx.task("plain").spawn(nothing).await?;
            let ambient = scope.task("ambient").agent("a2").spawn(nothing).await?;
            let bare = ctx.task("bare").without_provenance().spawn(nothing).await?;
            Ok([plain.id(), ambient.id(), bare.id()].map(|id| id.to_string()))
        }
    });
    let ids = soon(outer.await.unwrap()).await.unwrap();

    let shown = ids.map(|id| {
        let record = manager.get(id.parse().unwrap()).unwrap();
        let pairs = record.spec.labels.iter();
        pairs
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    });
    assert_eq!(shown, ["agent=a1 run=r1", "agent=a2 run=r1", ""]);
}

/// An id whose record goes in the same moment in which it is asked for again: what is dropped and
/// what is accepted may share a turn of the manager.
#[tokio::test]
async fn p1_id_that_is_pruned_and_asked_for_in_one_turn_is_another_kept_task() {
    let manager = Manager::in_memory();
    let first = manager.scope("s").task("t").id(ID).spawn(nothing).await;
    soon(first.unwrap()).await.unwrap();

    let all = Filter::all();
    let prune = manager.prune(manager.now(), &all, Seq(u64::MAX));
    let again = manager.scope("s").task("t").id(ID).spawn(until_told);
    let (pruned, again) = tokio::join!(prune, again);

    assert_eq!(pruned.unwrap()[&State::Completed], 1);
    let again = again.unwrap();
    assert!(again.is_new());
    assert_eq!(manager.get(ID).map(|record| record.id), Some(ID));
    again.send("go").await.unwrap();
    assert_eq!(soon(again).await.unwrap(), "\"go\"");
}

/// The same in two turns that wait for the store together.
#[cfg(feature = "testing")]
#[tokio::test]
async fn p1_id_that_is_pruned_and_asked_for_while_the_store_is_busy_is_another_kept_task() {
    use std::sync::Arc;

    use crate::stage::settle_down;
    use understory::store::{FaultyStore, MemoryStore, Store};

    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let manager = Manager::builder().store(Arc::clone(&store));
    let manager = manager.build().unwrap();
    let first = manager.scope("s").task("t").id(ID).spawn(nothing).await;
    soon(first.unwrap()).await.unwrap();

    store.hold();
    let other = manager.scope("s").task("other").spawn(nothing);
    let (all, now) = (Filter::all(), manager.now());
    let others = async {
        soon(store.until_held(1)).await;
        let prune = manager.prune(now, &all, Seq(u64::MAX));
        let again = async {
            // Several turns of the manager later.
            settle_down().await;
            manager.scope("s").task("t").id(ID).spawn(until_told).await
        };
        let release = async {
            settle_down().await;
            settle_down().await;
            store.release();
        };
        tokio::join!(prune, again, release)
    };
    let (other, (pruned, again, ())) = tokio::join!(other, others);

    other.unwrap();
    assert_eq!(pruned.unwrap()[&State::Completed], 1);
    let again = again.unwrap();
    assert!(again.is_new());
    let kept = store.load().unwrap().records;
    assert_eq!(kept.iter().filter(|record| record.id == ID).count(), 1);
    assert_eq!(manager.get(ID).map(|record| record.id), Some(ID));
    again.send("go").await.unwrap();
    assert_eq!(soon(again).await.unwrap(), "\"go\"");
}

//! What a body says of itself, at its pace and within bytes; how subscriptions end.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use understory::{
    Cancel, Context, Event, Failure, FeedItem, Filter, Manager, Retry, Seq, Since, State, TaskId,
    What,
};

use crate::stage::{feed_of, sees, settle_down, soon, until};

const SECOND: Duration = Duration::from_secs(1);

/// The progress that was told of a task up to its end, and what its record has.
async fn told(manager: &Manager, task: TaskId) -> (Vec<String>, String) {
    let mut feed = feed_of(manager, task).await;
    let mut notes = Vec::new();
    loop {
        let event = sees(&mut feed, |_| true).await;
        if let What::Progress(note) = &event.what {
            notes.push(note.as_json().to_owned());
        } else if event.what.name() == "settled" {
            break;
        }
    }
    let last = manager.get(task).unwrap().progress.clone().unwrap();
    (notes, last.as_json().to_owned())
}

/// Ten notes, four a second.
async fn ten_notes(ctx: Context) -> Result<(), Failure> {
    for note in 1..=10 {
        ctx.progress(note).await?;
        tokio::time::sleep(SECOND / 4).await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn first_note_is_told_at_once_then_the_newest_of_each_interval() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").coalesce_progress(SECOND);
    let task = task.spawn(ten_notes).await.unwrap();
    soon(task.settled()).await.unwrap();

    let (notes, last) = told(&manager, task.id()).await;

    assert_eq!(notes.first().unwrap(), "1");
    assert!((3..=5).contains(&notes.len()), "{notes:?}");
    assert_eq!(notes.last().unwrap(), "10");
    assert_eq!(last, "10");
}

#[tokio::test(start_paused = true)]
async fn newest_note_is_told_before_the_end_however_soon_that_comes() {
    let manager = Manager::in_memory();
    for fails in [false, true] {
        let task = manager
            .scope("s")
            .unnamed()
            .coalesce_progress(SECOND * 3600);
        let task = task.spawn(move |ctx| async move {
            for note in 1..=10 {
                ctx.progress(note).await?;
            }
            if fails {
                Err(Failure::new("sorry"))
            } else {
                Ok(())
            }
        });
        let task = task.await.unwrap();
        soon(task.settled()).await.unwrap();
        let (notes, last) = told(&manager, task.id()).await;
        assert_eq!(
            (notes, last),
            (vec!["1".to_owned(), "10".to_owned()], "10".to_owned())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn held_note_is_told_when_its_interval_is_over() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").coalesce_progress(SECOND);
    let task = task.spawn(|ctx| async move {
        ctx.progress("first").await?;
        ctx.progress("second").await?;
        ctx.recv().await;
        Ok(())
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    let progress = |note: &str| {
        let wanted = json!(note).to_string();
        move |what: &What| matches!(what, What::Progress(note) if note.as_json() == wanted)
    };
    let first = sees(&mut feed, |event| progress("first")(&event.what)).await;
    let second = sees(&mut feed, |event| progress("second")(&event.what)).await;
    assert!(second.at.since(first.at) >= SECOND);
    task.send("end").await.unwrap();
    soon(task.settled()).await.unwrap();
}

#[tokio::test]
async fn nothing_is_left_of_a_pace_when_its_attempt_is_over_or_its_manager_has_gone() {
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let baseline = alive();
    let manager = Manager::in_memory();
    let (all, scope) = (&manager, manager.scope("s"));
    let paced = || scope.unnamed().coalesce_progress(SECOND * 3600);
    let told_twice = || async {
        let task = paced().external().await.unwrap();
        task.progress("first").await.unwrap();
        task.progress("held").await.unwrap();
        task
    };
    let failing = |notes: u32| {
        let task = paced().retry(Retry::fixed(1, SECOND * 3600));
        task.spawn(move |ctx| async move {
            for note in 0..notes {
                ctx.progress(note).await?;
            }
            Err::<(), _>(Failure::new("once more"))
        })
    };
    let fails = |notes| async move {
        let task = failing(notes).await.unwrap();
        let mut feed = feed_of(all, task.id()).await;
        sees(&mut feed, |event| event.what.name() == "attempt_failed").await;
        settle_down().await;
    };
    fails(0).await;
    let idle = alive();
    fails(2).await;
    until(|| alive() == idle).await;

    soon(told_twice().await.complete(1)).await.unwrap();
    until(|| alive() == idle).await;

    let _left = told_twice().await;
    settle_down().await;
    manager.leave().await.unwrap();
    until(|| alive() == baseline).await;
}

#[tokio::test(start_paused = true)]
async fn pace_of_the_manager_holds_for_tasks_that_say_nothing_else() {
    let manager = Manager::builder()
        .progress_interval(SECOND * 3600)
        .build()
        .unwrap();
    let paced = manager.scope("s").unnamed().spawn(ten_notes).await.unwrap();
    let own = manager
        .scope("s")
        .unnamed()
        .coalesce_progress(Duration::ZERO);
    let own = own.spawn(ten_notes).await.unwrap();
    soon(manager.wait_all(&[paced.task(), own.task()]))
        .await
        .unwrap();

    assert_eq!(told(&manager, paced.id()).await.0, ["1", "10"]);
    assert_eq!(told(&manager, own.id()).await.0.len(), 10);
}

#[tokio::test]
async fn large_output_is_kept_out_of_its_event_and_can_be_read() {
    let manager = Manager::builder().output_inline_max(12).build().unwrap();
    let large = "é".repeat(1_000);
    let written = large.clone();
    let task = manager.scope("s").task("t").spawn(move |ctx| async move {
        ctx.output("0123456789").await?;
        ctx.output(&written).await?;
        ctx.output("after").await?;
        Ok(())
    });
    let task = task.await.unwrap();
    soon(task.settled()).await.unwrap();

    let mut feed = feed_of(&manager, task.id()).await;
    let small = sees(&mut feed, |event| event.what.name() == "output").await;
    assert_eq!(small.to_json()["data"], "0123456789");
    let kept = sees(&mut feed, |event| event.what.name() == "output_kept").await;
    let What::OutputKept { bytes, head, .. } = &kept.what else {
        panic!("it is kept")
    };
    assert_eq!(*bytes, 2 * 1_000 + 2);
    assert!(head.len() <= 256 && json!(large).to_string().starts_with(&**head));

    let page = manager.read_output(task.id(), 0, 10).unwrap();
    let pieces: Vec<_> = page
        .pieces
        .iter()
        .map(|piece| piece.as_json().to_owned())
        .collect();
    let wanted = ["0123456789", large.as_str(), "after"].map(|piece| json!(piece).to_string());
    assert_eq!(pieces, wanted);
    assert_eq!((page.first, page.written, page.missed), (1, 3, 0));
}

#[tokio::test]
async fn output_is_read_by_page_and_says_what_is_gone() {
    let manager = Manager::builder()
        .output_bytes_max(24, 1_000)
        .build()
        .unwrap();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        for number in 0..10 {
            ctx.output(format!("piece-{number}")).await?;
            ctx.recv().await;
        }
        Ok(())
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    // While it runs, what was written so far can be read.
    sees(&mut feed, |event| event.what.name() == "output").await;
    assert_eq!(manager.read_output(task.id(), 0, 10).unwrap().written, 1);
    for _ in 0..10 {
        task.send("go on").await.unwrap();
    }
    soon(task.settled()).await.unwrap();

    // Each piece has nine bytes, so two of them fit.
    let page = manager.read_output(task.id(), 3, 1).unwrap();
    assert_eq!((page.missed, page.first, page.pieces.len()), (5, 9, 1));
    assert_eq!(page.pieces[0].as_json(), r#""piece-8""#);
    let rest = manager.read_output(task.id(), page.last(), 5).unwrap();
    assert_eq!((rest.first, rest.pieces.len(), rest.missed), (10, 1, 0));
    assert!(manager.read_output(TaskId::from_u128(7), 0, 1).is_none());
}

#[tokio::test]
async fn output_of_all_tasks_has_a_bound_and_goes_with_the_record() {
    let manager = Manager::builder()
        .output_bytes_max(100, 25)
        .settled_max(2)
        .build()
        .unwrap();
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let task = manager.scope("s").unnamed().spawn(|ctx| async move {
            ctx.output("0123456789").await?;
            Ok(())
        });
        tasks.push(task.await.unwrap());
        soon(tasks.last().unwrap().settled()).await.unwrap();
    }
    settle_down().await;
    let missed = |place: usize| {
        let page = manager.read_output(tasks[place].id(), 0, 9);
        page.map(|page| page.missed)
    };
    assert_eq!([missed(0), missed(1), missed(2)], [None, Some(0), Some(0)]);
}

#[tokio::test]
async fn events_are_kept_up_to_so_many_bytes() {
    let manager = Manager::builder().feed_bytes_max(100).build().unwrap();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        for _ in 0..10 {
            ctx.output("x".repeat(28)).await?;
        }
        Ok(())
    });
    let task = task.await.unwrap();
    soon(task.settled()).await.unwrap();
    settle_down().await;

    let from_the_first = Since::Seq(Seq(0));
    let mut feed = manager
        .subscribe_to(from_the_first, Filter::all())
        .await
        .unwrap();
    let lagged = soon(feed.next()).await;
    // Three pieces of thirty bytes and the end, of the ten pieces, the beginning and the end.
    let resume_at = Seq(10);
    assert_eq!(
        lagged,
        Some(FeedItem::Lagged {
            missed: 9,
            resume_at
        })
    );
}

#[tokio::test]
async fn answers_and_failures_count_among_the_bytes_of_events() {
    let manager = Manager::builder().feed_bytes_max(100).build().unwrap();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        for key in ["a", "b", "c"] {
            ctx.ask(key, "?").await?;
        }
        Err::<(), _>(Failure::new("x".repeat(60)))
    });
    let task = task.await.unwrap();
    for wanted in ["a", "b", "c"] {
        let is_asked = || {
            let record = task.record().unwrap();
            let mut open = record.open_questions();
            open.any(|(key, _)| key.as_str() == wanted)
        };
        until(is_asked).await;
        task.respond(wanted, "x".repeat(28)).await.unwrap();
    }
    soon(task.settled()).await.unwrap();
    settle_down().await;

    let mut feed = manager.subscribe(Since::Seq(Seq(0))).await.unwrap();
    let lagged = soon(feed.next()).await;
    assert!(
        matches!(lagged, Some(FeedItem::Lagged { .. })),
        "{lagged:?}"
    );
    let mut answers = 0;
    let is_last = |event: &Event| event.what.name() == "settled";
    loop {
        let event = sees(&mut feed, |_| true).await;
        if is_last(&event) {
            break;
        }
        answers += u32::from(event.what.name() == "answered");
    }
    assert_eq!(answers, 1, "with the failure there is no room for two");
}

#[tokio::test]
async fn subscription_ends_on_the_token_of_its_owner() {
    let manager = Manager::in_memory();
    let token = CancellationToken::new();
    let feed = manager.subscribe(Since::Now).await.unwrap();
    let mut feed = feed.until(token.child_token());
    let reading = tokio::spawn(async move {
        let first = feed.next().await;
        (first, feed.next().await)
    });
    let task = manager
        .scope("s")
        .task("t")
        .after([])
        .spawn(crate::stage::for_ever);
    let task = task.await.unwrap();
    token.cancel();

    let (first, end) = soon(reading).await.unwrap();

    assert!(first.is_none() || matches!(first, Some(FeedItem::Event(_))));
    assert!(end.is_none() || matches!(end, Some(FeedItem::Event(_))));
    assert_eq!(
        task.state().map(State::is_terminal),
        Some(false),
        "it ends nothing else"
    );
    soon(task.cancel(Cancel::because("enough").grace(Duration::ZERO)))
        .await
        .unwrap();
}

#[tokio::test]
async fn last_item_says_that_the_manager_has_stopped() {
    let manager = Manager::in_memory();
    let mut feed = manager.subscribe(Since::Now).await.unwrap();
    soon(manager.shutdown(Duration::ZERO)).await.unwrap();
    assert_eq!(soon(feed.next()).await, Some(FeedItem::Stopped));
    assert_eq!(soon(feed.next()).await, None);
}

//! The newest note is never lost, however a task ends.

use std::time::Duration;

use understory::{
    Cancel, Context, ExternalError, Failure, Manager, Subscription, TaskBuilder, TaskHandle, What,
};

use crate::stage::{feed_of, for_ever, sees, settle_down, soon, story, until_cancelled};

const HOUR: Duration = Duration::from_hours(1);

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Value,
    Panic,
    Suspension,
    Cancel,
    Force,
    Abandoned,
    Timeout,
    Shutdown,
}

const ENDS: [End; 8] = [
    End::Value,
    End::Panic,
    End::Suspension,
    End::Cancel,
    End::Force,
    End::Abandoned,
    End::Timeout,
    End::Shutdown,
];

async fn speaks(ctx: Context, end: End) -> Result<(), Failure> {
    for note in 1..=3 {
        ctx.progress(note).await?;
    }
    match end {
        End::Value => Ok(()),
        End::Panic => panic!("out of cheese"),
        End::Suspension => Err(ctx.suspend("may I?")),
        End::Cancel | End::Shutdown => until_cancelled(ctx).await,
        End::Force | End::Abandoned | End::Timeout => for_ever(ctx).await,
    }
}

async fn ask(manager: &Manager, end: End) -> TaskHandle<()> {
    let task = manager.scope("s").unnamed().coalesce_progress(HOUR);
    let task: TaskBuilder = match end {
        End::Abandoned => task.cooperative(),
        End::Timeout => task.timeout(Duration::from_secs(5)),
        End::Value | End::Panic | End::Suspension | End::Cancel | End::Force | End::Shutdown => {
            task
        }
    };
    let body = move |ctx| speaks(ctx, end);
    task.resumable().spawn(body).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn newest_note_is_told_before_every_sort_of_end() {
    for end in ENDS {
        let manager = Manager::in_memory();
        let task = ask(&manager, end).await;
        let mut feed = feed_of(&manager, task.id()).await;
        sees(&mut feed, |event| event.what.name() == "progress").await;
        settle_down().await;
        let now = Cancel::because("enough").grace(Duration::from_secs(1));
        match end {
            End::Cancel | End::Force | End::Abandoned => {
                soon(task.cancel(now)).await.unwrap();
            }
            End::Shutdown => {
                soon(manager.shutdown(Duration::from_secs(1)))
                    .await
                    .unwrap();
            }
            End::Value | End::Panic | End::Suspension | End::Timeout => {}
        }

        assert_eq!(notes(&mut feed).await.last().unwrap(), "3", "{end:?}");
    }
}

/// The notes that follow in the feed of a task, up to its end or suspension.
async fn notes(feed: &mut Subscription) -> Vec<String> {
    let mut notes = Vec::new();
    loop {
        let event = sees(feed, |_| true).await;
        if let What::Progress(note) = &event.what {
            notes.push(note.as_json().to_owned());
        } else if ["settled", "suspended"].contains(&event.what.name()) {
            return notes;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn external_task_keeps_its_pace_and_loses_no_newest_note() {
    for end in [
        "complete",
        "fail",
        "cancelled",
        "unregister",
        "cancel",
        "silence",
    ] {
        let manager = Manager::in_memory();
        let task = manager.scope("s").task("build").coalesce_progress(HOUR);
        let task = task.heartbeat_timeout(Duration::from_secs(10));
        let build = task.external().await.unwrap();
        for note in 1..=3 {
            tokio::time::advance(Duration::from_secs(9)).await;
            build.progress(note).await.unwrap();
        }
        match end {
            "complete" => build.complete(7).await.unwrap(),
            "fail" => build.fail(Failure::new("broken")).await.unwrap(),
            "cancelled" => build.cancelled().await.unwrap(),
            "unregister" => build.unregister().await.unwrap(),
            "cancel" => drop(soon(build.cancel(Cancel::because("enough"))).await.unwrap()),
            _ => {}
        }
        let mut feed = feed_of(&manager, build.id()).await;
        assert_eq!(notes(&mut feed).await, ["1", "3"], "{end}");
        let late = build.progress(4).await;
        assert!(
            matches!(late, Err(ExternalError::NotRunning(_))),
            "{late:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn held_note_of_an_external_task_is_told_when_its_interval_is_over() {
    let manager = Manager::builder().progress_interval(Duration::from_secs(5));
    let manager = manager.build().unwrap();
    let build = manager.scope("s").task("build").external().await.unwrap();
    build.progress("first").await.unwrap();
    build.progress("second").await.unwrap();
    build.progress("third").await.unwrap();
    assert_eq!(
        build.record().unwrap().progress.as_ref().unwrap().as_json(),
        "\"first\""
    );

    let mut feed = feed_of(&manager, build.id()).await;
    let third = |what: &What| matches!(what, What::Progress(note) if note.as_json() == "\"third\"");
    sees(&mut feed, |event| third(&event.what)).await;
    let large = build.progress("x".repeat(5_000)).await;
    assert!(matches!(large, Err(ExternalError::Value(_))), "{large:?}");
}

#[tokio::test]
async fn large_output_of_an_external_task_is_kept_out_of_its_event() {
    let manager = Manager::builder().output_inline_max(12).build().unwrap();
    let build = manager.scope("s").task("build").external().await.unwrap();
    build.output("short").await.unwrap();
    build.output("x".repeat(1_000)).await.unwrap();
    build.complete(()).await.unwrap();

    let told = story(&manager, build.id()).await;
    let wanted = ["accepted", "started", "output", "output_kept", "settled"];
    assert_eq!(told, wanted);
}

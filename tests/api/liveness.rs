//! The host is asked whether bodies are alive; on paused time.

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use understory::{
    BuildError, Cause, Context, Failure, Limit, Liveness, Manager, Name, Outcome, Probe, Record,
    Requester, Retry, State,
};

use crate::stage::{for_ever, reaches, soon, until_cancelled};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// A manager that asks once a minute.
fn with(probe: impl Fn(&str, &Probe) -> Liveness + Send + Sync + 'static) -> Manager {
    let probe = move |asked: Probe| {
        let name = asked.record.spec.name.as_ref().map_or("", Name::as_str);
        ready(probe(name, &asked))
    };
    let builder = Manager::builder().liveness(MINUTE, probe);
    builder.grace(SECOND).build().unwrap()
}

fn stuck() -> Liveness {
    Liveness::Stuck("its agent does not answer".into())
}

fn limit(record: &Record) -> Limit {
    match record.outcome.as_deref() {
        Some(Outcome::TimedOut { limit, .. }) => *limit,
        other => panic!("it timed out: {other:?}"),
    }
}

/// How long it ran until it was asked to stop.
fn ran(record: &Record) -> Duration {
    let stop = record.stop.as_ref().unwrap();
    stop.at.since(record.created_at)
}

#[tokio::test(start_paused = true)]
async fn body_that_the_host_finds_stuck_has_timed_out() {
    let manager = with(|name, _| match name {
        "bad" => stuck(),
        _ => Liveness::Unknown,
    });
    let scope = manager.scope("s");
    let good = scope.task("good").spawn(until_cancelled).await.unwrap();
    let bad = scope.task("bad").spawn(for_ever).await.unwrap();

    let record = soon(bad.settled()).await.unwrap();

    assert_eq!(limit(&record), Limit::Liveness);
    let stop = record.stop.as_ref().unwrap();
    assert_eq!(stop.cause, Cause::Timeout(Limit::Liveness));
    assert_eq!(&*stop.reason, "its agent does not answer");
    assert_eq!(stop.by, Requester::Host);
    assert!(ran(&record) >= MINUTE && ran(&record) < MINUTE + SECOND);
    assert_eq!(good.state(), Some(State::Running));
}

#[tokio::test(start_paused = true)]
async fn another_attempt_may_follow_one_that_was_stuck() {
    let manager = with(|_, asked| match asked.record.attempt {
        1 => stuck(),
        _ => Liveness::Unknown,
    });
    let task = manager.scope("s").task("t").retry(Retry::fixed(1, SECOND));
    let task = task.spawn(|ctx| async move {
        if ctx.attempt() == 1 {
            ctx.cancelled().await;
            return Err(Failure::new("it was told to stop"));
        }
        tokio::time::sleep(10 * MINUTE).await;
        Ok(ctx.attempt())
    });

    assert_eq!(task.await.unwrap().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn body_that_the_host_says_is_alive_is_not_idle() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let manager = with(move |name, asked| {
        if name != "human" {
            return Liveness::Unknown;
        }
        let mut heard = heard.lock().unwrap();
        heard.push(asked.silent_for);
        if heard.len() <= 3 {
            Liveness::Alive
        } else {
            Liveness::Unknown
        }
    });
    let scope = manager.scope("s");
    // It is asked about at the end of its own limit, and once in the middle, after a minute.
    let human = scope.task("human").idle_timeout(25 * SECOND);
    let human = human.spawn(for_ever).await.unwrap();
    let other = scope.task("other").idle_timeout(25 * SECOND);
    let other = other.spawn(for_ever).await.unwrap();

    let other = other.settled().await.unwrap();
    assert_eq!((limit(&other), ran(&other).as_secs()), (Limit::Idle, 25));
    let human = human.settled().await.unwrap();
    assert_eq!((limit(&human), ran(&human).as_secs()), (Limit::Idle, 85));
    let asked = asked.lock().unwrap();
    let seconds: Vec<_> = asked.iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [25, 25, 10, 25]);
}

#[tokio::test(start_paused = true)]
async fn stuck_body_is_found_before_its_idle_limit_ends_it() {
    let manager = with(|_, _| stuck());
    let task = manager.scope("s").task("t").idle_timeout(10 * SECOND);
    let task = task.spawn(for_ever).await.unwrap();

    let record = soon(task.settled()).await.unwrap();

    assert_eq!(
        (limit(&record), ran(&record).as_secs()),
        (Limit::Liveness, 10)
    );
}

#[tokio::test(start_paused = true)]
async fn probe_that_panics_or_hangs_stops_nothing() {
    let probe = |asked: Probe| async move {
        match asked.record.spec.name.as_ref().map(Name::as_str) {
            Some("panics") => panic!("a bug of the probe"),
            Some("hangs") => std::future::pending().await,
            _ => stuck(),
        }
    };
    let manager = Manager::builder().liveness(MINUTE, probe).grace(SECOND);
    let manager = manager.build().unwrap();
    let scope = manager.scope("s");
    let mut tasks = Vec::new();
    for (name, idle) in [("panics", 150), ("hangs", 150), ("t", 0)] {
        let task = scope.task(name).idle_timeout(Duration::from_secs(idle));
        tasks.push(task.spawn(for_ever).await.unwrap());
    }

    let mut ends = Vec::new();
    for task in &tasks {
        let record = soon_enough(task.settled()).await;
        ends.push((limit(&record), ran(&record).as_secs()));
    }

    // A probe that hangs is given up after five seconds.
    let late = (Limit::Idle, 155);
    assert_eq!(ends, [(Limit::Idle, 150), late, (Limit::Liveness, 60)]);
    let next = scope.task("next").spawn(for_ever).await.unwrap();
    let record = soon_enough(next.settled()).await;
    assert_eq!(limit(&record), Limit::Liveness);
}

/// Longer than the limits of these tasks.
async fn soon_enough<E: std::fmt::Debug>(
    settled: impl Future<Output = Result<Arc<Record>, E>>,
) -> Arc<Record> {
    let limited = tokio::time::timeout(30 * MINUTE, settled).await;
    limited.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn host_is_asked_about_bodies_that_run() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let manager = with(move |name, asked| {
        let mut heard = heard.lock().unwrap();
        heard.push((name.to_owned(), asked.record.state, asked.task.id()));
        Liveness::Unknown
    });
    let scope = manager.scope("s");
    let runs = scope.task("runs").spawn(for_ever).await.unwrap();
    let parked = scope.task("parked").spawn(|ctx: Context| async move {
        let child = ctx.task("child").spawn(until_cancelled).await?;
        child.settled().await?;
        Ok(())
    });
    let parked = parked.await.unwrap();
    reaches(&manager, parked.id(), State::Waiting).await;
    let suspended = scope.task("suspended").resumable();
    let suspended = suspended.spawn(|ctx| async move { Err::<(), _>(ctx.suspend("why")) });
    let suspended = suspended.await.unwrap();
    reaches(&manager, suspended.id(), State::Suspended).await;
    let later = scope.task("later").after([runs.id()]);
    later.spawn(for_ever).await.unwrap();
    let done = scope
        .task("done")
        .spawn(|_| async { Ok(()) })
        .await
        .unwrap();
    done.settled().await.unwrap();

    tokio::time::sleep(MINUTE + SECOND).await;

    let mut asked = asked.lock().unwrap().clone();
    asked.sort();
    let names = asked.iter().map(|(name, state, _)| (name.as_str(), *state));
    let expected = [
        ("child", State::Running),
        ("parked", State::Waiting),
        ("runs", State::Running),
    ];
    assert!(names.eq(expected), "{asked:?}");
    assert_eq!(asked[2].2, runs.id());
}

#[tokio::test]
async fn interval_of_nothing_is_refused() {
    let probe = |_: Probe| async { Liveness::Unknown };
    let built = Manager::builder().liveness(Duration::ZERO, probe).build();
    assert!(matches!(built, Err(BuildError::Zero(_))));
}

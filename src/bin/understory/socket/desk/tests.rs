//! Who has room for a request, whatever others do.

use super::*;
use crate::socket::protocol::{Counts, Quorum};

/// What is held by one whose request is under way.
type Held = (mpsc::Receiver<Said>, Arc<Place>);

fn wait() -> Verb {
    Verb::Wait {
        targets: vec!["docs".to_owned()],
        quorum: Quorum::All,
        counts: Counts::Settled,
        timeout_ms: None,
    }
}

fn show() -> Verb {
    let target = "docs".to_owned();
    Verb::Show { target }
}

/// That of a run which this process does not belong to, whoever it is below.
fn desk_of_another() -> Desk {
    Desk {
        run: Pid::from_raw(i32::MAX).expect("it is a number"),
        ..Desk::new(PathBuf::new())
    }
}

fn own_number() -> i32 {
    getpid().as_raw_nonzero().get()
}

/// Asks so as a process of this task, or as the user.
async fn ask(desk: &Desk, voice: &mut Voice, verb: Verb) -> Result<(Held, Call), String> {
    let token = Some(voice.token()).filter(|token| !token.is_empty());
    let caller = desk.identify(token, Some(own_number())).await?;
    let held = caller.call(verb).await?;
    Ok((held, voice.next().await))
}

/// As many requests that wait as are taken.
async fn fill(desk: &Desk, voice: &mut Voice) -> Vec<(Held, Call)> {
    let mut taken = Vec::new();
    while let Ok(one) = ask(desk, voice, wait()).await {
        taken.push(one);
    }
    taken
}

#[tokio::test]
async fn whoever_waits_for_much_can_still_act() {
    let desk = desk_of_another();
    let (mut task, mut user) = (desk.admit(), desk.admit_user(None));
    task.comes_from(Some(getpid()));
    for voice in [&mut task, &mut user] {
        let waiting = fill(&desk, voice).await;
        assert_eq!(waiting.len(), CALLS_MAX);
        let mut acting = Vec::new();
        for _ in 0..RESERVE {
            acting.push(ask(&desk, voice, show()).await.expect("it is reserved"));
        }
        let refused = ask(&desk, voice, show()).await.map(drop);
        assert!(refused.is_err_and(|why| why.contains("32 requests of this caller")));
    }
}

#[tokio::test]
async fn requests_of_tasks_that_wait_keep_nobody_from_acting_nor_the_user_from_waiting() {
    let desk = desk_of_another();
    let (mut waiting, mut voices) = (Vec::new(), Vec::new());
    while waiting.len() < CALLS_OF_TASKS_MAX {
        let mut voice = desk.admit();
        voice.comes_from(Some(getpid()));
        waiting.extend(fill(&desk, &mut voice).await);
        voices.push(voice);
    }
    let (mut late, mut user) = (desk.admit(), desk.admit_user(None));
    late.comes_from(Some(getpid()));

    let refused = ask(&desk, &mut late, wait()).await.map(drop);
    assert!(refused.is_err_and(|why| why.contains("512 requests of tasks")));
    assert!(ask(&desk, &mut late, show()).await.is_ok());
    assert!(ask(&desk, &mut user, wait()).await.is_ok());
    assert!(ask(&desk, &mut user, show()).await.is_ok());
}

#[tokio::test]
async fn user_who_is_not_answered_is_told_that_the_run_has_ended_and_what_tells_of_it() {
    let desk = desk_of_another();
    for (file, told) in [
        (None, "the run has ended"),
        (
            Some(Path::new("run.db")),
            "the run has ended; `understory events --db run.db` tells what happened",
        ),
    ] {
        let user = desk.admit_user(file);
        let caller = desk
            .identify(None, Some(own_number()))
            .await
            .expect("it is the user");
        assert_eq!(&*caller.over(), told);
        drop(user);
        assert_eq!(caller.call(show()).await.err().as_deref(), Some(told));
    }
}

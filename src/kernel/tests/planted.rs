//! The world still sees every planted bug: a checker that cannot fail proves nothing.
//!
//! The kernel is not audited from within here: the promises themselves must catch what breaks them.

use std::panic;

use super::seeds::run;
use super::world::{Options, ShellBug};
use crate::kernel::Bug;

/// How many seeds a bug may survive.
const SEEDS_MAX: u64 = 3_000;

fn is_seen(options: Options) {
    for seed in 0..SEEDS_MAX {
        if run(seed, options).result.is_err() {
            return;
        }
    }
    panic!("{options:?} survived {SEEDS_MAX} seeds");
}

fn kernel(bug: Bug) {
    let bug = Some(bug);
    let options = Options::default();
    is_seen(Options { bug, ..options });
}

fn shell(bug: ShellBug) {
    let shell_bug = Some(bug);
    let options = Options::default();
    is_seen(Options {
        shell_bug,
        ..options
    });
}

macro_rules! planted {
    ($($name:ident: $plant:ident($bug:expr);)*) => {
        $(#[test] fn $name() { $plant($bug); })*
    };
}

planted! {
    p13_the_world_still_sees_no_fence: kernel(Bug::NoFence);
    p5_the_world_still_sees_spawn_below_closed: kernel(Bug::SpawnBelowClosed);
    p16_the_world_still_sees_slot_freed_early: kernel(Bug::SlotFreedEarly);
    p5_the_world_still_sees_parent_settles_first: kernel(Bug::ParentSettlesFirst);
    p3_the_world_still_sees_seq_gap: kernel(Bug::SeqGap);
    p4_the_world_still_sees_cancel_unanswered: kernel(Bug::CancelUnanswered);
    p4_the_world_still_sees_retry_after_cancel: kernel(Bug::RetryAfterCancel);
    p7_the_world_still_sees_name_freed_early: kernel(Bug::NameFreedEarly);
    p16_the_world_still_sees_one_too_many: kernel(Bug::OneTooMany);
    the_world_still_sees_dependency_ignored: kernel(Bug::DependencyIgnored);
    p2_the_world_still_sees_end_changes: kernel(Bug::EndChanges);
    p6_the_world_still_sees_elder_first: kernel(Bug::ElderFirst);
    p14_the_world_still_sees_attempt_not_counted: kernel(Bug::AttemptNotCounted);
    p17_the_world_still_sees_key_not_bound: kernel(Bug::KeyNotBound);
    p24_the_world_still_sees_resume_lost: kernel(Bug::ResumeLost);
    p24_the_world_still_sees_answer_lost: kernel(Bug::AnswerLost);
    p14_the_world_still_sees_restarted_too_often: kernel(Bug::RestartedTooOften);
    p1_the_world_still_sees_message_lost: kernel(Bug::MessageLost);
    p26_the_world_still_sees_hook_skipped: kernel(Bug::HookSkipped);
    p2_the_world_still_sees_given_up_runs_again: kernel(Bug::GivenUpRunsAgain);
    p26_the_world_still_sees_hooks_get_no_time: kernel(Bug::HooksGetNoTime);
    p18_the_world_still_sees_grace_ignored: kernel(Bug::GraceIgnored);
    p5_the_world_still_sees_family_torn: kernel(Bug::FamilyTorn);
    p16_the_world_still_sees_slot_not_moved: kernel(Bug::SlotNotMoved);
    the_world_still_sees_closed_takes_more: kernel(Bug::ClosedTakesMore);
    the_world_still_sees_policy_not_handed_down: kernel(Bug::PolicyNotHandedDown);
    p13_the_world_still_sees_epochs_start_again: kernel(Bug::EpochsStartAgain);
    p17_the_world_still_sees_flight_not_taken: kernel(Bug::FlightNotTaken);
    p17_the_world_still_sees_window_ignored: kernel(Bug::WindowIgnored);
    p4_the_world_still_sees_run_takes_more: kernel(Bug::RunTakesMore);
    p4_the_world_still_sees_now_waits: kernel(Bug::NowWaits);
    p4_the_world_still_sees_below_not_given_up: kernel(Bug::BelowNotGivenUp);
    p2_the_world_still_sees_removed_early: kernel(Bug::RemovedEarly);
    p16_the_world_still_sees_kept_too_long: kernel(Bug::KeptTooLong);
    p4_the_world_still_sees_callback_awaited: kernel(Bug::CallbackAwaited);
    p13_the_world_still_sees_earlier_life_heard: kernel(Bug::EarlierLifeHeard);
    the_world_still_sees_host_ignored: kernel(Bug::HostIgnored);
    p1_the_world_still_sees_answer_before_durable: shell(ShellBug::AnswerBeforeDurable);
    p3_the_world_still_sees_event_before_record: shell(ShellBug::EventBeforeRecord);
    p3_the_world_still_sees_batches_reordered: shell(ShellBug::BatchesReordered);
}

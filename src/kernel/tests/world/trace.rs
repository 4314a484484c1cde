//! What happened, in few words, for people who read a failed seed.

use std::fmt::Write;

use crate::kernel::{Effect, Input, Spec, Step};

/// An input without what every spec has.
pub(super) fn input(input: &Input) -> String {
    if let Input::Spawn {
        ticket,
        id,
        spec,
        by,
        reuse: _,
    } = input
    {
        return format!("Spawn {ticket:?} {id} by {by:?}: {}", self::spec(spec));
    }
    if let Input::Undelivered { record, count } = input {
        return format!("Undelivered {} {count}", record.id);
    }
    format!("{input:?}")
}

fn spec(spec: &Spec) -> String {
    let plain = Spec::new(spec.scope.clone());
    let mut text = format!("{} {:?}", spec.scope, spec.origin);
    let mut say = |differs: bool, what: String| {
        if differs {
            let _ = write!(text, ", {what}");
        }
    };
    say(spec.name != plain.name, format!("name {:?}", spec.name));
    say(spec.key != plain.key, format!("key {:?}", spec.key));
    say(spec.kind != plain.kind, format!("kind {:?}", spec.kind));
    say(
        spec.parent != plain.parent,
        format!("parent {:?}", spec.parent),
    );
    say(spec.after != plain.after, format!("after {:?}", spec.after));
    say(
        spec.limits != plain.limits,
        format!("limits {:?}", spec.limits),
    );
    say(spec.retry != plain.retry, format!("{:?}", spec.retry));
    say(spec.restart.is_some(), format!("{:?}", spec.restart));
    say(
        spec.timeout != plain.timeout,
        format!("timeout {:?}", spec.timeout),
    );
    let idle = spec.idle_timeout;
    say(idle != plain.idle_timeout, format!("idle {idle:?}"));
    let limits = (spec.lifetime, spec.queue_timeout, spec.suspend_timeout);
    let none = (None, None, None);
    say(
        limits != none,
        format!("lifetime, queue, suspension {limits:?}"),
    );
    say(spec.grace != plain.grace, format!("grace {:?}", spec.grace));
    let policy = spec.on_parent_end;
    say(
        policy != plain.on_parent_end,
        format!("on parent end {policy:?}"),
    );
    let stop = spec.stop_policy;
    say(stop != plain.stop_policy, format!("{stop:?}"));
    let late = spec.late_success;
    say(late != plain.late_success, format!("late {late:?}"));
    text
}

/// A step without its records, whose gist is in the events.
pub(super) fn step(step: &Step) -> String {
    let mut text = String::new();
    for event in &step.events {
        let _ = write!(
            text,
            "\n    {} {} {:?} = {}",
            event.seq, event.task, event.what, event.state
        );
    }
    for effect in &step.effects {
        if !matches!(effect, Effect::Close(_) | Effect::Forget(_)) {
            let _ = write!(text, "\n    {effect:?}");
        }
    }
    text
}

//! The inputs that task number 1 can meet, each with the state that it leads to in each situation.

use std::sync::Arc;
use std::time::Duration;

use super::super::bed::{Bed, SECOND, ask, done, fault, id, json, scope};
use crate::kernel::{
    Control, Counter, Effect, End, Epoch, FaultKind, Grant, GrantChange, Hosts, Input, Note,
    Origin, Reuse, Spec, State, Target, Wait,
};

type Row = (&'static str, fn(&mut Bed), &'static str);
type Verb = fn(&mut Bed) -> Vec<Effect>;

/// One row of the grid each.
#[rustfmt::skip]
pub(super) const INPUTS: [Row; 58] = [
    ("a child is asked for",       |b| { b.spawn(5, |spec| spec.parent = Some(id(1))); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("its body asks for a child",  spawn_by_body,
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("its body ends well",         |b| { b.end(1, done()); },
        "pppppp CCwpF Cwwww ss QQTqqQqqq CFTQIQQ"),
    ("its body fails",             |b| { b.end(1, fault(FaultKind::Error)); },
        "pppppp pFwpF pwwww ss QQpqqQqqq CFTQIQQ"),
    ("its body fails for good",    |b| { b.end(1, fault(FaultKind::Permanent)); },
        "pppppp FFwFF Fwwww ss QQTqqQqqq CFTQIQQ"),
    ("its body panics",            |b| { b.end(1, fault(FaultKind::Panic)); },
        "pppppp pFwpF pwwww ss QQpqqQqqq CFTQIQQ"),
    ("its body is lost",           |b| { b.end(1, fault(FaultKind::Lost)); },
        "pppppp pIwpF pwwww ss QQpqqQqqq CFTQIQQ"),
    ("its body suspends",          |b| { b.end(1, End::Suspended(json("1"))); },
        "pppppp sssss sswww ss QQpqqQqqq CFTQIQQ"),
    ("its body was dropped",       |b| { b.end(1, End::Aborted); },
        "pppppp IIwII Iwwww ss QQpqqQqqq CFTQIQQ"),
    ("its body parks",             |b| { b.park(1, 6, Some(Wait::Parked)); },
        "pppppp wwwww wwwww ss qqqqqqqqq CFTQIQQ"),
    ("its body goes on",           |b| { b.park(1, 6, None); },
        "pppppp rrrrr rrwww ss qqqqqqqqq CFTQIQQ"),
    ("its body says something",    |b| { b.say(1, "\"half\""); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("it was active just now",     |b| { active(b, Duration::ZERO); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("it was idle for too long",   |b| { active(b, Duration::from_mins(11)); },
        "pppppp qqqqq wwwww ss qqqqqqqqq CFTQIQQ"),
    ("the host finds it stuck",    |b| { b.stuck(1); },
        "pppppp qqqqq qqwww ss qqqqqqqqq CFTQIQQ"),
    ("its child ends well",        |b| { b.end_if(2, done()); },
        "pppppp rrrrr wwCpw ss qqqqpqQQq CFTQIQQ"),
    ("its child fails",            |b| { b.end_if(2, fault(FaultKind::Error)); },
        "pppppp rrrrr wwCpw ss qqqqpqQQq CFTQIQQ"),
    ("its child is cancelled",     |b| { b.cancel_one(2); b.end_if(2, End::Aborted); },
        "pppppp rrrrr wwCpw ss qqqqpqQQq CFTQIQQ"),
    ("who is before it completes", |b| { b.end_if(9, done()); },
        "rrrppr rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("who is before it fails",     |b| { b.end_if(9, fault(FaultKind::Error)); },
        "QQrppr rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("it is cancelled",            |b| { b.cancel_one(1); },
        "QQQQQQ qqqqq qqqqw Qq qqqqqqqqq CFTQIQQ"),
    ("it is cancelled at once",    at_once,
        "QQQQQQ QQqQQ QqqqC Qq QQQqqQqqQ CFTQIQQ"),
    ("it is cancelled now",        |b| { now(b, Target::One(id(1))); },
        "QQQQQQ QQqQQ QqqqC Qq QQQqqQqqQ CFTQIQQ"),
    ("its tree is cancelled now",  |b| { now(b, Target::Tree(id(1))); },
        "QQQQQQ QQQQQ QQQQC QQ QQQQQQQQQ CFTQIQQ"),
    ("somebody gives up on it",    |b| { b.abandon(1); },
        "pppppp rrrrr wwwww ss QQTqqQqqQ CFTQIQQ"),
    ("it is given up, and all end", all_end_late,
        "pppppp pFppF ppCpw ss QQTTpQQQQ CFTQIQQ"),
    ("its tree is cancelled",      |b| { b.cancel_tree(1); },
        "QQQQQQ qqqqq qqqqw Qq qqqqqqqqq CFTQIQQ"),
    ("its scope is cancelled",     |b| { b.cancel(Target::Scope(scope("s")), None); },
        "QQQQQQ qqqqq qqqqw Qq qqqqqqqqq CFTQIQQ"),
    ("another scope is cancelled", |b| { b.cancel(Target::Scope(scope("t")), None); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("everything is cancelled",    |b| { b.cancel(Target::All, None); },
        "QQQQQQ qqqqq qqqqw Qq qqqqqqqqq CFTQIQQ"),
    ("the manager shuts down",     |b| { b.shutdown(); },
        "QQQQQQ qqqqq qqqqw Qq qqqqqqqqq CFTQIQQ"),
    ("somebody resumes it",        |b| { b.resume(1, "3"); },
        "pppppp rrrrr wwwww rr qqqqqqqqq CFTQIQQ"),
    ("somebody tries to resume it", |b| { b.try_resume(1, "3"); },
        "pppppp rrrrr wwwww rr qqqqqqqqq CFTQIQQ"),
    ("its body asks something",    |b| { b.ask(1, "k"); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("its question is answered",   |b| { b.ask(1, "k"); b.respond(1, "k", "2"); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("it is answered unasked",     |b| { b.respond(1, "k", "2"); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("it awaits an answer",        |b| { b.ask(1, "k"); b.park(1, 6, Some(Wait::Answer)); },
        "pppppp wwwww wwwww ss qqqqqqqqq CFTQIQQ"),
    ("it is interrupted",          |b| { b.interrupt(1); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("a durable message comes, and is done with",
        |b| { b.message(1, 40); b.acknowledge(1, 40); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("no time passes",             |b| { b.pass(Duration::ZERO); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("a second passes",            |b| { b.pass(SECOND); },
        "ppprrp rrrrr wwwww ss qqqqqQqqq CFTQIQQ"),
    ("ten seconds pass",           |b| { b.pass(10 * SECOND); },
        "ppprrp rrrrr wwwwC ss qqqqqQqqQ CFTQIQQ"),
    ("ten seconds pass, and ten",  |b| { b.pass(10 * SECOND); b.pass(10 * SECOND); },
        "ppprrp rrrrr wwwwC ss QQTqqQqqQ CFTQIQQ"),
    ("an hour passes",             |b| { b.pass(Duration::from_hours(1)); },
        "ppprrp qqqqq qqwwC ss qqqqqQqqQ CFTQIQQ"),
    ("a wait of two hours is over", |b| { b.pass(Duration::from_hours(2)); },
        "ppTrrT qqqqq qqwwC Tq qqqqqQqqQ CFTQIQQ"),
    ("its whole time is over",     |b| { b.pass(Duration::from_hours(4)); },
        "TTTTTT qqqqq qqqqC Tq qqqqqQqqQ CFTQIQQ"),
    ("it died until that was over", died_long_ago,
        "QQTTTT TITTF TTCTw TT QQTTTQQQq CFTQIQQ"),
    ("messages were left",         undelivered,
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("its run is cancelled",       |b| { b.cancel(Target::Run("a".into()), None); },
        "QQQQQQ qqqqq qqqqw Qq qqqqqqqqq CFTQIQQ"),
    ("its budget is used up",      used_up,
        "pppppp qqqqq qqwww ss qqqqqqqqq CFTQIQQ"),
    ("its scope is closed",        close,
        "QQQQQQ qqqqq qqqqw Qq qqqqqqqqq CFTQIQQ"),
    ("it is granted to another scope", granted,
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("a scope that may cancels it", cancelled_by_grant,
        "QQQQQQ qqqqq qqqqw Qq qqqqqqqqq CFTQIQQ"),
    ("it is moved elsewhere",      moved,
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("its id is asked for again",  |b| { b.spawn(1, |_| {}); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
    ("its id is used again",       |b| { b.reuse(1); },
        "pppppp rrrrr wwwww ss qqqqqqqqq rrrrrQQ"),
    ("its hooks are over",         |b| { b.hooks_over(1, &["one failed"]); },
        "pppppp rrrrr wwwwC ss qqqqqqqqQ CFTQIQQ"),
    ("its executor goes and comes", |b| { b.host(Hosts::Nothing); b.host(Hosts::All); },
        "pppppp rrrrr wwwww ss qqqqqqqqq CFTQIQQ"),
];

/// What must change nothing in any situation.
pub(super) const STALE: [Verb; 8] = [
    |b| report(b, Epoch(0)),
    |b| {
        let newer = b.epoch(1).next();
        report(b, newer)
    },
    |b| {
        let (id, epoch, note) = (id(1), b.epoch(1).next(), Note::Output(json("1")));
        b.step(Input::Said { id, epoch, note })
    },
    |b| {
        let (id, epoch) = (id(1), b.epoch(1).next());
        let (turn, on) = (99, Some(Wait::Parked));
        b.step(Input::Parked {
            id,
            epoch,
            turn,
            on,
        })
    },
    |b| b.park(1, 0, Some(Wait::Parked)),
    |b| {
        let (id, epoch, at) = (id(1), b.epoch(1).next(), b.now);
        b.step(Input::Active { id, epoch, at })
    },
    |b| {
        let (id, epoch, reason) = (id(1), b.epoch(1).next(), "it is stuck".into());
        b.step(Input::Stuck { id, epoch, reason })
    },
    |b| {
        let unknown = id(77);
        b.step(Input::Report {
            id: unknown,
            epoch: Epoch(1),
            end: done(),
            undelivered: 0,
        })
    },
];

fn report(bed: &mut Bed, epoch: Epoch) -> Vec<Effect> {
    let (id, undelivered) = (id(1), 0);
    bed.step(Input::Report {
        id,
        epoch,
        end: done(),
        undelivered,
    })
}

fn all_end_late(bed: &mut Bed) {
    bed.abandon(1);
    bed.end(1, fault(FaultKind::Error));
    bed.end_if(2, done());
}

fn spawn_by_body(bed: &mut Bed) {
    let mut spec = Spec::new(scope("s"));
    spec.origin = Origin::Executor;
    spec.parent = Some(id(1));
    let by = Some((id(1), bed.epoch(1)));
    let (ticket, spec, id) = (bed.ticket(), Arc::new(spec), id(6));
    bed.step(Input::Spawn {
        ticket,
        id,
        spec,
        by,
        reuse: Reuse::Refused,
    });
}

fn close(bed: &mut Bed) {
    let (ticket, scope, ask) = (bed.ticket(), scope("s"), ask(None));
    let ask = Control::Close {
        scope,
        ask,
        only_if_idle: false,
    };
    bed.step(Input::Control { ticket, ask });
}

fn granted(bed: &mut Bed) {
    let (to, grant) = (scope("t"), Grant::Cancel);
    let (ticket, change) = (bed.ticket(), GrantChange::Give { to, grant });
    let ask = Control::Grant { id: id(1), change };
    bed.step(Input::Control { ticket, ask });
}

fn cancelled_by_grant(bed: &mut Bed) {
    granted(bed);
    bed.cancel(Target::TreeFor(scope("t"), id(1)), None);
}

fn moved(bed: &mut Bed) {
    let (ticket, ids, to) = (bed.ticket(), vec![id(1)], scope("t"));
    let ask = Control::Transfer { ids, to };
    bed.step(Input::Control { ticket, ask });
}

fn used_up(bed: &mut Bed) {
    let (ticket, id, epoch) = (bed.ticket(), id(1), bed.epoch(1));
    let counter = Counter::new("tokens").expect("a valid counter");
    let ask = Control::Charge {
        id,
        epoch,
        counter,
        amount: 101,
    };
    bed.step(Input::Control { ticket, ask });
}

fn now(bed: &mut Bed, target: Target) {
    let (ticket, mut ask) = (bed.ticket(), ask(None));
    ask.now = true;
    bed.step(Input::Cancel {
        ticket,
        target,
        ask,
    });
}

fn at_once(bed: &mut Bed) {
    bed.cancel(Target::One(id(1)), Some(Duration::ZERO));
    bed.pass(SECOND);
    bed.pass(SECOND);
}

fn active(bed: &mut Bed, ago: Duration) {
    let (id, epoch) = (id(1), bed.epoch(1));
    let at = bed.now;
    if bed.state(1) == State::Running {
        // The kernel asks first; until then nobody answers.
        bed.now = bed.now.after(Duration::from_mins(12));
        bed.step(Input::Tick);
    }
    let at = if ago == Duration::ZERO { bed.now } else { at };
    bed.step(Input::Active { id, epoch, at });
}

fn died_long_ago(bed: &mut Bed) {
    bed.now = bed.now.after(Duration::from_hours(4));
    bed.crash();
}

fn undelivered(bed: &mut Bed) {
    if bed.state(1).is_terminal() {
        let (record, count) = (Arc::new(bed.record(1).clone()), 2);
        bed.step(Input::Undelivered { record, count });
        assert_eq!(bed.record(1).undelivered, 2);
    }
}

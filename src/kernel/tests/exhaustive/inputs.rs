//! The inputs that task number 1 can meet, each with the state that it leads to in each situation.

use std::sync::Arc;
use std::time::Duration;

use super::super::bed::{Bed, SECOND, ask, done, fault, id, json, scope};
use crate::kernel::{
    Control, Counter, Effect, End, Epoch, FaultKind, Hosts, Input, Note, Origin, Reuse, Spec,
    State, Target, Wait,
};

type Row = (&'static str, fn(&mut Bed), &'static str);
type Verb = fn(&mut Bed) -> Vec<Effect>;

/// One row of the grid each.
#[rustfmt::skip]
pub(super) const INPUTS: [Row; 52] = [
    ("a child is asked for",       |b| { b.spawn(5, |spec| spec.parent = Some(id(1))); },
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("its body asks for a child",  spawn_by_body,
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("its body ends well",         |b| { b.end(1, done()); },
        "pppppp CCwpF Cwww ss XXTqXqq CFTXIXX"),
    ("its body fails",             |b| { b.end(1, fault(FaultKind::Error)); },
        "pppppp pFwpF pwww ss XXpqXqq CFTXIXX"),
    ("its body fails for good",    |b| { b.end(1, fault(FaultKind::Permanent)); },
        "pppppp FFwFF Fwww ss XXTqXqq CFTXIXX"),
    ("its body panics",            |b| { b.end(1, fault(FaultKind::Panic)); },
        "pppppp pFwpF pwww ss XXpqXqq CFTXIXX"),
    ("its body is lost",           |b| { b.end(1, fault(FaultKind::Lost)); },
        "pppppp pIwpF pwww ss XXpqXqq CFTXIXX"),
    ("its body suspends",          |b| { b.end(1, End::Suspended(json("1"))); },
        "pppppp sssss ssww ss XXpqXqq CFTXIXX"),
    ("its body was dropped",       |b| { b.end(1, End::Aborted); },
        "pppppp IIwII Iwww ss XXpqXqq CFTXIXX"),
    ("its body parks",             |b| { b.park(1, 6, Some(Wait::Parked)); },
        "pppppp wwwww wwww ss qqqqqqq CFTXIXX"),
    ("its body goes on",           |b| { b.park(1, 6, None); },
        "pppppp rrrrr rrww ss qqqqqqq CFTXIXX"),
    ("its body says something",    |b| { b.say(1, "\"half\""); },
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("it was active just now",     |b| { active(b, Duration::ZERO); },
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("it was idle for too long",   |b| { active(b, Duration::from_mins(11)); },
        "pppppp qqqqq wwww ss qqqqqqq CFTXIXX"),
    ("its child ends well",        |b| { b.end_if(2, done()); },
        "pppppp rrrrr wwCp ss qqqpqXX CFTXIXX"),
    ("its child fails",            |b| { b.end_if(2, fault(FaultKind::Error)); },
        "pppppp rrrrr wwCp ss qqqpqXX CFTXIXX"),
    ("its child is cancelled",     |b| { b.cancel_one(2); b.end_if(2, End::Aborted); },
        "pppppp rrrrr wwCp ss qqqpqXX CFTXIXX"),
    ("who is before it completes", |b| { b.end_if(9, done()); },
        "rrrppr rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("who is before it fails",     |b| { b.end_if(9, fault(FaultKind::Error)); },
        "XXrppr rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("it is cancelled",            |b| { b.cancel_one(1); },
        "XXXXXX qqqqq qqqq Xq qqqqqqq CFTXIXX"),
    ("it is cancelled at once",    at_once,
        "XXXXXX XXqXX Xqqq Xq XXXqXqq CFTXIXX"),
    ("it is cancelled now",        |b| { now(b, Target::One(id(1))); },
        "XXXXXX XXqXX Xqqq Xq XXXqXqq CFTXIXX"),
    ("its tree is cancelled now",  |b| { now(b, Target::Tree(id(1))); },
        "XXXXXX XXXXX XXXX XX XXXXXXX CFTXIXX"),
    ("somebody gives up on it",    |b| { b.abandon(1); },
        "pppppp rrrrr wwww ss XXTqXqq CFTXIXX"),
    ("its tree is cancelled",      |b| { b.cancel_tree(1); },
        "XXXXXX qqqqq qqqq Xq qqqqqqq CFTXIXX"),
    ("its scope is cancelled",     |b| { b.cancel(Target::Scope(scope("s")), None); },
        "XXXXXX qqqqq qqqq Xq qqqqqqq CFTXIXX"),
    ("another scope is cancelled", |b| { b.cancel(Target::Scope(scope("t")), None); },
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("everything is cancelled",    |b| { b.cancel(Target::All, None); },
        "XXXXXX qqqqq qqqq Xq qqqqqqq CFTXIXX"),
    ("the manager shuts down",     |b| { b.shutdown(); },
        "XXXXXX qqqqq qqqq Xq qqqqqqq CFTXIXX"),
    ("somebody resumes it",        |b| { b.resume(1, "3"); },
        "pppppp rrrrr wwww rr qqqqqqq CFTXIXX"),
    ("somebody tries to resume it", |b| { b.try_resume(1, "3"); },
        "pppppp rrrrr wwww rr qqqqqqq CFTXIXX"),
    ("its body asks something",    |b| { b.ask(1, "k"); },
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("its question is answered",   |b| { b.ask(1, "k"); b.respond(1, "k", "2"); },
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("it is answered unasked",     |b| { b.respond(1, "k", "2"); },
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("it awaits an answer",        |b| { b.ask(1, "k"); b.park(1, 6, Some(Wait::Answer)); },
        "pppppp wwwww wwww ss qqqqqqq CFTXIXX"),
    ("it is interrupted",          |b| { b.interrupt(1); },
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("no time passes",             |b| { b.pass(Duration::ZERO); },
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("a second passes",            |b| { b.pass(SECOND); },
        "ppprrp rrrrr wwww ss qqqqXqq CFTXIXX"),
    ("ten seconds pass",           |b| { b.pass(10 * SECOND); },
        "ppprrp rrrrr wwww ss qqqqXqq CFTXIXX"),
    ("ten seconds pass, and ten",  |b| { b.pass(10 * SECOND); b.pass(10 * SECOND); },
        "ppprrp rrrrr wwww ss XXTqXqq CFTXIXX"),
    ("an hour passes",             |b| { b.pass(Duration::from_hours(1)); },
        "ppprrp qqqqq qqww ss qqqqXqq CFTXIXX"),
    ("a wait of two hours is over", |b| { b.pass(Duration::from_hours(2)); },
        "ppTrrT qqqqq qqww Tq qqqqXqq CFTXIXX"),
    ("its whole time is over",     |b| { b.pass(Duration::from_hours(4)); },
        "TTTTTT qqqqq qqqq Tq qqqqXqq CFTXIXX"),
    ("it died until that was over", died_long_ago,
        "XXTTTT TITTF TTCT TT XXTTXXX CFTXIXX"),
    ("messages were left",         undelivered,
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("its run is cancelled",       |b| { b.cancel(Target::Run("a".into()), None); },
        "XXXXXX qqqqq qqqq Xq qqqqqqq CFTXIXX"),
    ("its budget is used up",      used_up,
        "pppppp qqqqq qqww ss qqqqqqq CFTXIXX"),
    ("its scope is closed",        close,
        "XXXXXX qqqqq qqqq Xq qqqqqqq CFTXIXX"),
    ("it is moved elsewhere",      moved,
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("its id is asked for again",  |b| { b.spawn(1, |_| {}); },
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
    ("its id is used again",       |b| { b.reuse(1); },
        "pppppp rrrrr wwww ss qqqqqqq rrrrrXX"),
    ("its executor goes and comes", |b| { b.host(Hosts::Nothing); b.host(Hosts::All); },
        "pppppp rrrrr wwww ss qqqqqqq CFTXIXX"),
];

/// What must change nothing in any situation.
pub(super) const STALE: [Verb; 7] = [
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

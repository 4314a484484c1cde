//! Whether a failure is worth another attempt, in the words of those who know its meaning.
//!
//! # Invariants
//! 1. A classifier runs in the task of the attempt, after its body was dropped and before its end
//!    is reported: while it thinks, the attempt still runs for everybody else, within its limits.
//! 2. It is asked only when another attempt may follow for all that the attempt knows. One that
//!    panics allows none, and is logged.
//!
//! *Not here*: how many attempts there are and when the next one starts (`kernel`).

use std::sync::Arc;

use super::failure::cut;
use super::live::Live;
use super::unwind::catch_call;
use crate::kernel::{Cause, End, Fault, FaultKind, Stop};

/// Says whether a failure is worth another attempt.
pub(crate) type Classifier = Arc<dyn Fn(&Fault) -> bool + Send + Sync>;

/// Makes an end final that a classifier finds to be so.
pub(super) fn judge(end: End, stop: Option<&Stop>, live: &Live, classifiers: &[Classifier]) -> End {
    let Some(fault) = in_question(&end, stop) else {
        return end;
    };
    for classifier in classifiers {
        match catch_call(|| classifier(&fault)) {
            Ok(true) => {}
            Ok(false) => return last_word(fault.to_string()),
            Err(panic) => {
                tracing::warn!(task = %live.id, panic, "what judges its failures panicked");
                return last_word(format!(
                    "{fault}; what judges its failures panicked: {panic}"
                ));
            }
        }
    }
    end
}

/// The failure that another attempt may follow.
fn in_question(end: &End, stop: Option<&Stop>) -> Option<Fault> {
    let limit = match stop.map(|stop| stop.cause) {
        Some(Cause::Timeout(limit)) => Some(limit),
        Some(_) => return None,
        None => None,
    };
    match (end, limit) {
        (End::Done(_), _) | (End::Suspended(_) | End::Aborted, None) => None,
        (End::Failed(fault), _) if matches!(fault.kind, FaultKind::Permanent | FaultKind::Lost) => {
            None
        }
        (End::Failed(fault), None) => Some(fault.clone()),
        (End::Failed(_) | End::Suspended(_) | End::Aborted, Some(limit)) => Some(Fault {
            kind: FaultKind::Timeout,
            message: limit.reason().into(),
        }),
    }
}

fn last_word(message: String) -> End {
    End::Failed(Fault {
        kind: FaultKind::Permanent,
        message: cut(message).into(),
    })
}

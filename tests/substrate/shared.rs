//! S10, S11 and S13: mailboxes, output ports and names.
//!
//! Not here: the process-wide lock behind `link` and `unlink`, the third thing that S13 found; it
//! can be read in ractor's source and shows in the benchmarks, but nothing of it can be counted.

use ractor::{Actor, ActorRef, OutputPort, SpawnErr, registry};
use tokio::sync::mpsc;

use crate::puppet::{Note, Puppet, note, supervisor};

const FLOOD: usize = 1_000_000;

/// Consequence: permits of ours stand in front of every mailbox that many can send to.
#[tokio::test]
async fn s10_mailbox_is_unbounded() {
    let (actor, join) = Puppet::default().spawn().await;

    // The runtime has one thread and this test never yields: the actor handles none of these.
    let accepted = (0..FLOOD)
        .filter(|_| actor.cast(note(async {})).is_ok())
        .count();

    assert_eq!(accepted, FLOOD);
    actor.kill();
    join.await.expect("the actor ends in order");
}

/// The port is a `broadcast` of ten, rounded up to sixteen by tokio; who lags is told nothing.
///
/// Consequence: the feed never goes through an `OutputPort`.
#[tokio::test]
async fn s11_output_port_loses_messages_silently() {
    const SENT: usize = 1_000;
    let (actor, _) = Puppet::default().spawn().await;
    let (tells, mut told) = mpsc::unbounded_channel();
    let port = OutputPort::<usize>::default();
    port.subscribe(actor, move |number| {
        let tells = tells.clone();
        Some(note(async move {
            let _ = tells.send(number);
        }))
    });

    (0..SENT).for_each(|number| port.send(number));

    let mut received = Vec::new();
    while received.last() != Some(&(SENT - 1)) {
        received.push(told.recv().await.expect("the subscriber lives"));
    }
    assert_eq!(received, (SENT - 16..SENT).collect::<Vec<_>>());
}

async fn spawn_named(name: &str, below: &ActorRef<Note>) -> Result<ActorRef<Note>, SpawnErr> {
    let (name, below) = (Some(name.to_owned()), below.get_cell());
    let (actor, _) = Actor::spawn_linked(name, Puppet::default(), Box::new(()), below).await?;
    Ok(actor)
}

/// Consequence: no task is ever named in ractor; names are ours and belong to a scope.
#[tokio::test]
async fn s13_two_managers_share_one_space_of_names() {
    const NAME: &str = "s13_two_managers_share_one_space_of_names";
    let (one, _, _one_ear) = supervisor().await;
    let (other, _, _other_ear) = supervisor().await;
    let first = spawn_named(NAME, &one).await.expect("the name is free");

    let second = spawn_named(NAME, &other).await;

    assert!(matches!(second, Err(SpawnErr::ActorAlreadyRegistered(name)) if name == NAME));
    assert_eq!(registry::where_is(NAME), Some(first.get_cell()));
}

/// Consequence: two runtimes in one process, as in a test binary, still meet in these statics.
#[test]
fn s13_names_and_groups_reach_across_runtimes() {
    const NAME: &str = "s13_names_and_groups_reach_across_runtimes";
    let runtime = || {
        let built = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        built.expect("a runtime starts")
    };
    let (here, there) = (runtime(), runtime());
    let actor = here.block_on(async {
        let (boss, _, _ear) = supervisor().await;
        spawn_named(NAME, &boss).await.expect("the name is free")
    });

    ractor::pg::join(NAME.to_owned(), vec![actor.get_cell()]);
    let (found, members) = there.block_on(async {
        (
            registry::where_is(NAME),
            ractor::pg::get_members(&NAME.to_owned()),
        )
    });

    assert_eq!(found, Some(actor.get_cell()));
    assert_eq!(members, vec![actor.get_cell()]);
}

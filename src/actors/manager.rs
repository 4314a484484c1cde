//! The manager: turns letters into inputs, lets the kernel decide, hands the outcome to the writer.
//!
//! # Invariants
//! 1. No decision is made here, and no user code runs on this turn.
//! 2. One turn takes a bounded number of letters of each lane and makes one batch of them.
//! 3. Every task actor is linked to this actor while it has a body or waits for one; the tree of
//!    tasks is the kernel's.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use super::gate::{Ask, Letter};
use super::hub::Hub;
use super::mailbox::{Wake, wake_again};
use super::permits::Permits;
use super::team::Team;
use super::writer::{Asker, Commit, Pen};
use crate::kernel::{Input, Step, Supervisor, Ticket, Timestamp};
use crate::store::StoreError;

/// Most letters of each lane in one turn: enough to share a commit, few enough to keep control
/// quick.
const LETTERS_PER_LANE: usize = 256;

pub(super) struct ManagerActor;

pub(super) struct Desk {
    hub: Arc<Hub>,
    pen: Arc<Mutex<Pen>>,
    team: Arc<Team>,
    supervisor: Supervisor,
    tickets: u64,
    incarnation: u64,
    letters: Vec<Letter>,
    /// Empty between turns: room for the next one.
    commit: Commit,
    timer: Option<(Timestamp, AbortHandle)>,
}

/// A supervisor and the step that recovery left, to begin with.
pub(super) struct Beginning {
    pub(super) hub: Arc<Hub>,
    pub(super) pen: Arc<Mutex<Pen>>,
    pub(super) team: Arc<Team>,
    pub(super) supervisor: Supervisor,
    pub(super) step: Step,
}

impl Actor for ManagerActor {
    type Msg = Wake;
    type State = Box<Desk>;
    type Arguments = Beginning;

    async fn pre_start(
        &self,
        myself: ActorRef<Wake>,
        beginning: Beginning,
    ) -> Result<Self::State, ActorProcessingErr> {
        let Beginning {
            hub,
            pen,
            team,
            supervisor,
            step,
        } = beginning;
        team.lead_by(myself.get_cell());
        #[cfg(feature = "testing")]
        hub.sabotage.strike(super::sabotage::Part::Start);
        let incarnation = hub.incarnation();
        let commit = Commit {
            incarnation,
            step,
            ..Commit::default()
        };
        let mut desk = Box::new(Desk {
            hub,
            pen,
            team,
            supervisor,
            // Tickets of different incarnations never meet, as the writer starts anew with the
            // manager.
            tickets: 0,
            incarnation,
            letters: Vec::new(),
            commit: Commit::default(),
            timer: None,
        });
        desk.hub.commits.push(0, commit);
        desk.arm();
        desk.hub.gate.attach(myself);
        Ok(desk)
    }

    async fn handle(
        &self,
        myself: ActorRef<Wake>,
        _wake: Wake,
        desk: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let hub = Arc::clone(&desk.hub);
        let (is_more, notes) = hub.gate.take(LETTERS_PER_LANE, &mut desk.letters);
        #[cfg(feature = "testing")]
        hub.sabotage.strike(super::sabotage::Part::Manager);
        desk.turn(notes)?;
        desk.arm();
        if is_more {
            wake_again(&myself);
        }
        Ok(())
    }

    /// Bodies report through the gate, whatever their end; nothing is left to do here.
    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Wake>,
        _event: SupervisionEvent,
        _desk: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

impl Desk {
    /// Decides on what was taken, and has it written.
    fn turn(&mut self, notes: Permits) -> Result<(), StoreError> {
        let now = self.hub.clock.now();
        let mut commit = self.begin();
        let mut letters = std::mem::take(&mut self.letters);
        for letter in letters.drain(..) {
            if letter.may_reuse() || letter.spawns().is_some_and(|id| self.supervisor.drops(id)) {
                // The end of one life is carried out before the next one of the same id begins.
                let next = self.begin();
                self.take(&mut commit);
                self.hand_over(std::mem::replace(&mut commit, next));
                commit.is_apart = true;
            }
            self.open(now, letter, &mut commit);
        }
        self.letters = letters;
        commit.permits.join(notes);
        self.take(&mut commit);
        if commit.is_empty() {
            self.commit = commit;
            return Ok(());
        }
        if self.hub.storage.is_instant()
            && let Ok(mut pen) = self.pen.try_lock()
            && pen.is_idle()
        {
            // It takes no time, and nothing waits.
            self.commit = pen.write_now(commit)?;
            return Ok(());
        }
        self.hand_over(commit);
        Ok(())
    }

    /// What a turn begins with.
    fn begin(&mut self) -> Commit {
        Commit {
            incarnation: self.incarnation,
            is_apart: false,
            ..std::mem::take(&mut self.commit)
        }
    }

    /// Takes into a turn what was decided.
    fn take(&mut self, commit: &mut Commit) {
        let room = std::mem::take(&mut commit.step);
        commit.step = self.supervisor.take_for(room);
    }

    /// Leaves a turn to the writer.
    fn hand_over(&mut self, commit: Commit) {
        if !commit.is_empty() {
            self.hub.commits.push(0, commit);
        }
    }

    fn open(&mut self, now: Timestamp, letter: Letter, commit: &mut Commit) {
        let input = match letter {
            Letter::Ask(ask) => self.register(ask, commit),
            Letter::Tick => {
                // A timer that was replaced may have rung all the same; the armed one stays.
                self.timer.take_if(|(due, _)| *due <= now);
                if self.hub.gate.is_sick() {
                    return;
                }
                Input::Tick
            }
            Letter::Said { id, epoch, note } => Input::Said { id, epoch, note },
            Letter::Parked { live, epoch } => {
                let (turn, on) = live.park().open();
                let id = live.id;
                Input::Parked {
                    id,
                    epoch,
                    turn,
                    on,
                }
            }
            Letter::Ended {
                id,
                epoch,
                end,
                undelivered,
            } => Input::Report {
                id,
                epoch,
                end,
                undelivered,
            },
            Letter::Told(input) => *input,
        };
        self.supervisor.feed(now, input);
    }

    /// Remembers who asks, and turns the request into an input.
    fn register(&mut self, ask: Ask, commit: &mut Commit) -> Input {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let (asker, input) = match ask {
            Ask::Spawn {
                live,
                by,
                reuse,
                reply,
                permit,
            } => {
                let (id, spec) = (live.id, Arc::clone(&live.spec));
                let asker = Asker::Spawn {
                    live,
                    reply,
                    permit,
                };
                (
                    asker,
                    Input::Spawn {
                        ticket,
                        id,
                        spec,
                        by,
                        reuse,
                    },
                )
            }
            Ask::Cancel {
                target,
                ask,
                reply,
                permit,
            } => {
                // The decision is made in this turn; its outcome may take the whole grace.
                drop(permit);
                (
                    Asker::Other(reply),
                    Input::Cancel {
                        ticket,
                        target,
                        ask: *ask,
                    },
                )
            }
            Ask::Other {
                input,
                reply,
                permit,
            } => {
                commit.permits.put(permit);
                (Asker::Other(reply), input.with(ticket))
            }
            Ask::Shutdown { ask, reply } => {
                let ask = *ask;
                (Asker::Other(reply), Input::Shutdown { ticket, ask })
            }
        };
        commit.askers.push((ticket, asker));
        input
    }

    /// Keeps one timer for the first deadline. A timer that is too early costs one idle tick.
    ///
    /// While the store takes nothing, deadlines stand still: what they lead to would run ahead of
    /// bodies that have not heard of it. When the store works again, a tick comes.
    fn arm(&mut self) {
        if self.hub.gate.is_sick() {
            return;
        }
        let Some(due) = self.supervisor.next_tick() else {
            return;
        };
        if self.timer.as_ref().is_some_and(|(armed, _)| *armed <= due) {
            return;
        }
        if let Some((_, late)) = self.timer.take() {
            late.abort();
        }
        let hub = Arc::clone(&self.hub);
        let at = hub.clock.instant(due);
        let timer = tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            hub.gate.tick();
        });
        self.timer = Some((due, timer.abort_handle()));
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.team.end();
        // The gate is the guard's business: this may run after the next manager was attached.
        if let Some((_, timer)) = self.timer.take() {
            timer.abort();
        }
    }
}

//! Who a task is: its id, well-known labels, keys, and which other task it would double.
//!
//! # Invariants
//! 1. What is said of a task goes before what it inherits.
//!
//! *Not here*: what becomes of a second one (`kernel/supervisor/spawn.rs`).

use std::time::Duration;

use super::builder::TaskBuilder;
use crate::engine::cut;
use crate::kernel::{Flight, Key, LABELS_MAX, Labels, Reach, Reuse, Spec, TaskId, Visibility};

/// The keys of well-known labels. Each has a setter on [`TaskBuilder`].
pub mod labels {
    /// The agent that the work is done for.
    pub const AGENT: &str = "agent";
    /// The run of that agent.
    pub const RUN: &str = "run";
    /// What the work is about: a user, a repository, a customer.
    pub const RESOURCE: &str = "resource";
    /// The conversation it belongs to.
    pub const THREAD: &str = "thread";
    /// The call of a tool that it carries out.
    pub const TOOL_CALL: &str = "tool_call";
    /// The part it plays among its siblings.
    pub const ROLE: &str = "role";
    /// The messages it belongs to.
    pub const MESSAGE_GROUP: &str = "message_group";
    /// The item of a plan that it carries out.
    pub const WORK_ITEM: &str = "work_item";
    /// The checkpoint of its asker that it counts towards.
    pub const CHECKPOINT: &str = "checkpoint";

    /// Provenance: what a body spawns has these labels of its task, unless it says otherwise.
    pub const INHERITED: [&str; 7] = [
        AGENT,
        RUN,
        RESOURCE,
        THREAD,
        TOOL_CALL,
        MESSAGE_GROUP,
        WORK_ITEM,
    ];
}

impl<Mode> TaskBuilder<Mode> {
    /// Chooses the id; by default it is a new version 7 UUID.
    ///
    /// While a task of this id is kept, asking for the same again gives that task, and asking for
    /// something else is refused. See [`TaskBuilder::reuse_id`].
    pub fn id(mut self, id: TaskId) -> Self {
        self.id = Some(id);
        self
    }

    /// Lets the chosen id be that of a task of this scope which has settled and stopped. The new
    /// task takes its place: the record has the next `incarnation`, and a body of the life before
    /// stays fenced. A live task is never replaced.
    ///
    /// What holds the id means the newest life; a handle that is awaited gives its own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Manager, TaskId};
    /// # let manager = Manager::in_memory();
    /// let scope = manager.scope("s");
    /// let id: TaskId = "01900000-0000-7000-8000-000000000001".parse()?;
    /// scope.task("report").id(id).spawn(|_| async { Ok(1) }).await?.settled().await?;
    /// let again = scope.task("report").id(id).reuse_id().spawn(|_| async { Ok(2) }).await?;
    /// assert_eq!(again.record().map(|record| record.incarnation), Some(2));
    /// assert_eq!(again.await?, 2);
    /// # Ok(()) }
    /// ```
    pub fn reuse_id(mut self) -> Self {
        self.reuse = Reuse::Allowed;
        self
    }

    /// Says what it is about, in words; at most 4 KiB.
    pub fn description(self, text: &str) -> Self {
        self.set(|spec| spec.description = Some(cut(text.to_owned()).into()))
    }

    /// Makes asking twice the same as asking once: the same key and the same wishes give the same
    /// task.
    ///
    /// The key is bound to its task for the key window, longer if the task lives longer. Other
    /// wishes under the same key are refused. Not compared are the body, the id and linked tokens.
    ///
    /// That task may have failed or been cancelled meanwhile. A body that is retried and asks again
    /// gets the child that it asked for first, which was cancelled with the attempt before unless
    /// its [`on_parent_end`](crate::TaskBuilder::on_parent_end) says that it goes on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::Manager;
    /// # let manager = Manager::in_memory();
    /// let ask = || {
    ///     let task = manager.scope("mail").task("welcome").key("user-17/welcome");
    ///     task.spawn(|_| async { Ok("sent".to_owned()) })
    /// };
    /// let (first, second) = (ask().await?, ask().await?);
    /// assert_eq!(first.id(), second.id());
    /// assert!(first.is_new() && !second.is_new());
    /// assert_eq!(second.await?, "sent"); // by the first one
    /// # Ok(()) }
    /// ```
    pub fn key(mut self, key: &str) -> Self {
        let key = self.keep(Key::new(key));
        self.set(|spec| spec.key = key)
    }

    /// Sets how long its key stays bound, instead of the manager's key window.
    pub fn key_window(self, window: Duration) -> Self {
        self.set(|spec| spec.key_window = Some(window))
    }

    /// Lets one task of this key live at a time in the scope: while there is one, asking gives that
    /// one, and the body given here never runs.
    ///
    /// The key is free again when the body of its task has stopped. Limits do not matter to a
    /// second one: it takes no slot.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::Manager;
    /// # let manager = Manager::in_memory();
    /// let index = || {
    ///     let task = manager.scope("s").unnamed().single_flight("index/docs");
    ///     task.spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) })
    /// };
    /// let (first, second) = (index().await?, index().await?);
    /// assert_eq!(first.id(), second.id());
    /// first.send("go on").await?;
    /// first.await?;
    /// assert!(index().await?.is_new());
    /// # Ok(()) }
    /// ```
    pub fn single_flight(mut self, key: &str) -> Self {
        let key = self.keep(Key::new(key));
        self.set(|spec| spec.flight = key.map(Flight::Canonical))
    }

    /// As [`TaskBuilder::single_flight`], by a role and what it works on. Where a key was chosen as
    /// well, before or after, that one alone counts.
    pub fn single_flight_for(mut self, role: &str, target: &str) -> Self {
        let (role, target) = (self.keep(Key::new(role)), self.keep(Key::new(target)));
        self.set(|spec| {
            let is_chosen = matches!(spec.flight, Some(Flight::Canonical(_)));
            if let (Some(role), Some(target), false) = (role, target, is_chosen) {
                spec.flight = Some(Flight::Derived { role, target });
            }
        })
    }

    /// Lets its single flight reach over all scopes of the manager, among the tasks that say so,
    /// too. The task that is given may then be of another scope.
    pub fn flight_reach(self, reach: Reach) -> Self {
        self.set(|spec| spec.flight_reach = reach)
    }

    /// Names the agent that the work is done for: the label [`labels::AGENT`].
    pub fn agent(self, agent: &str) -> Self {
        self.label(labels::AGENT, agent)
    }

    /// Names the run of the agent: the label [`labels::RUN`].
    pub fn run(self, run: &str) -> Self {
        self.label(labels::RUN, run)
    }

    /// Names what the work is about: the label [`labels::RESOURCE`].
    pub fn resource(self, resource: &str) -> Self {
        self.label(labels::RESOURCE, resource)
    }

    /// Names the conversation: the label [`labels::THREAD`].
    pub fn thread(self, thread: &str) -> Self {
        self.label(labels::THREAD, thread)
    }

    /// Names the call of a tool that it carries out: the label [`labels::TOOL_CALL`].
    pub fn tool_call(self, call: &str) -> Self {
        self.label(labels::TOOL_CALL, call)
    }

    /// Names the part it plays: the label [`labels::ROLE`].
    pub fn role(self, role: &str) -> Self {
        self.label(labels::ROLE, role)
    }

    /// Names the messages it belongs to: the label [`labels::MESSAGE_GROUP`].
    pub fn message_group(self, group: &str) -> Self {
        self.label(labels::MESSAGE_GROUP, group)
    }

    /// Names the item of a plan that it carries out: the label [`labels::WORK_ITEM`].
    pub fn work_item(self, item: &str) -> Self {
        self.label(labels::WORK_ITEM, item)
    }

    /// Names the checkpoint of its asker that it counts towards: the label [`labels::CHECKPOINT`].
    pub fn checkpoint(self, checkpoint: &str) -> Self {
        self.label(labels::CHECKPOINT, checkpoint)
    }

    /// Leaves out the labels that it would have from the task whose body spawns it.
    pub fn without_provenance(mut self) -> Self {
        self.inherited.clear();
        self
    }

    /// Takes over the provenance of the task whose body asks, and that it is hidden.
    pub(super) fn inheriting(mut self, from: &Spec) -> Self {
        if from.visibility == Visibility::Hidden {
            self = self.hidden();
        }
        if !from.labels.is_empty() {
            let known = |key: &&&str| from.labels.contains_key(**key);
            for key in labels::INHERITED.iter().filter(known) {
                self.inherited
                    .insert((*key).into(), from.labels[*key].clone());
            }
        }
        self
    }
}

/// Adds what is inherited and not said otherwise, as far as there is room.
pub(super) fn inherit(spec: &mut Spec, inherited: Labels) {
    for (key, value) in inherited {
        if spec.labels.len() < LABELS_MAX {
            spec.labels.entry(key).or_insert(value);
        }
    }
}

//! A second kernel, as naive as can be: the law of names, closing, slots and cancels for tasks
//! without time.
//!
//! It knows no deadlines, retries, parks or suspensions, walks all tasks for every question, and
//! was written from `ARCHITECTURE.md` alone. Where it and the kernel differ, one of them is wrong.

use std::collections::VecDeque;

use crate::kernel::State;

/// What is asked of a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) parent: Option<usize>,
    pub(super) scope: usize,
    pub(super) name: Option<usize>,
    /// Whether it takes a slot of the one class.
    pub(super) limited: bool,
}

#[derive(Clone, Debug)]
struct Task {
    ask: Ask,
    state: State,
    /// How it settles once its children have; its body is over.
    last_word: Option<State>,
    is_live: bool,
}

/// All tasks by number, and the one class.
#[derive(Clone, Debug)]
pub(super) struct Model {
    tasks: Vec<Task>,
    size: usize,
    /// The tasks that wait for a slot, per scope, and whose turn it is.
    queues: [VecDeque<usize>; 3],
    turns: VecDeque<usize>,
    /// What happened, for comparison: starts, requests to stop, ends.
    pub(super) started: Vec<usize>,
    pub(super) asked: Vec<usize>,
    pub(super) ended: Vec<usize>,
}

impl Model {
    pub(super) fn new(size: usize) -> Self {
        Self {
            tasks: Vec::new(),
            size,
            queues: Default::default(),
            turns: VecDeque::new(),
            started: Vec::new(),
            asked: Vec::new(),
            ended: Vec::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn state(&self, task: usize) -> State {
        self.tasks[task].state
    }

    pub(super) fn in_use(&self) -> usize {
        let holds = |task: &&Task| task.is_live && task.ask.limited;
        self.tasks.iter().filter(holds).count()
    }

    fn children(&self, parent: usize) -> Vec<usize> {
        let is_child = |child: &usize| {
            let task = &self.tasks[*child];
            task.ask.parent == Some(parent) && !task.state.is_terminal()
        };
        (0..self.count()).filter(is_child).collect()
    }

    /// Whether the task is taken.
    pub(super) fn spawn(&mut self, ask: Ask) -> bool {
        let holds_name = |task: &Task| {
            !task.state.is_terminal() && task.ask.scope == ask.scope && task.ask.name == ask.name
        };
        if ask.name.is_some() && self.tasks.iter().any(holds_name) {
            return false;
        }
        if let Some(parent) = ask.parent {
            let above = &self.tasks[parent];
            let is_open = matches!(above.state, State::Pending | State::Running);
            if !is_open || above.ask.scope != ask.scope {
                return false;
            }
        }
        self.tasks.push(Task {
            ask,
            state: State::Pending,
            last_word: None,
            is_live: false,
        });
        self.admit(self.count() - 1);
        true
    }

    /// Starts a pending task whose parent has started, or queues it; after it, the children that
    /// wait for it.
    fn admit(&mut self, first: usize) {
        let mut ready = VecDeque::from([first]);
        while let Some(task) = ready.pop_front() {
            let Task { ask, state, .. } = self.tasks[task];
            let above = ask.parent.map(|above| self.state(above));
            if state != State::Pending || above == Some(State::Pending) {
                continue;
            }
            if ask.limited && self.in_use() >= self.size {
                if self.queues[ask.scope].is_empty() {
                    self.turns.push_back(ask.scope);
                }
                self.queues[ask.scope].push_back(task);
                continue;
            }
            (self.tasks[task].state, self.tasks[task].is_live) = (State::Running, true);
            self.started.push(task);
            ready.extend(self.children(task));
        }
    }

    /// Gives free slots to the scopes in turn.
    fn serve(&mut self) {
        while self.in_use() < self.size {
            let Some(scope) = self.turns.pop_front() else {
                return;
            };
            let task = self.queues[scope]
                .pop_front()
                .expect("a scope in turn waits");
            if !self.queues[scope].is_empty() {
                self.turns.push_back(scope);
            }
            self.admit(task);
        }
    }

    /// The body of a task ends, with a value or not.
    pub(super) fn end(&mut self, task: usize, well: bool) {
        if !self.tasks[task].is_live {
            return;
        }
        self.tasks[task].is_live = false;
        let word = match (self.state(task), well) {
            (State::CancelRequested, _) => State::Cancelled,
            (_, true) => State::Completed,
            (_, false) => State::Failed,
        };
        self.tasks[task].last_word = Some(word);
        if word != State::Completed {
            for child in self.children(task).into_iter().rev() {
                self.ask_tree(child);
            }
        }
        if self.state(task) == State::Running {
            self.tasks[task].state = State::Waiting;
        }
        self.settle();
        self.serve();
    }

    pub(super) fn cancel_tree(&mut self, task: usize) {
        self.ask_tree(task);
        self.settle();
        self.serve();
    }

    pub(super) fn cancel(&mut self, task: usize) {
        self.ask(task);
        if !self.tasks[task].is_live {
            for child in self.children(task).into_iter().rev() {
                self.ask_tree(child);
            }
        }
        self.settle();
        self.serve();
    }

    /// Parents before children, younger siblings before older ones.
    fn ask_tree(&mut self, task: usize) {
        self.ask(task);
        for child in self.children(task).into_iter().rev() {
            self.ask_tree(child);
        }
    }

    fn ask(&mut self, task: usize) {
        if self.state(task).is_terminal() || self.state(task) == State::CancelRequested {
            return;
        }
        let Ask { scope, .. } = self.tasks[task].ask;
        self.queues[scope].retain(|waiting| *waiting != task);
        if self.queues[scope].is_empty() {
            self.turns.retain(|turn| *turn != scope);
        }
        self.asked.push(task);
        let entry = &mut self.tasks[task];
        entry.state = State::CancelRequested;
        entry.last_word = (!entry.is_live).then_some(State::Cancelled);
    }

    /// Whoever has a last word and no live child settles, until nobody does.
    fn settle(&mut self) {
        let is_due = |model: &Self, task: &usize| {
            let entry = &model.tasks[*task];
            let over = entry.last_word.is_some() && !entry.state.is_terminal();
            over && model.children(*task).is_empty()
        };
        while let Some(task) = (0..self.count()).find(|task| is_due(self, task)) {
            let word = self.tasks[task].last_word;
            self.tasks[task].state = word.expect("it is due");
            self.ended.push(task);
        }
    }
}

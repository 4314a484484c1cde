//! The forest of live tasks: links, closed flags, walk orders; knows ids only.
//!
//! # Invariants
//! 1. A node's parent is in the forest, and lists it among its children.
//! 2. A closed node gets no children.
//! 3. A node leaves the forest after its children: removal of a node with children is refused by
//!    assertion.
//! 4. No walk recurses, so depth costs no stack.
//!
//! *Not here*: why a node is closed (`supervisor`).

use std::collections::BTreeMap;

use super::id::TaskId;
use super::slab::Slab;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Node {
    parent: Option<TaskId>,
    /// Children by order of acceptance.
    children: BTreeMap<u64, TaskId>,
    born: u64,
    depth: u32,
    root: TaskId,
    closed: bool,
    /// Whether it and all below it were asked to stop by a cancel, which nothing takes back.
    asked: bool,
}

/// The live tasks and their links.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Forest {
    nodes: Slab<Node>,
    /// Roots by order of acceptance.
    roots: BTreeMap<u64, TaskId>,
    births: u64,
    /// Nodes that walks have visited, for the proof that work per node is constant.
    #[cfg(test)]
    visits: std::cell::Cell<u64>,
}

impl Forest {
    /// Adds a node; its parent, if any, must be open.
    pub(super) fn insert(&mut self, id: TaskId, parent: Option<TaskId>) {
        self.births += 1;
        let born = self.births;
        let (depth, root) = match parent {
            None => {
                self.roots.insert(born, id);
                (0, id)
            }
            Some(parent) => {
                let node = self.nodes.get_mut(parent).expect("forest invariant 1");
                assert!(!node.closed, "forest invariant 2: {parent} is closed");
                node.children.insert(born, id);
                (node.depth + 1, node.root)
            }
        };
        let node = Node {
            parent,
            children: BTreeMap::new(),
            born,
            depth,
            root,
            closed: false,
            asked: false,
        };
        let before = self.nodes.insert(id, node);
        assert!(before.is_none(), "forest: {id} is in it already");
    }

    /// Removes a leaf and tells which parent it had.
    pub(super) fn remove(&mut self, id: TaskId) -> Option<TaskId> {
        let node = self.nodes.remove(id)?;
        assert!(
            node.children.is_empty(),
            "forest invariant 3: {id} has children"
        );
        self.unlink(node.parent, node.born);
        node.parent
    }

    /// Makes a node a root. The roots of the nodes below it follow.
    pub(super) fn detach(&mut self, id: TaskId) {
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        let (parent, born) = (node.parent.take(), node.born);
        self.unlink(parent, born);
        self.roots.insert(born, id);
        for below in self.subtree(id) {
            let depth = self
                .parent(below)
                .map_or(0, |parent| self.depth(parent) + 1);
            let node = self.nodes.get_mut(below).expect("a walk yields nodes");
            node.depth = depth;
            node.root = id;
        }
    }

    fn unlink(&mut self, parent: Option<TaskId>, born: u64) {
        match parent {
            None => self.roots.remove(&born),
            Some(parent) => {
                let node = self.nodes.get_mut(parent).expect("forest invariant 1");
                node.children.remove(&born)
            }
        };
    }

    pub(super) fn close(&mut self, id: TaskId) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.closed = true;
        }
    }

    pub(super) fn open(&mut self, id: TaskId) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.closed = false;
        }
    }

    /// Closes a node and notes that it and all below it are asked to stop.
    pub(super) fn mark_asked(&mut self, id: TaskId) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.closed = true;
            node.asked = true;
        }
    }

    pub(super) fn is_closed(&self, id: TaskId) -> bool {
        self.nodes.get(id).is_none_or(|node| node.closed)
    }

    /// Whether it was asked to stop together with all below it.
    pub(super) fn is_asked(&self, id: TaskId) -> bool {
        self.nodes.get(id).is_some_and(|node| node.asked)
    }

    pub(super) fn parent(&self, id: TaskId) -> Option<TaskId> {
        self.nodes.get(id)?.parent
    }

    pub(super) fn depth(&self, id: TaskId) -> u32 {
        self.nodes.get(id).map_or(0, |node| node.depth)
    }

    pub(super) fn root(&self, id: TaskId) -> TaskId {
        self.nodes.get(id).map_or(id, |node| node.root)
    }

    pub(super) fn child_count(&self, id: TaskId) -> usize {
        self.nodes.get(id).map_or(0, |node| node.children.len())
    }

    /// The children in order of acceptance.
    pub(super) fn children(&self, id: TaskId) -> impl DoubleEndedIterator<Item = TaskId> + '_ {
        self.nodes
            .get(id)
            .into_iter()
            .flat_map(|node| node.children.values().copied())
    }

    /// The roots in order of acceptance.
    pub(super) fn roots(&self) -> impl DoubleEndedIterator<Item = TaskId> + '_ {
        self.roots.values().copied()
    }

    /// The node and all below it, parents before children, siblings in reverse order of acceptance.
    pub(super) fn subtree(&self, root: TaskId) -> Vec<TaskId> {
        self.walk(root, |_| true)
    }

    /// Like [`Self::subtree`], without the nodes that were asked to stop together with all below
    /// them.
    pub(super) fn not_asked(&self, root: TaskId) -> Vec<TaskId> {
        self.walk(root, |id| !self.is_asked(id))
    }

    /// The first nodes that fit on each way down from a root, parents before children.
    pub(super) fn tops(&self, root: TaskId, fits: impl Fn(TaskId) -> bool) -> Vec<TaskId> {
        let mut found = Vec::new();
        let mut stack = vec![root];
        while let Some(id) = stack.pop() {
            self.visited();
            if fits(id) {
                found.push(id);
            } else {
                stack.extend(self.children(id));
            }
        }
        found
    }

    fn walk(&self, root: TaskId, enters: impl Fn(TaskId) -> bool) -> Vec<TaskId> {
        let mut order = Vec::new();
        let mut stack = vec![root];
        while let Some(id) = stack.pop() {
            self.visited();
            if enters(id) {
                order.push(id);
                // A stack hands out last what went in first, so acceptance order comes out
                // reversed.
                stack.extend(self.children(id));
            }
        }
        order
    }

    #[cfg(test)]
    pub(super) fn contains(&self, id: TaskId) -> bool {
        self.nodes.contains(id)
    }

    #[cfg(test)]
    pub(super) fn visits(&self) -> u64 {
        self.visits.get()
    }

    #[cfg(test)]
    fn visited(&self) {
        self.visits.set(self.visits.get() + 1);
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "visits are counted in tests only")]
    const fn visited(&self) {}
}

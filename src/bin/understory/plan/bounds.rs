//! `[bounds]`: how large a run may grow by what its tasks spawn.
//!
//! *Not here*: keeping to them (the manager).

use super::DEPTH_MAX;
use super::entry::{Entries, LIMIT_MAX};
use super::order::ancestors;
use super::problem::Problems;
use super::read::{Field, fields};

const KEYS: [&str; 3] = ["depth", "children", "tasks"];

pub(super) fn read(field: &Field<'_>, entries: &mut Entries, problems: &mut Problems) {
    let Some(table) = field.value.get_ref().as_table() else {
        field.wrong(problems, "write [bounds] with lines such as children = 8");
        return;
    };
    entries.bounds_at = field.key_at.clone();
    let bounds = &mut entries.bounds;
    let size = |number: Option<u32>| number.and_then(|number| usize::try_from(number).ok());
    for field in fields(table) {
        match field.key {
            "depth" => bounds.depth = field.number(0, DEPTH_MAX, problems),
            "children" => bounds.children = size(field.number(1, LIMIT_MAX, problems)),
            "tasks" => bounds.tasks = size(field.number(1, LIMIT_MAX, problems)),
            _ => field.unknown(&KEYS, problems),
        }
    }
}

/// Refuses bounds that the plan itself does not keep to.
pub(super) fn check(entries: &Entries, parents: &[Option<usize>], problems: &mut Problems) {
    let bounds = &entries.bounds;
    let depth = bounds.depth.and_then(|depth| usize::try_from(depth).ok());
    let deepest = || (0..parents.len()).map(|task| ancestors(parents, task).count());
    let mut below = vec![0_usize; parents.len()];
    for parent in parents.iter().flatten() {
        below[*parent] += 1;
    }
    let wanted = [
        ("depth", depth, depth.and_then(|_| deepest().max())),
        ("children", bounds.children, below.into_iter().max()),
        ("tasks", bounds.tasks, Some(parents.len())),
    ];
    for (key, bound, wanted) in wanted {
        if let (Some(bound), Some(wanted)) = (bound, wanted)
            && wanted > bound
        {
            let wrong = format!("`{key}` in [bounds] is {bound}, and the plan needs {wanted}");
            let write = format!("write {key} = {wanted} or more");
            problems.add(entries.bounds_at.clone(), wrong, write);
        }
    }
}

//! What tasks say about each other.

use super::super::{DEPTH_MAX, Plan};
use super::{crew, names, refused};

#[test]
fn after_on_kin_is_refused() {
    refused(
        &crew(&[("a", "", "", ""), ("b", "a", "", ""), ("c", "b", "a", "")]),
        &[
            "17: \"c\" would wait for \"a\", which ends only after what is below it; \
           write the name of a task of another branch",
        ],
    );
    refused(
        &crew(&[("a", "", "c", ""), ("b", "a", "", ""), ("c", "b", "", "")]),
        &[
            "5: \"a\" would wait for \"c\", which starts only after what is above it; \
           write the name of a task of another branch",
        ],
    );
}

#[test]
fn cycle_is_refused_with_the_waits_that_close_it() {
    refused(
        &crew(&[
            ("a", "", "b", ""),
            ("b", "", "c", ""),
            ("c", "", "a", ""),
            ("d", "", "c", ""),
        ]),
        &[
            "5: \"a\" would wait for itself: \"a\" runs after \"b\", \"b\" runs after \"c\", \
           \"c\" runs after \"a\"; drop one of these waits",
        ],
    );
    refused(
        &crew(&[("a", "b", "", ""), ("b", "a", "", "")]),
        &[
            "4: \"a\" would wait for itself: \"a\" starts after its parent \"b\", \
           \"b\" starts after its parent \"a\"; drop one of these waits",
        ],
    );
    // The child of `b` waits for `a`, which waits for `b`, which ends only after its child.
    refused(
        &crew(&[
            ("a", "", "b", ""),
            ("b", "", "", ""),
            ("child", "b", "a", ""),
        ]),
        &["5: \"a\" would wait for itself: \"a\" runs after \"b\", \
             \"b\" ends after its child \"child\", \
           \"child\" runs after \"a\"; drop one of these waits"],
    );
}

#[test]
fn every_cycle_is_told() {
    let problems = Plan::parse(
        "PLAN.toml",
        &crew(&[
            ("a", "", "b", ""),
            ("b", "", "a", ""),
            ("c", "", "d", ""),
            ("d", "", "c", ""),
        ]),
    )
    .expect_err("two rings");
    assert_eq!(problems.lines().len(), 2, "{problems}");
}

#[test]
fn detached_child_may_wait_for_what_waits_for_its_parent() {
    let text = crew(&[
        ("a", "", "b", ""),
        ("b", "", "", ""),
        ("child", "b", "a", "on_parent_end = \"detach\""),
    ]);
    let plan = Plan::parse("PLAN.toml", &text).expect("the parent does not wait for it");
    assert_eq!(names(&plan), ["b", "a", "child"]);
}

#[test]
fn parents_and_targets_come_first() {
    let text = crew(&[
        ("z", "y", "x", ""),
        ("y", "", "", ""),
        ("x", "w", "", ""),
        ("w", "", "", ""),
    ]);
    let plan = Plan::parse("PLAN.toml", &text).expect("the plan is right");
    assert_eq!(names(&plan), ["y", "w", "x", "z"]);
}

#[test]
fn long_chains_are_checked_without_recursion() {
    let count = 5_000;
    let task = |at: usize| {
        let after = at
            .checked_sub(1)
            .map_or(String::new(), |before| format!("t{before}"));
        crew(&[(format!("t{at}").as_str(), "", after.as_str(), "")])
    };
    let text: String = (0..count).rev().map(task).collect();
    let plan = Plan::parse("PLAN.toml", &text).expect("a chain is no cycle");
    assert_eq!(plan.tasks.len(), count);
    assert_eq!((names(&plan)[0], names(&plan)[count - 1]), ("t0", "t4999"));
}

#[test]
fn tree_may_be_as_deep_as_the_bound_and_no_deeper() {
    let chain = |count: usize| {
        let task = |at: usize| {
            let parent = at
                .checked_sub(1)
                .map_or(String::new(), |above| format!("t{above}"));
            crew(&[(format!("t{at}").as_str(), parent.as_str(), "", "")])
        };
        (0..count).map(task).collect::<String>()
    };
    assert!(Plan::parse("PLAN.toml", &chain(DEPTH_MAX as usize + 1)).is_ok());
    refused(
        &chain(DEPTH_MAX as usize + 3),
        &["392: more than 64 tasks are above \"t65\"; hang it higher"],
    );
}

#[test]
fn bounds_are_kept_by_the_plan_itself() {
    let tasks = "[[task]]\nname = \"a\"\ncommand = [\"a\"]\n\
                 [[task]]\nname = \"b\"\ncommand = [\"b\"]\nparent = \"a\"\n\
                 [[task]]\nname = \"c\"\ncommand = [\"c\"]\nparent = \"a\"\n";
    let parse = |bounds: &str| {
        let plan = Plan::parse("PLAN.toml", &format!("[bounds]\n{bounds}\n{tasks}"));
        plan.map_err(|problems| problems.to_string())
    };
    let plan = parse("depth = 1\nchildren = 2\ntasks = 3").expect("it keeps to them");
    let bounds = plan.bounds;
    assert_eq!(
        (bounds.depth, bounds.children, bounds.tasks),
        (Some(1), Some(2), Some(3))
    );
    for (bound, reason) in [
        (
            "depth = 0",
            "is 0, and the plan needs 1; write depth = 1 or more",
        ),
        ("children = 1", "write children = 2 or more"),
        ("tasks = 2", "write tasks = 3 or more"),
        ("width = 2", "width"),
        ("depth = 65", "64"),
        ("children = 0", "1"),
    ] {
        let problems = parse(bound).expect_err("it is refused");
        assert!(problems.contains(reason), "{problems}");
    }
}

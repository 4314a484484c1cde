//! The drawn tree: what stands where, and what gives way.

use super::*;

fn tree(places: &[(&str, Option<usize>)]) -> Tree {
    let place = |(name, parent): &(&str, Option<usize>)| Place {
        name: (*name).to_owned(),
        parent: *parent,
    };
    Tree::new(&places.iter().map(place).collect::<Vec<_>>())
}

fn crew() -> Tree {
    tree(&[
        ("lead", None),
        ("docs", Some(0)),
        ("other", None),
        ("code", Some(0)),
        ("x", Some(1)),
    ])
}

fn row(tree: &mut Tree, task: usize) -> &mut Row {
    tree.row_mut(task).expect("it was added")
}

#[test]
fn task_that_is_forgotten_leaves_what_is_below_it_in_its_place() {
    let mut tree = crew();
    let place = Place {
        name: "y".to_owned(),
        parent: Some(4),
    };
    tree.add(5, &place);
    assert_eq!(tree.path(5), "lead/docs/x/y");
    tree.forget(1);
    tree.forget(4);

    let expected = "\
· lead    pending
├─ · y    pending
└─ · code pending
· other   pending";
    assert_eq!(
        tree.draw(at(0), Paint::Plain, 80, 24)
            .replace("  pending", " pending"),
        expected
    );
    tree.forget(0);
    assert!(tree.draw(at(0), Paint::Plain, 80, 24).starts_with("· y"));
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn children_stand_below_their_parent() {
    let mut tree = crew();
    row(&mut tree, 0).turn(State::Running, String::new(), at(0));
    row(&mut tree, 1).turn(State::Running, String::new(), at(1));
    row(&mut tree, 1).turn(State::Failed, "exit code 3".to_owned(), at(3));

    let expected = "\
⠋ lead     running        5.0 s
├─ ✗ docs  failed         2.0 s  exit code 3
│  └─ · x  pending
└─ · code  pending
· other    pending";
    assert_eq!(
        tree.draw(at(5), Paint::Plain, 80, 24)
            .replace(FRAMES[2], FRAMES[0]),
        expected
    );
    assert_eq!(tree.path(4), "lead/docs/x");
}

#[test]
fn drawing_fits_into_its_lines_and_running_tasks_stay() {
    let mut tree = crew();
    row(&mut tree, 0).turn(State::Completed, String::new(), at(0));
    row(&mut tree, 3).turn(State::Running, String::new(), at(0));
    for lines in 0..8 {
        let drawn = tree.draw(at(0), Paint::Plain, 80, lines);
        assert!(
            drawn.lines().count() <= lines.saturating_sub(LINES_FREE).max(1),
            "{drawn}"
        );
        assert!(drawn.contains("code") || lines <= 3, "{drawn}");
    }
    assert!(
        tree.draw(at(0), Paint::Plain, 80, 5)
            .ends_with("and 3 more")
    );
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let mut tree = crew();
    row(&mut tree, 4).turn(State::Running, "é".repeat(100), at(0));
    for task in 5..70 {
        let place = Place {
            name: task.to_string(),
            parent: Some(task - 1),
        };
        tree.add(task, &place);
    }
    for columns in 10..60 {
        let drawn = tree.draw(at(0), Paint::Plain, columns, 100);
        assert!(drawn.contains("─ · 69"), "{drawn}");
        assert!(
            drawn.lines().all(|line| line.chars().count() <= columns),
            "{drawn}"
        );
    }
}

#[test]
fn reason_of_the_state_goes_before_what_was_said_last() {
    let mut tree = tree(&[("a", None)]);
    let mut turn = |state, note: &str| {
        let row = row(&mut tree, 0);
        row.said = "9 files".to_owned();
        row.turn(state, note.to_owned(), at(0));
        let drawn = tree.draw(at(0), Paint::Plain, 80, 24);
        drawn.split("  ").last().map(str::to_owned)
    };
    assert_eq!(turn(State::Running, "").as_deref(), Some("9 files"));
    assert_eq!(
        turn(State::Waiting, "for its children").as_deref(),
        Some("for its children")
    );
    assert_eq!(turn(State::Completed, "").as_deref(), Some("9 files"));
}

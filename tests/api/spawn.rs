//! Spawning: results, names, parents, executors.

use serde_json::{Value, json};
use understory::kernel::Refusal;
use understory::{Context, Failure, Manager, SpawnError, State, TaskId};

use crate::stage::{for_ever, reaches, soon, until_cancelled};

async fn nothing(_: Context) -> Result<(), Failure> {
    Ok(())
}

#[tokio::test]
async fn handle_is_a_future_of_the_value() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");

    let task = scope.task("t").spawn(|_| async { Ok(42_u32) }).await;

    assert_eq!(task.unwrap().await.unwrap(), 42);
}

#[tokio::test]
async fn spawned_task_is_in_the_index_before_its_handle() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");

    for _ in 0..100 {
        let task = scope.unnamed().spawn(nothing).await.unwrap();
        assert!(manager.get(task.id()).is_some());
    }
}

#[tokio::test]
async fn record_keeps_what_was_asked() {
    let manager = Manager::in_memory();
    let builder = manager.scope("s").task("t").kind("reader");
    let task = builder.label("agent", "a7").label("run", "3");

    let record = soon(task.spawn(nothing).await.unwrap().settled())
        .await
        .unwrap();

    assert_eq!(record.spec.kind.as_ref().unwrap().as_str(), "reader");
    let labels: Vec<_> = record
        .spec
        .labels
        .iter()
        .map(|(k, v)| (&**k, &**v))
        .collect();
    assert_eq!(labels, [("agent", "a7"), ("run", "3")]);
    assert_eq!(record.state, State::Completed);
    assert_eq!(
        (record.attempt, record.depth, record.root),
        (1, 0, record.id)
    );
}

#[tokio::test]
async fn name_has_one_live_holder_in_its_scope() {
    let manager = Manager::in_memory();
    let holder = manager
        .scope("s")
        .task("t")
        .spawn(until_cancelled)
        .await
        .unwrap();

    let again = manager.scope("s").task("t").spawn(nothing).await;
    let elsewhere = manager.scope("other").task("t").spawn(nothing).await;

    let Err(SpawnError::Refused(Refusal::NameTaken(name, by))) = again else {
        panic!("the name is taken, not {again:?}");
    };
    assert_eq!((name.as_str(), by), ("t", holder.id()));
    assert!(elsewhere.is_ok());
}

#[tokio::test]
async fn name_is_free_when_its_holder_has_settled() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");

    for _ in 0..100 {
        let task = scope.task("t").spawn(nothing).await.unwrap();
        soon(task).await.unwrap();
    }
}

#[tokio::test]
async fn words_that_address_something_else_are_no_names() {
    let manager = Manager::in_memory();

    for word in ["parent", "self", "all", "broadcast"] {
        let refused = manager.scope("s").task(word).spawn(nothing).await;
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(word) && text.contains("reserved"), "{text}");
    }
}

#[tokio::test]
async fn invalid_text_is_refused_with_its_rule() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let (bad_scope, bad_name) = (manager.scope("a b"), scope.task("ä"));
    let (bad_kind, bad_limit) = (scope.task("k").kind(""), scope.task("l").limit("a/b"));

    for refused in [
        bad_scope.task("t").spawn(nothing).await,
        bad_name.spawn(nothing).await,
        bad_kind.spawn(nothing).await,
        bad_limit.spawn(nothing).await,
        scope.task("t").key("k k").spawn(nothing).await,
    ] {
        let Err(SpawnError::Invalid(mistake)) = refused else {
            panic!("the text is not valid, but: {refused:?}");
        };
        assert!(mistake.to_string().contains("use 1 to"), "{mistake}");
    }
}

#[tokio::test]
async fn first_mistake_of_a_builder_is_the_one_told() {
    let manager = Manager::in_memory();

    let refused = manager
        .scope("s")
        .task("a b")
        .kind("c d")
        .spawn(nothing)
        .await;

    assert!(refused.unwrap_err().to_string().contains("a b"));
}

#[tokio::test]
async fn id_is_taken_once() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let id = TaskId::from_u128(7);

    let first = scope.unnamed().id(id).spawn(until_cancelled).await.unwrap();
    let live = scope.task("other").id(id).spawn(nothing).await;
    first
        .cancel_tree(understory::Cancel::because("enough"))
        .await
        .unwrap();
    let settled = scope.task("other").id(id).spawn(nothing).await;

    assert_eq!(first.id(), id);
    for refused in [live, settled] {
        let refused = refused.expect_err("the id is taken");
        assert!(matches!(refused, SpawnError::Refused(Refusal::DuplicateId(taken)) if taken == id));
    }
}

#[tokio::test]
async fn task_of_a_body_hangs_below_it() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let lead = scope.task("lead").spawn({
        let (scope, other) = (scope.clone(), manager.scope("other"));
        |ctx| async move {
            let by_context = ctx.task("a").spawn(until_cancelled).await?.id();
            let ambient = scope.task("b").spawn(until_cancelled).await?.id();
            let unnamed = ctx
                .unnamed()
                .spawn(|ctx| async move { Ok(ctx.path()) })
                .await?;
            let root = scope.task("c").root().spawn(until_cancelled).await?.id();
            let elsewhere = other.task("d").spawn(until_cancelled).await?.id();
            let path = unnamed.await?;
            Ok((vec![by_context, ambient], vec![root, elsewhere], path))
        }
    });
    let lead = lead.await.unwrap();
    reaches(&manager, lead.id(), State::Waiting).await;
    let children = manager.children(lead.id());
    assert_eq!(children.len(), 2);
    for child in manager.children(lead.id()) {
        manager
            .task(child.id)
            .cancel(understory::Cancel::because("go on"))
            .await
            .unwrap();
    }

    let id = lead.id();
    let (below, roots, path) = soon(lead).await.unwrap();

    for child in below {
        let record = manager.get(child).unwrap();
        assert_eq!((record.parent, record.spawned_by), (Some(id), Some(id)));
        assert_eq!((record.root, record.depth), (id, 1));
    }
    for root in roots {
        assert_eq!(manager.get(root).unwrap().parent, None);
    }
    assert!(
        path.starts_with("lead/") && path.len() == "lead/".len() + 8,
        "{path}"
    );
}

#[tokio::test]
async fn current_context_is_known_in_plain_functions() {
    fn who() -> Option<String> {
        understory::current().map(|ctx| ctx.path())
    }
    let manager = Manager::in_memory();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(|_| async { Ok(who()) }).await?;
        Ok((who(), child.await?))
    });

    let (own, below) = lead.await.unwrap().await.unwrap();

    assert_eq!(own.as_deref(), Some("lead"));
    assert_eq!(below.as_deref(), Some("lead/child"));
    assert_eq!(who(), None);
}

#[tokio::test]
async fn parent_must_be_known_live_and_of_the_scope() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let ended = scope.task("ended").spawn(nothing).await.unwrap();
    soon(ended.settled()).await.unwrap();
    let live = scope.task("live").spawn(for_ever).await.unwrap().id();
    let unknown = TaskId::from_u128(9);

    let below = |parent| manager.scope("s").unnamed().parent(parent).spawn(nothing);
    let elsewhere = manager
        .scope("other")
        .unnamed()
        .parent(live)
        .spawn(nothing)
        .await;

    assert!(below(live).await.is_ok());
    let refused = |refusal| matches!(refusal, Err(SpawnError::Refused(Refusal::UnknownParent(p))) if p == unknown);
    assert!(refused(below(unknown).await));
    let refusal = below(ended.id()).await;
    assert!(
        matches!(refusal, Err(SpawnError::Refused(Refusal::ParentClosing(p))) if p == ended.id())
    );
    assert!(matches!(
        elsewhere,
        Err(SpawnError::Refused(Refusal::ParentElsewhere(p, ref s))) if p == live && s.as_str() == "s"
    ));
}

#[tokio::test]
async fn executor_of_the_scope_goes_before_the_one_of_all() {
    let of = |text: &'static str| {
        move |_: Context, input: Value| async move { Ok(json!([text, input])) }
    };
    let manager = Manager::builder()
        .executor("say", of("all"))
        .executor_in("mine", "say", of("mine"))
        .build()
        .unwrap();

    let mine = manager
        .scope("mine")
        .unnamed()
        .spawn_kind("say", 1)
        .await
        .unwrap();
    let other = manager
        .scope("other")
        .unnamed()
        .spawn_kind("say", 2)
        .await
        .unwrap();

    assert_eq!(mine.await.unwrap(), json!(["mine", 1]));
    assert_eq!(other.await.unwrap(), json!(["all", 2]));
}

#[tokio::test]
async fn kind_without_executor_gives_the_input_back() {
    let manager = Manager::in_memory();

    let refused = manager
        .scope("s")
        .task("t")
        .spawn_kind("fly", json!({"to": "moon"}))
        .await;

    let Err(SpawnError::NoExecutor { kind, input }) = refused else {
        panic!("nobody flies, but: {refused:?}");
    };
    assert_eq!((kind.as_str(), input), ("fly", json!({"to": "moon"})));
    assert!(manager.scope("s").find("t").is_none());
}

#[test]
fn manager_outside_of_a_runtime_is_refused() {
    let refused = Manager::builder().build();

    assert!(matches!(refused, Err(understory::BuildError::NoRuntime)));
}

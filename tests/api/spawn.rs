//! Spawning, results, children.

use serde_json::json;
use understory::{Cancel, Manager, State};

#[tokio::test]
async fn a_handle_is_a_future_of_the_bodys_value() {
    let manager = Manager::in_memory();

    let task = manager
        .scope("s")
        .task("t")
        .spawn(|_| async { Ok(42_u32) })
        .await
        .unwrap();

    assert_eq!(task.await.unwrap(), 42);
}

#[tokio::test]
async fn a_parent_settles_after_its_children() {
    let manager = Manager::in_memory();
    let lead = manager
        .scope("s")
        .task("lead")
        .spawn(|ctx| async move {
            let child = ctx
                .task("child")
                .spawn(|ctx| async move { Ok(ctx.path()) })
                .await?;
            Ok(json!({ "child": child.await? }))
        })
        .await
        .unwrap();
    let task = lead.task();
    assert_eq!(lead.await.unwrap()["child"], "lead/child");
    assert_eq!(task.state(), Some(State::Completed));
}

#[tokio::test]
async fn cancel_tree_reaches_everything_below() {
    let manager = Manager::in_memory();
    let lead = manager
        .scope("s")
        .task("lead")
        .spawn(|ctx| async move {
            for i in 0..10 {
                ctx.task(&format!("c{i}"))
                    .spawn(|ctx| async move {
                        ctx.cancelled().await;
                        Ok(())
                    })
                    .await?;
            }
            ctx.cancelled().await;
            Ok(())
        })
        .await
        .unwrap();
    while manager.children(lead.id()).len() < 10 {
        tokio::task::yield_now().await;
    }
    let report = lead.cancel_tree(Cancel::because("enough")).await.unwrap();
    assert_eq!(report.cancelled.len(), 11, "{report:?}");
    assert!(report.abandoned.is_empty());
    let report = manager
        .shutdown(std::time::Duration::from_secs(1))
        .await
        .unwrap();
    assert!(report.is_empty());
}

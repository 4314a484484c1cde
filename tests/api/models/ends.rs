//! The loop over turns: what it holds while it waits, and ends whose records are gone.

use tokio::time::sleep;
use understory::Class;
use understory::models::{Pause, UntilIdle};

use super::*;

#[tokio::test(start_paused = true)]
async fn body_that_waits_between_turns_lends_its_slot_and_is_not_idle() {
    let manager = Manager::builder().global_limit(Class::queue(1));
    let manager = manager.build().unwrap();
    let lead = manager.scope("s").task("lead");
    let lead = lead.idle_timeout(Duration::from_secs(30));
    let lead = lead.spawn(|ctx| async move {
        let wishes = UntilIdle::new(ctx.scope()).below(ctx.id());
        let manager = ctx.manager();
        let pause = wishes.run(&manager, |turn| {
            let child = turn.continuation.is_none().then(|| ctx.task("child"));
            async move {
                let Some(child) = child else { return Ok(()) };
                let child = child.spawn(|_| async {
                    sleep(Duration::from_mins(1)).await;
                    Ok(())
                });
                child.await.map(drop)
            }
        });
        Ok(pause.await?? == Pause::Idle)
    });

    assert!(soon(lead.await.unwrap()).await.unwrap());
}

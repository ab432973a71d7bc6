//! A coordinator that stands still with a completion in its hands, while another one goes on: what it remembers of the star
//! looks like what the star is by then, for a row has attempts modulo 16 only.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::id::{Attempt, ClassName, Nonce, RunId, StarId, StarIndex, Task};
use domain::message::{Completion, Report, TaskMessage, WIRE_VERSION, parse_task, to_json};
use services::queue::{Consumer, Outgoing, QueueName};
use services::state::{ClaimRequest, ClaimWish, WorkerInfo};

use super::World;
use super::life::LEASE;

/// Who claims everything.
const WORKER: &str = "host-0";

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Attempts until a row looks the same again.
const ROUND: u32 = 16;

/// Plays it: attempts of a task never go back.
pub(super) async fn stale_row(world: &World) -> Result<()> {
    let class = world.scripts[0].pipeline.modules[0].class.clone();
    world.state().show_worker(&worker(&class)?, PATIENCE * 2).await?;
    let stands_still = world.coordinator();
    let event = world.publish("1", &[StarId::of_simulator(1)]).await?;
    let run = *world.runs_of(&event).await?.first().context("the event has a run")?;
    let mut tasks = world.broker.consume(QueueName::Tasks(class), 1).await?;
    let first = next(&mut tasks).await?;
    give_back(world, &first, claim(world, &first).await?).await?;
    // It keeps the row with the second attempt queued.
    let second = next(&mut tasks).await?;
    let nonce = claim(world, &second).await?;
    let life = world.coordinators.lock().unwrap().first().cloned().context("it is there")?;
    life.freeze(true);
    give_back(world, &second, nonce).await?;
    crate::wait_until(PATIENCE, "it has the completion in its hands", async || {
        world.broker.depths(&[QueueName::Completions]).await.is_ok_and(|all| all.iter().all(|depth| depth.ready == 0))
    })
    .await?;
    let goes_on = world.coordinator();
    give_back(world, &second, nonce).await?;
    for _ in 1..ROUND {
        let task = next(&mut tasks).await?;
        give_back(world, &task, claim(world, &task).await?).await?;
    }
    let newest = next(&mut tasks).await?;
    ensure!(newest.attempt == Attempt(ROUND + 2), "attempt {:?} comes last", newest.attempt);
    life.freeze(false);
    crate::wait_until(PATIENCE, "no completion is left", async || {
        world.depth(QueueName::Completions).await.is_ok_and(|depth| depth == 0)
    })
    .await?;
    let now = attempt(world, run, newest.task).await?;
    ensure!(now >= newest.attempt, "R2: {:?} was queued, and now it is {now:?}", newest.attempt);
    stands_still.abort();
    goes_on.abort();
    Ok(())
}

/// Whoever plays the worker.
fn worker(class: &ClassName) -> Result<WorkerInfo> {
    Ok(WorkerInfo::new(WORKER.parse()?, [(class.clone(), 1)].into(), jiff::Timestamp::UNIX_EPOCH))
}

async fn next(tasks: &mut Box<dyn Consumer>) -> Result<TaskMessage> {
    let delivery = tokio::time::timeout(PATIENCE, tasks.next()).await.context("no task comes")?;
    let task = parse_task(&delivery.body).context("it is a task")?;
    delivery.receipt.ack().await?;
    Ok(task)
}

async fn claim(world: &World, message: &TaskMessage) -> Result<Nonce> {
    let nonce = Nonce::random();
    let wish = ClaimWish { task: message.task, attempt: message.attempt, nonce, reads: Vec::new() };
    let request = ClaimRequest {
        run: message.run,
        epoch: message.epoch,
        worker: WORKER.parse()?,
        lease: LEASE,
        wishes: vec![wish],
    };
    let claims = world.state().claim(&request).await?;
    world.around.witness.decided(&request, &claims);
    Ok(nonce)
}

async fn give_back(world: &World, message: &TaskMessage, nonce: Nonce) -> Result<()> {
    let completion = Completion {
        v: WIRE_VERSION,
        epoch: message.epoch,
        run: message.run,
        task: message.task,
        attempt: message.attempt,
        nonce,
        worker: WORKER.parse()?,
        started: jiff::Timestamp::UNIX_EPOCH,
        millis: 1,
        claim: None,
        key: None,
        result: Report::GivenBack,
    };
    let message = Outgoing { queue: QueueName::Completions, body: to_json(&completion), trace: None };
    for answer in world.broker.publish(vec![message]).await {
        answer?;
    }
    Ok(())
}

async fn attempt(world: &World, run: RunId, task: Task) -> Result<Attempt> {
    let stars: [StarIndex; 1] = [task.star];
    let star = world.state().load(run, &stars).await?.remove(0);
    Ok(star.attempt(task.module))
}

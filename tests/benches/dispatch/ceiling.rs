//! What RabbitMQ alone can do for two messages a task: two processes that pass messages to and fro through quorum queues, with
//! confirms, acknowledged by many. No claim, no state, nothing decided.

use std::process::{Child, Command};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::future::{FutureExt, join_all};
use futures::stream::{FuturesOrdered, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};

/// The argument that makes this program the other process.
pub(crate) const WORKER: &str = "--ceiling-worker";

/// Queues, and how long the messages of a task are in bytes.
const TASKS: (&str, usize) = ("ceiling.tasks", 200);
const COMPLETIONS: (&str, usize) = ("ceiling.completions", 490);

/// Deliveries that a consumer is sent ahead, most that are passed on at once, and tasks under way.
const AHEAD: u16 = 1024;
const BATCH: usize = 256;
const UNDER_WAY: u32 = 1024;

/// Batches whose confirms are awaited at once.
const UNCONFIRMED: usize = 4;

/// Passes so many tasks through a broker; tasks a second.
pub(crate) async fn round(url: &str, tasks: u32) -> Result<f64> {
    let mut end = CeilingProcess::of(url, COMPLETIONS, TASKS).await?;
    let _worker = OtherProcess::start(url)?;
    let began = Instant::now();
    let first = tasks.min(UNDER_WAY);
    publish(&end.publishes, TASKS, first as usize).await?;
    end.pass_on(Some((tasks, tasks - first))).await?;
    Ok(f64::from(tasks) / began.elapsed().as_secs_f64())
}

/// The other process: completes what comes, until it is ended.
pub(crate) async fn work(url: &str) -> Result<()> {
    CeilingProcess::of(url, TASKS, COMPLETIONS).await?.pass_on(None).await
}

/// One of the two processes.
struct CeilingProcess {
    _connections: [Connection; 2],
    consumes: Channel,
    publishes: Channel,
    consumer: Consumer,
    to: (&'static str, usize),
}

impl CeilingProcess {
    async fn of(url: &str, from: (&str, usize), to: (&'static str, usize)) -> Result<Self> {
        let connect = || Connection::connect(url, ConnectionProperties::default());
        let connections = [connect().await?, connect().await?];
        let (consumes, publishes) = (connections[0].create_channel().await?, connections[1].create_channel().await?);
        publishes.confirm_select(ConfirmSelectOptions::default()).await?;
        consumes.basic_qos(AHEAD, BasicQosOptions::default()).await?;
        for (name, _) in [TASKS, COMPLETIONS] {
            let mut quorum = FieldTable::default();
            quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
            let durable = QueueDeclareOptions { durable: true, ..Default::default() };
            consumes.queue_declare(name.into(), durable, quorum).await?;
        }
        if from == COMPLETIONS {
            consumes.queue_purge(TASKS.0.into(), QueuePurgeOptions::default()).await?;
            consumes.queue_purge(COMPLETIONS.0.into(), QueuePurgeOptions::default()).await?;
        }
        let options = BasicConsumeOptions::default();
        let consumer = consumes.basic_consume(from.0.into(), "".into(), options, FieldTable::default()).await?;
        Ok(Self { _connections: connections, consumes, publishes, consumer, to })
    }

    /// For each message that comes sends one on, and acknowledges it when that is confirmed. `most` is after how many to
    /// stop, and how many to send.
    async fn pass_on(&mut self, most: Option<(u32, u32)>) -> Result<()> {
        let (mut expected, mut left) = most.unwrap_or((u32::MAX, u32::MAX));
        let mut unconfirmed = FuturesOrdered::new();
        while expected > 0 || !unconfirmed.is_empty() {
            tokio::select! {
                Some(confirmed) = unconfirmed.next() => {
                    let tag: Result<u64> = confirmed;
                    let multiple = BasicAckOptions { multiple: true };
                    self.consumes.basic_ack(tag?, multiple).await?;
                }
                batch = next_batch(&mut self.consumer), if expected > 0 && unconfirmed.len() < UNCONFIRMED => {
                    let (count, tag) = batch?;
                    expected -= count;
                    let passed = count.min(left);
                    left -= if most.is_some() { passed } else { 0 };
                    let (channel, to) = (self.publishes.clone(), self.to);
                    unconfirmed.push_back(async move {
                        publish(&channel, to, passed as usize).await?;
                        Ok(tag)
                    });
                }
            }
        }
        Ok(())
    }
}

/// How many messages are there, one at least, and the tag of the last.
async fn next_batch(consumer: &mut Consumer) -> Result<(u32, u64)> {
    let mut last = consumer.next().await.context("the consumer ended")??.delivery_tag;
    let mut count = 1;
    while count < BATCH as u32
        && let Some(next) = consumer.next().now_or_never()
    {
        last = next.context("the consumer ended")??.delivery_tag;
        count += 1;
    }
    Ok((count, last))
}

/// Publishes so many messages and waits for all confirms.
async fn publish(channel: &Channel, (queue, length): (&str, usize), count: usize) -> Result<()> {
    let body = vec![b'x'; length];
    let one = async || {
        let properties = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
        channel.basic_publish("".into(), queue.into(), mandatory, &body, properties).await?.await
    };
    for confirmed in join_all((0..count).map(|_| one())).await {
        ensure!(matches!(confirmed?, Confirmation::Ack(None)), "a message is not confirmed");
    }
    Ok(())
}

/// The other process; it ends with its owner.
struct OtherProcess(Child);

impl OtherProcess {
    fn start(url: &str) -> Result<Self> {
        let here = std::env::current_exe()?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(here).args([WORKER, url]);
        Ok(Self(command.spawn().context("failed to start the other process")?))
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

//! Traces of a cluster on real services, as a collector sees them: a star is a trace, linked to its event, down to what modules
//! are told; and nobody waits for a collector.

mod collector;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use collector::{Collector, SeenSpan};
use domain::id::{StarId, TraceContext};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, to_json};
use harness::cluster::Cluster;
use harness::light::Campaign;
use harness::{ask, free_address, wait_until};
use services::queue::amqp::{AmqpConfig, AmqpQueue};
use services::queue::{Outgoing, Queue, QueueName};

const QUARTER: u16 = 3;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The span of whoever publishes the event.
const PUBLISHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const PROCESSES: (&str, &str) = ("SAS_WORKER_RUNNER", "process");

struct TracedCluster {
    campaign: Campaign,
    cluster: Cluster,
    queue: AmqpQueue,
}

impl TracedCluster {
    /// Two stars that are delivered and not announced, and a pipeline in which B follows A. Both write down what they are told of
    /// their trace; B fails where it is told to.
    async fn new(b_fails: bool) -> Result<Self> {
        let mut campaign = Campaign::new()?;
        campaign.deliver(QUARTER, "quiet=2", 1)?;
        let directory = campaign.path("cluster");
        fs::create_dir(&directory)?;
        let cluster = Cluster::start(&directory, &[&definition(&directory, b_fails)?])?;
        let files: Vec<String> = campaign.star_files()?.iter().map(|file| file.display().to_string()).collect();
        let arguments: Vec<&str> = ["ingest"].into_iter().chain(files.iter().map(String::as_str)).collect();
        cluster.ask(&arguments)?;
        let config = AmqpConfig::at(cluster.queue_url());
        let queue = AmqpQueue::connect(&config, "test").await?;
        queue.declare(&["default".parse()?]).await?;
        Ok(Self { campaign, cluster, queue })
    }

    fn stars(&self) -> Result<Vec<StarId>> {
        self.campaign.kinds.keys().map(|star| Ok(star.parse()?)).collect()
    }

    /// Publishes the event over both stars, as somebody who traces.
    async fn publish(&self) -> Result<DatasetEvent> {
        let data = DatasetUpdate {
            dataset: "l1/lightcurve".parse()?,
            quarter: u32::from(QUARTER).try_into()?,
            stars: StarSelection::Inline(self.stars()?),
            start: None,
        };
        let mut event = DatasetEvent::new("test", "1", "2026-01-01T00:00:00Z".to_owned(), data);
        event.traceparent = Some(PUBLISHER.to_owned());
        let message = Outgoing { queue: QueueName::Events, body: to_json(&event), trace: None };
        self.queue.publish(vec![message]).await.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(event)
    }

    /// The span that the next message of a queue says it was sent in; the message goes back.
    async fn header(&self, queue: QueueName) -> Result<impl Future<Output = Result<String>>> {
        let mut consumer = self.queue.consume(queue, 1).await?;
        Ok(async move {
            let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await?;
            Ok(delivery.trace.context("a message has the header")?.to_string())
        })
    }

    /// What a module was told of its trace.
    fn told(&self, star: &str, module: &str) -> Result<String> {
        let file = self.campaign.path("cluster").join(format!("{star}-{module}"));
        fs::read_to_string(&file).with_context(|| file.display().to_string())
    }
}

fn definition(directory: &Path, b_fails: bool) -> Result<PathBuf> {
    let mut text = "name = \"SMALL\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n\
                    [externals]\nstar = [\"DP1_LC_MERGED\"]\n[classes.default]\ncpus = 1\nmemory = \"256MB\"\n"
        .to_owned();
    for (name, input, output, code) in [("A", "DP1_LC_MERGED", "X", 0), ("B", "X", "Y", 3 * u8::from(b_fails))] {
        let program = format!(
            "import h5py, os, sys; e = os.environ; \
             open({:?} + '/' + e['SAS_STAR'] + '-{name}', 'w').write(e['TRACEPARENT']); \
             h5py.File(e['SAS_OUTPUT'], 'w')['PRODUCTS/{output}/seen'] = 1; sys.exit({code})",
            directory.display().to_string()
        );
        text += &format!(
            "[modules.{name}]\nimage = \"none\"\ncommand = [\"/usr/bin/python3\", \"-c\", {program:?}]\nclass = \"default\"\n\
             time_limit = \"1m\"\ninputs.mandatory = [\"{input}\"]\noutputs.mandatory = [\"{output}\"]\n"
        );
    }
    let path = directory.join("small.toml");
    fs::write(&path, text)?;
    Ok(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_is_a_trace_from_its_event_down_to_its_modules() -> Result<()> {
    let scene = TracedCluster::new(true).await?;
    let collector = Collector::start().await?;
    let traced = ("SAS_TRACES_ENDPOINT", collector.endpoint.as_str());
    let (task, report) =
        (scene.header(QueueName::Tasks("default".parse()?)).await?, scene.header(QueueName::Completions).await?);
    let coordinator = scene.cluster.coordinator_with("coordinator", &[traced])?;
    let worker = scene.cluster.worker("here", &[PROCESSES, traced])?;
    let event = scene.publish().await?;
    let (task, report) = (task.await?, report.await?);
    wait_until(PATIENCE, "both stars are told of, and all attempts", async || {
        collector.spans("star").len() >= 2
            && collector.spans("attempt").len() >= 4
            && !collector.spans("event").is_empty()
    })
    .await
    .with_context(|| format!("{}\n{}\n{:?}", coordinator.log(), worker.log(), collector.spans("")))?;

    let [accepted] = &collector.spans("event")[..] else { panic!("one event: {:?}", collector.spans("event")) };
    let publisher: TraceContext = PUBLISHER.parse()?;
    let expected = TraceContext::of_event(event.event_id(), Some(publisher));
    assert_eq!(accepted.traceparent(), expected.to_string(), "in the publisher's trace");
    assert_eq!(accepted.span.parent_span_id, publisher.span.as_bytes());
    assert_eq!((accepted.attribute("sas.stars"), accepted.attribute("cloudevents.event_source")), ("2", "test"));

    let stars = collector.spans("star");
    assert_eq!(stars.len(), 2, "each once");
    for star in &stars {
        let of_star = TraceContext::of_star(star.attribute("sas.run").parse()?, star.attribute("sas.star").parse()?);
        assert_eq!(star.traceparent(), of_star.sampled(1.0).to_string(), "anybody can compute it");
        assert_eq!(star.attribute("sas.run"), accepted.attribute("sas.run"));
        let [link] = &star.span.links[..] else { panic!("one link: {star:?}") };
        assert_eq!((&link.trace_id, &link.span_id), (&accepted.span.trace_id, &accepted.span.span_id));
        assert!(star.span.parent_span_id.is_empty() && star.is_error() && star.attribute("sas.status") == "failed");
        check_attempts(&scene, &collector, star)?;
    }
    assert_ne!(stars[0].span.trace_id, stars[1].span.trace_id);
    assert!(stars.iter().any(|star| star.traceparent() == task), "{task} is a star");
    assert!(collector.spans("attempt").iter().any(|attempt| attempt.traceparent() == report), "{report} is an attempt");
    Ok(())
}

fn check_attempts(scene: &TracedCluster, collector: &Collector, star: &SeenSpan) -> Result<()> {
    let attempts = collector.below(star);
    assert_eq!(attempts.keys().collect::<Vec<_>>(), ["attempt A", "attempt B"]);
    let [good, bad] = ["attempt A", "attempt B"].map(|name| &attempts[name]);
    for (attempt, module) in [(good, "A"), (bad, "B")] {
        assert_eq!(scene.told(star.attribute("sas.star"), module)?, attempt.traceparent());
        assert_eq!(attempt.program["host.name"], "here");
        let known = ["sas.module", "sas.attempt", "sas.class", "container.image.name", "messaging.destination.name"];
        assert_eq!(known.map(|name| attempt.attribute(name)), [module, "1", "default", "none", "sas.tasks.default"]);
        let steps = collector.below(attempt);
        assert!(steps.values().all(|step| {
            let (step, whole) = (&step.span, &attempt.span);
            whole.start_time_unix_nano <= step.start_time_unix_nano
                && step.end_time_unix_nano <= whole.end_time_unix_nano
        }));
    }
    let steps = collector.below(good);
    assert_eq!(steps.keys().collect::<Vec<_>>(), ["check", "commit", "execute", "resolve", "stage", "wait"]);
    assert!(
        !good.is_error() && good.attribute("sas.outcome") == "succeeded" && good.attribute("process.exit.code") == "0"
    );
    let steps = collector.below(bad);
    assert_eq!(steps.keys().collect::<Vec<_>>(), ["execute", "resolve", "stage", "wait"]);
    for span in [bad, &steps["execute"]] {
        assert!(span.is_error() && span.attribute("error.type") == "exit", "{span:?}");
    }
    assert!(!steps["stage"].is_error() && bad.attribute("process.exit.code") == "3");
    Ok(())
}

/// Nobody listens where the coordinator's spans go; where the worker's go somebody listens and never answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_changes_nothing() -> Result<()> {
    let scene = TracedCluster::new(false).await?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let [gone, listen] = [free_address()?, free_address()?];
    let [gone, hangs] = [format!("http://{gone}"), format!("http://{}", silent.local_addr()?)];
    let settings = [("SAS_TRACES_ENDPOINT", gone.as_str()), ("SAS_HTTP_LISTEN", listen.as_str())];
    let coordinator = scene.cluster.coordinator_with("coordinator", &settings)?;
    let worker = scene.cluster.worker("here", &[PROCESSES, ("SAS_TRACES_ENDPOINT", hangs.as_str())])?;
    scene.publish().await?;
    let mut metrics = String::new();
    wait_until(PATIENCE, "the spans of both stars and of their event are dropped", async || {
        metrics = ask(&listen, "/metrics").await.unwrap_or_default();
        metrics.contains("\nsas_spans_dropped_total 3\n")
    })
    .await
    .with_context(|| format!("{}\n{}\n{metrics}", coordinator.log(), worker.log()))?;
    let ended = scene.cluster.sas(&["run", "watch", "--timeout", "1m"])?;
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(metrics.contains("\nsas_spans_sent_total 0\n"), "{metrics}");
    let log = coordinator.log();
    assert_eq!(log.matches("the collector of traces takes no spans").count(), 1, "{log}");
    assert!(coordinator.terminate()?.success());
    Ok(())
}

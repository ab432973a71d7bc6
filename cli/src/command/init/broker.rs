//! RabbitMQ: its version, its queues and its management API.

use domain::id::ClassName;
use domain::pipeline::Pipeline;
use services::queue::amqp::{Difference, differences, server_version};
use services::queue::{Depth, QueueError, QueueName};

use super::report::{ReportLine, major_minor};
use super::{Missing, classes};
use crate::connect::Config;

/// The oldest RabbitMQ that serves.
const RABBITMQ: (u32, u32) = (3, 10);

/// What was found of the queues.
#[derive(Default)]
struct FoundQueues {
    /// Names of those that were there.
    before: Vec<String>,
    /// Those that are there now.
    after: Vec<Depth>,
    differences: Vec<Difference>,
    /// Why not all that were missing could be made.
    refusal: Option<QueueError>,
}

/// The queues of these pipelines' classes, and those that are always there.
pub(super) async fn rabbitmq(
    config: &Config,
    definitions: &[Pipeline],
    missing: Missing,
    checks: &mut Vec<ReportLine>,
) {
    match server_version(config.broker()).await {
        Ok(Some(version)) if major_minor(&version).is_some_and(|found| found < RABBITMQ) => {
            checks.push(ReportLine::problem("RabbitMQ", format!("version {version}: 3.10 or newer is needed")));
        }
        Ok(Some(version)) => checks.push(ReportLine::ok("RabbitMQ", format!("version {version}"))),
        Ok(None) => checks.push(ReportLine::ok("RabbitMQ", "it does not say its version; 3.10 or newer is needed")),
        Err(error) => return checks.push(of_queue("RabbitMQ", &error)),
    }
    let classes: Vec<ClassName> = classes(definitions).into_iter().collect();
    let mut queues = vec![QueueName::Events, QueueName::Completions, QueueName::Dead];
    queues.extend(classes.iter().cloned().map(QueueName::Tasks));
    let found = match find(config, &queues, &classes, missing).await {
        Ok(found) => found,
        Err(error) => {
            return checks.push(match error.downcast_ref::<QueueError>() {
                Some(error) => of_queue("queues", error),
                None => ReportLine::problem("queues", format!("{error:#}")),
            });
        }
    };
    checks.extend(found.lines(&queues, missing));
    let what = "management API";
    let dead = QueueName::Dead.to_string();
    let asked = found.after.into_iter().find(|depth| depth.queue == dead);
    checks.extend(match (config.broker().management.is_some(), asked) {
        (false, _) => Some(ReportLine::ok(what, "not configured: messages that are not acknowledged are not counted")),
        (true, Some(Depth { unknown: Some(reason), .. })) => Some(ReportLine::problem(what, reason)),
        (true, Some(_)) => Some(ReportLine::ok(what, "it answers")),
        // Without a queue there is nothing to ask for.
        (true, None) => None,
    });
}

/// Looks at the queues, and makes those that are missing where that is wanted.
async fn find(
    config: &Config,
    queues: &[QueueName],
    classes: &[ClassName],
    missing: Missing,
) -> anyhow::Result<FoundQueues> {
    let queue = config.queue().await?;
    let mut known = queues.to_vec();
    known.push(QueueName::Probe);
    let before = queue.depths(&known).await?;
    let differences = differences(config.broker(), &known).await?;
    let refusal = match missing {
        Missing::Named => None,
        Missing::Made { .. } => match queue.declare(classes).await {
            Ok(()) => None,
            Err(refusal @ QueueError::Refused(_)) => Some(refusal),
            Err(error) => return Err(error.into()),
        },
    };
    let after = queue.depths(queues).await?;
    Ok(FoundQueues { before: before.into_iter().map(|depth| depth.queue).collect(), after, differences, refusal })
}

impl FoundQueues {
    /// A line for each queue, and for what else was found.
    fn lines(&self, queues: &[QueueName], missing: Missing) -> Vec<ReportLine> {
        let difference = |queue: Option<&QueueName>| {
            let found = self.differences.iter().find(|found| found.queue.as_ref() == queue);
            found.map(|found| found.reason.clone())
        };
        let exchange = difference(None).map(|reason| ReportLine::problem("exchange", reason));
        // Nobody misses it: who needs it makes it.
        let probe = QueueName::Probe;
        let queues = queues.iter().chain([&probe]).filter_map(|queue| {
            let name = queue.to_string();
            match difference(Some(queue)) {
                Some(reason) => Some(ReportLine::problem("queue", reason)),
                None if self.before.contains(&name) => Some(ReportLine::ok("queue", name)),
                None if *queue == QueueName::Probe => None,
                None => Some(self.missed(name, missing)),
            }
        });
        exchange.into_iter().chain(queues).collect()
    }

    /// The line of a queue that was not there.
    fn missed(&self, name: String, missing: Missing) -> ReportLine {
        match (missing, &self.refusal) {
            (Missing::Named, _) => ReportLine::problem("queue", format!("{name} is not there; `sas init` makes it")),
            (Missing::Made { .. }, _) if self.after.iter().any(|depth| depth.queue == name) => {
                ReportLine::made("queue", name)
            }
            (Missing::Made { .. }, Some(refusal)) => {
                ReportLine::problem("queue", format!("{name} is not there and was not made: {refusal}"))
            }
            (Missing::Made { .. }, None) => {
                ReportLine::problem("queue", format!("{name} was made and is gone again: something else deletes it"))
            }
        }
    }
}

fn of_queue(what: &str, error: &QueueError) -> ReportLine {
    match error {
        QueueError::Unreachable(_) => {
            ReportLine::unreachable(what, format!("{error}; is it running, and is `[queue] url` right?"))
        }
        QueueError::Unconfirmed { .. } | QueueError::Silent { .. } | QueueError::Refused(_) => {
            ReportLine::problem(what, error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::init::report::LineVerdict;

    #[test]
    fn every_queue_has_its_own_verdict() {
        let queues = [QueueName::Events, QueueName::Completions, QueueName::Dead];
        let difference = |queue, reason: &str| Difference { queue, reason: reason.to_owned() };
        let mut found = FoundQueues {
            before: vec!["sas.completions".to_owned(), "sas.dead".to_owned(), "sas.probe".to_owned()],
            differences: vec![
                difference(Some(QueueName::Completions), "it is classic"),
                difference(Some(QueueName::Probe), "it is classic too"),
            ],
            ..FoundQueues::default()
        };
        let said = |found: &FoundQueues, missing| -> Vec<String> {
            let lines = found.lines(&queues, missing);
            lines.iter().map(|line| format!("{} {} {}", line.verdict, line.what, line.detail)).collect()
        };
        let expected = [
            "problem queue sas.events is not there; `sas init` makes it",
            "problem queue it is classic",
            "ok queue sas.dead",
            "problem queue it is classic too",
        ];
        assert_eq!(said(&found, Missing::Named), expected);

        let depth = Depth {
            queue: "sas.events".to_owned(),
            ready: 0,
            unacknowledged: None,
            unknown: None,
            silent: None,
            consumers: 0,
        };
        found.after = vec![depth];
        assert_eq!(said(&found, Missing::Made { pull: false })[0], "made queue sas.events");

        found.after = Vec::new();
        found.differences = vec![difference(None, "it is direct")];
        found.refusal = Some(QueueError::Refused("the exchange".to_owned()));
        let lines = found.lines(&queues, Missing::Made { pull: false });
        assert_eq!((lines[0].verdict, lines[0].what.as_str()), (LineVerdict::Problem, "exchange"));
        assert_eq!(lines[1].detail, "sas.events is not there and was not made: message broker refused: the exchange");
        assert_eq!(lines[2].verdict, LineVerdict::Ok);
        assert_eq!(lines.len(), 5, "what `init` does not make is shown where it is there");
    }
}

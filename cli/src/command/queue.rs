//! `sas queue`: how full the queues are.

use std::collections::BTreeSet;

use clap::Subcommand;
use services::queue::QueueName;

use crate::connect::{Config, Site};
use crate::output::{Format, table};

/// Queues of the message broker.
#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Depth of every queue: messages that wait, unanswered deliveries, consumers; `sas.dead` holds what could not be read.
    List,
}

impl Queue {
    pub(crate) async fn run(self, site: &Site, format: Format) -> anyhow::Result<()> {
        let Self::List = self;
        let config = Config::load(site)?;
        let (queue, state) = (config.queue().await?, config.state().await?);
        let mut classes = BTreeSet::new();
        classes.extend(state.runs().await?.into_iter().flat_map(|run| run.modules).map(|(_, class)| class));
        classes.extend(state.workers().await?.into_iter().flat_map(|worker| worker.slots.into_keys()));
        let mut names = vec![QueueName::Events, QueueName::Completions];
        names.extend(classes.into_iter().map(QueueName::Tasks));
        names.push(QueueName::Dead);
        let depths = queue.depths(&names).await?;
        format.print(&depths, |depths| {
            let mut table = table(["QUEUE", "READY", "UNACKNOWLEDGED", "CONSUMERS"]);
            for depth in depths {
                let unacknowledged = depth.unacknowledged.map_or_else(|| "?".to_owned(), |n| n.to_string());
                table.add_row([
                    depth.queue.clone(),
                    depth.ready.to_string(),
                    unacknowledged,
                    depth.consumers.to_string(),
                ]);
            }
            table.to_string()
        });
        Ok(())
    }
}

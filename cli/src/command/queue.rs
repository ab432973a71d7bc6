//! `sas queue`: how full the queues are.

use clap::Subcommand;
use coordinator::operate::queue;
use services::queue::Depth;

use crate::connect::Site;
use crate::installation::Configured;
use crate::output::{Format, table};

/// Queues of the message broker.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Depth of every queue: messages that wait, unanswered deliveries, consumers; `sas.dead` holds what could not be read.
    List,
}

impl QueueCommand {
    pub(crate) async fn run(self, site: &Site, format: Format) -> anyhow::Result<()> {
        let Self::List = self;
        let depths = queue::list(&Configured::load(site)?).await?;
        format.print(&depths, |depths| list(depths));
        Ok(())
    }
}

fn list(depths: &[Depth]) -> String {
    let mut table = table(["QUEUE", "READY", "UNACKNOWLEDGED", "CONSUMERS"]);
    for depth in depths {
        let unacknowledged = depth.unacknowledged.map_or_else(|| "?".to_owned(), |n| n.to_string());
        table.add_row([depth.queue.clone(), depth.ready.to_string(), unacknowledged, depth.consumers.to_string()]);
    }
    table.to_string()
}

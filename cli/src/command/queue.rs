//! `sas queue`: how full the queues are.

use clap::Subcommand;
use coordinator::operate::queue;
use services::queue::Depth;

use crate::connect::Site;
use crate::installation::Configured;
use crate::output::{Format, Table, note, table};

/// Queues of the message broker.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Depth of every queue: messages that wait, unanswered deliveries (`-` without `[queue] management`), consumers; `sas.dead`
    /// holds what could not be read.
    List,
}

impl QueueCommand {
    pub(crate) async fn run(self, site: &Site, format: Format) -> anyhow::Result<()> {
        let Self::List = self;
        let depths = queue::list(&Configured::load(site)?).await?;
        format.print_list(&depths, |depths| list(depths));
        if let Some(reason) = depths.iter().find_map(|depth| depth.unknown.as_ref()) {
            note(&format!("unacknowledged messages are not known: {reason}"));
        }
        Ok(())
    }
}

fn list(depths: &[Depth]) -> Table {
    let mut table = table(["QUEUE", "READY", "UNACKNOWLEDGED", "CONSUMERS"]);
    for depth in depths {
        let unknown = if depth.unknown.is_some() { "?" } else { "-" };
        let unacknowledged = depth.unacknowledged.map_or_else(|| unknown.to_owned(), |n| n.to_string());
        table.add_row([depth.queue.clone(), depth.ready.to_string(), unacknowledged, depth.consumers.to_string()]);
    }
    table
}

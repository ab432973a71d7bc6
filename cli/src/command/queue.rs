//! `sas queue`: how full the queues are, and what is behind them.

use clap::Subcommand;
use coordinator::operate::flow::{ClassFlow, Flow, ModuleFlow, QueueFlow, TasksFlow, flow};
use coordinator::operate::{ErrorKind, OperateError};
use jiff::Timestamp;

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, Table, note};
use crate::words::{ago, lasting};

/// Queues of the message broker.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Every queue: messages that wait, unanswered deliveries (`-` without `[queue] management`), consumers; of a class also
    /// what its tasks do, how long the oldest is ready, what came and went in the last minute, and what is to do in slot time
    /// (`+` where not all modules are measured yet). `sas.dead` holds what could not be read.
    List {
        /// A line for each module, in place of one for each queue.
        #[arg(long)]
        modules: bool,
    },
}

impl QueueCommand {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let Self::List { modules } = self;
        let Flow { at, queues, broker_away, state_away } = flow(&Configured::load(site)?).await?;
        if let Some(reason) = broker_away {
            return Err(OperateError::new(ErrorKind::OutOfReach, reason).into());
        }
        if modules {
            format.print_list(&queues, |queues| by_module(queues, at));
        } else {
            format.print_list(&queues, |queues| list(queues, at));
        }
        if let Some(reason) = queues.iter().find_map(|queue| queue.unknown.as_ref()) {
            note(&format!("unacknowledged messages are not known: {reason}"));
        }
        if let Some(reason) = state_away {
            note(&format!("what is behind the queues is not known: {reason}"));
        }
        Ok(())
    }
}

const OF_TASKS: [&str; 10] =
    ["RUNNING", "WAITING", "NEXT", "ON HOLD", "TO COME", "OLDEST", "IN/MIN", "OUT/MIN", "WORK", "SLOTS"];

fn list(queues: &[QueueFlow], at: Timestamp) -> Table {
    let mut table = Table::new(["QUEUE", "READY", "UNACKNOWLEDGED", "CONSUMERS"].into_iter().chain(OF_TASKS));
    for queue in queues {
        let unknown = if queue.unknown.is_some() { "?" } else { "-" };
        let own = [number(queue.ready, "?"), number(queue.unacknowledged, unknown), number(queue.consumers, "?")];
        let of_tasks = match &queue.class {
            Some(class) => {
                let ClassFlow { tasks, busy, slots, .. } = class;
                [&cells(tasks, at)[..], &[format!("{busy}/{slots}")]].concat()
            }
            None => vec![String::new(); OF_TASKS.len()],
        };
        table.add_row(std::iter::once(queue.queue.clone()).chain(own).chain(of_tasks));
    }
    table
}

fn by_module(queues: &[QueueFlow], at: Timestamp) -> Table {
    let headings = ["QUEUE", "PIPELINE", "MODULE", "READY"].into_iter().chain(OF_TASKS.into_iter().take(9));
    let mut table = Table::new(headings);
    for queue in queues {
        for ModuleFlow { pipeline, module, tasks } in queue.class.iter().flat_map(|class| &class.modules) {
            let names = [queue.queue.clone(), pipeline.to_string(), module.to_string(), tasks.ready.to_string()];
            table.add_row(names.into_iter().chain(cells(tasks, at)));
        }
    }
    table
}

/// What the tasks do, up to their work.
fn cells(tasks: &TasksFlow, at: Timestamp) -> [String; 9] {
    let more = if tasks.unmeasured > 0 { "+" } else { "" };
    [
        tasks.in_progress.to_string(),
        tasks.waiting.to_string(),
        tasks.due.map_or_else(String::new, |due| ago(at, due)),
        tasks.on_hold.to_string(),
        tasks.to_come.to_string(),
        tasks.oldest.map_or_else(String::new, |oldest| ago(oldest, at)),
        tasks.entered.to_string(),
        tasks.left.to_string(),
        format!("{}{more}", lasting(tasks.work.ceil() as u64)),
    ]
}

fn number(number: Option<u64>, unknown: &str) -> String {
    number.map_or_else(|| unknown.to_owned(), |number| number.to_string())
}

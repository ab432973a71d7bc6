//! Runs: what was fixed when they were accepted, what operators decided, what their stars settled with, how they ended.
//!
//! What goes on is found by its markers, what is over by the index: nobody reads all folders of all runs.

mod amendments;
mod decisions;
mod images;
mod index;
mod open;
mod quarters;
mod record;
mod replays;
mod selection;
mod settled;
mod stars;

pub use amendments::Amendments;
pub use decisions::{Amendment, Decided, Decision, RunEnd, Took, is_called_off, is_over};
pub use index::{ListedRun, RunList, RunRank};
pub use quarters::{QuarterNote, QuarterVerdict};
pub use record::RunRecord;
pub use replays::{ReplayOrder, Replayed};
pub use selection::Selection;
pub use settled::{Alike, FailedTask, FailedTasks, SettledRow, SettledStar, StarEnd};
pub use stars::StarList;

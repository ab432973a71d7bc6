//! Crash points: named moments in the work of coordinator and worker after which nothing may be lost. Where a test says so a
//! program ends there at once, as by SIGKILL, at each of them one time. Only programs of debug builds do: in others it is nothing.

/// A moment at which a program may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CrashPoint {
    /// Coordinator: an event is in the store, none of its runs is.
    EventWritten,
    /// Coordinator: a run is in the store, its event does not say so yet.
    RunWritten,
    /// Coordinator: event and runs are in the store, nothing is in the state.
    EventDisposed,
    /// Coordinator: a run is in the state.
    RunEntered,
    /// Coordinator: an event is accepted, its message is not acknowledged.
    EventAccepted,
    /// Coordinator: the same, and it is.
    EventAcknowledged,
    /// Coordinator: stars entered, the messages of their first tasks are not published.
    StarsEntered,
    /// Coordinator: they are.
    StarsPublished,
    /// Coordinator: completions were taken, nothing came of them yet.
    CompletionsTaken,
    /// Coordinator: what happened to stars is in their rows, and nowhere else.
    RowsWritten,
    /// Coordinator: the broker confirmed messages of tasks, which only this process knows.
    TasksConfirmed,
    /// Coordinator: the state knows it, too.
    OutboxTold,
    /// Coordinator: all that follows from completions is done, they are not acknowledged.
    CompletionsDone,
    /// Coordinator: they are.
    CompletionsAcknowledged,
    /// Coordinator: waits are over in the rows, the tasks are not published.
    WaitsOver,
    /// Coordinator: lost leases are in the rows, the tasks are not published.
    LeasesLost,
    /// Coordinator: a generation is built, and has no name yet.
    GenerationBuilt,
    /// Coordinator: it has its name, the star file shows another one.
    GenerationCommitted,
    /// Coordinator: the star file shows it, nobody wrote down how the star ended.
    StarShown,
    /// Coordinator: the lines of stars are written, the state still has them.
    LinesWritten,
    /// Coordinator: the state forgot them, their run has no end.
    StarsClosed,
    /// Coordinator: the end of a run is in the store, the run in the state.
    RunEndWritten,
    /// Coordinator: it is nowhere but in the store.
    RunClosed,
    /// Worker: messages of tasks were taken, nothing is claimed.
    TasksTaken,
    /// Worker: attempts are claimed, their messages are not acknowledged.
    AttemptsClaimed,
    /// Worker: they are, and programs may have begun.
    ClaimsAcknowledged,
    /// Worker: leases were renewed.
    LeasesRenewed,
    /// Worker: the directories of an attempt are made.
    DirectoriesMade,
    /// Worker: its input is there.
    InputStaged,
    /// Worker: its program runs.
    ProgramStarted,
    /// Worker: its program ended.
    ProgramEnded,
    /// Worker: its output is checked and packed, and has no name yet.
    ResultSealed,
    /// Worker: it has its name, the attempt's directories are there.
    ResultLinked,
    /// Worker: the sealed file is gone, the directories are there, nobody was told.
    ResultCommitted,
    /// Worker: a failure is on record, nobody was told.
    FailureRecorded,
    /// Worker: a completion is confirmed, the worker does not know it.
    CompletionConfirmed,
    /// Worker: it does.
    CompletionReported,
}

impl CrashPoint {
    /// All there are.
    pub fn all() -> &'static [Self] {
        <Self as strum::VariantArray>::VARIANTS
    }

    /// This process got here.
    #[inline]
    pub fn reached(self) {
        #[cfg(debug_assertions)]
        asked::abort_once(self);
    }
}

#[cfg(debug_assertions)]
mod asked {
    use std::fs::File;
    use std::path::PathBuf;
    use std::sync::OnceLock;

    use super::CrashPoint;

    /// Names a directory: who makes the file of a crash point in it dies there.
    const DIRECTORY: &str = "SAS_CRASH_POINTS";

    pub(super) fn abort_once(point: CrashPoint) {
        static ASKED: OnceLock<Option<PathBuf>> = OnceLock::new();
        let Some(directory) = ASKED.get_or_init(|| std::env::var_os(DIRECTORY).map(PathBuf::from)) else { return };
        if File::create_new(directory.join(point.to_string())).is_ok() {
            std::process::abort();
        }
    }
}

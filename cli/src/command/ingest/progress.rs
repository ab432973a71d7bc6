//! How far ingestion is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use store::ingest::{IngestResult, Ingested};

use crate::output::note;

/// How often a line is printed where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// First all files are looked at, then those of each star are put together.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    files: usize,
    inspected: usize,
    done: usize,
    wrong: usize,
    last: Instant,
}

impl Progress {
    pub(super) fn new(files: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{elapsed:>5} [{bar:30}] {msg}");
            let bar = ProgressBar::new(2 * files as u64);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "))
        });
        Self { bar, files, inspected: 0, done: 0, wrong: 0, last: Instant::now() }
    }

    pub(super) fn inspected(&mut self) {
        self.inspected += 1;
        self.show();
    }

    pub(super) fn done(&mut self, ingested: &Ingested) {
        self.done += ingested.files.len();
        if matches!(ingested.result, IngestResult::Wrong { .. }) {
            self.wrong += ingested.files.len();
        }
        self.show();
    }

    fn show(&mut self) {
        let Self { files, inspected, done, wrong, .. } = *self;
        let message = || {
            let wrong = if wrong > 0 { format!(", {wrong} wrong") } else { String::new() };
            if inspected < files {
                format!("{inspected}/{files} files looked at{wrong}")
            } else {
                format!("{done}/{files} files done{wrong}")
            }
        };
        if let Some(bar) = &self.bar {
            bar.set_position((inspected + done) as u64);
            bar.set_message(message());
        } else if self.last.elapsed() >= LINE_INTERVAL {
            self.last = Instant::now();
            note(&message());
        }
    }

    pub(super) fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

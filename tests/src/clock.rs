//! A clock that can be stepped, for one process: a library before its own, compiled from `tests/chaos/clock.c`.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// What processes that were started with its environment take for the time of day.
pub struct SteppedClock {
    directory: TempDir,
}

impl SteppedClock {
    /// A clock that is right.
    pub fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("chaos/clock.c");
        let library = directory.path().join("clock.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
        let built = compiler.output().context("failed to run cc")?;
        ensure!(built.status.success(), "cc: {}", String::from_utf8_lossy(&built.stderr));
        fs::write(directory.path().join("ahead"), 0_i64.to_ne_bytes())?;
        Ok(Self { directory })
    }

    /// What a process must be started with.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", "clock.so"), ("CLOCK_AHEAD", "ahead")]
            .map(|(name, file)| (name, self.directory.path().join(file).display().to_string()))
    }

    /// Steps it to so many seconds ahead of the right time.
    pub fn set(&self, ahead: i64) -> Result<()> {
        let file = fs::OpenOptions::new().write(true).open(self.directory.path().join("ahead"))?;
        Ok(file.write_all_at(&ahead.to_ne_bytes(), 0)?)
    }
}

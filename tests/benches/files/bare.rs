//! The bare loop: the same processes, and for each what makes its file last: synced, linked to its name, the directory synced.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::scene::{ProcessScene, command};

/// Files a second, with so many at once.
pub(crate) fn rate(scene: &ProcessScene, files: usize, at_once: usize) -> Result<f64> {
    let (made, kept) = (scene.folder("bare/made")?, scene.folder("bare/kept")?);
    let template = scene.template("END");
    let (next, began) = (AtomicUsize::new(0), Instant::now());
    let work = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= files {
                return Ok(());
            }
            one(&template, &made.join(number.to_string()), &kept, number)?;
        }
    };
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().ok().context("a thread panicked")?)
    })?;
    Ok(files as f64 / began.elapsed().as_secs_f64())
}

fn one(template: &Path, file: &Path, kept: &Path, number: usize) -> Result<()> {
    let [shell, flag, line] = command(template, &format!("'{}'", file.display()));
    ensure!(Command::new(shell).args([flag, line]).status()?.success(), "cp failed");
    File::open(file)?.sync_all()?;
    fs::hard_link(file, kept.join(number.to_string()))?;
    File::open(kept)?.sync_all()?;
    Ok(fs::remove_file(file)?)
}

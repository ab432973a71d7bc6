//! What must hold of a run that ended.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use domain::id::{Generation, Quarter, RunId, StarId, StarIndex};
use domain::run::{Row, TaskState};
use store::agent::GenerationStatus;
use store::paths;
use store::runs::{RunRecord, SettledStar, StarEnd};

use super::{Script, World, files};

impl World {
    /// Checks everything that must hold of a run that ended; `superseded` says whether a newer run could take its stars.
    pub fn check_end(&self, run: RunId, superseded: bool) -> Result<()> {
        let record = self.store.run(run)?.context("the run is in the store")?;
        let end = self.store.run_end(run)?.context("the run ended")?;
        let script = self.script(record.pipeline.as_str())?;
        let stars: Vec<StarId> = self.store.stars(run)?.iter().collect::<Result<_, _>>()?;
        let settled = self.store.settled(run)?;
        ensure!(settled.len() == stars.len(), "E1: {} of {} stars have an end", settled.len(), stars.len());
        let mut counts: BTreeMap<(usize, TaskState), u64> = BTreeMap::new();
        let mut ends: BTreeMap<StarEnd, u64> = BTreeMap::new();
        for (index, star) in (0..).map(StarIndex).zip(&stars) {
            let line = &settled[&index];
            let row = Row::from_bytes(line.row.clone())?;
            self.check_star(script, &record, *star, line, &row, superseded).with_context(|| format!("{run}/{star}"))?;
            for (module, cell) in row.cells().enumerate() {
                *counts.entry((module, cell.state)).or_default() += 1;
            }
            *ends.entry(line.end.context("E1")?).or_default() += 1;
        }
        let modules = &script.pipeline.modules;
        let recorded: BTreeMap<(usize, TaskState), u64> = end
            .counts
            .iter()
            .flat_map(|(name, states)| {
                let module = modules.iter().position(|module| module.name == *name).unwrap_or(usize::MAX);
                states.iter().map(move |(state, count)| ((module, *state), *count))
            })
            .collect();
        ensure!(recorded == counts, "P1: the run's counts {recorded:?} are not those of the rows {counts:?}");
        ensure!(end.stars == ends, "E1: stars of the run {:?}, of the lines {ends:?}", end.stars);
        Ok(())
    }

    fn check_star(
        &self,
        script: &Script,
        record: &RunRecord,
        star: StarId,
        line: &SettledStar,
        row: &Row,
        superseded: bool,
    ) -> Result<()> {
        let expected = script.expected(star);
        for (cell, (module, wanted)) in row.cells().zip(script.pipeline.indexed().zip(&expected)) {
            let taken = superseded && cell.state == TaskState::Superseded;
            let (index, module) = module;
            ensure!(taken || cell.state == wanted.state, "{}: {} and not {}", module.name, cell.state, wanted.state);
            if let (TaskState::Succeeded, Some(generation)) = (cell.state, line.generation) {
                ensure!(
                    line.keys.get(&index) == wanted.key.as_ref(),
                    "{}: another key (generation {generation})",
                    module.name
                );
            }
        }
        let Some(generation) = line.generation else {
            ensure!(superseded, "a star without a star file");
            return Ok(());
        };
        let file = self.store.at(paths::generation(star, record.quarter, generation));
        let this = files::read_generation(&file)?;
        ensure!(this.info()?.run == record.run && this.info()?.row == line.row, "S2: the generation is of another end");
        self.check_star_file(star, record.quarter).map(drop)
    }

    /// S2 of every star of a run that has a star file; how often files show another generation than the newest.
    pub fn check_star_files(&self, run: RunId) -> Result<usize> {
        let record = self.store.run(run)?.context("the run is in the store")?;
        let mut others = 0;
        for star in self.store.stars(run)?.iter() {
            let star = star?;
            if self.store.latest_generation(star, record.quarter)?.is_some() {
                let (open, newest) = self.check_star_file(star, record.quarter).with_context(|| star.to_string())?;
                others += usize::from(open != newest);
            }
        }
        Ok(others)
    }

    /// The star file shows the last complete generation, or the newest where there is none; which it shows, and the newest.
    fn check_star_file(&self, star: StarId, quarter: Quarter) -> Result<(Generation, Generation)> {
        let read = |number| files::read_generation(&self.store.at(paths::generation(star, quarter, number)));
        let (mut wanted, mut newest) = (None, Generation::default());
        for number in self.store.generations(star, quarter)? {
            let is_complete = read(number)?.manifest.status() == Some(GenerationStatus::Complete);
            wanted = if is_complete { Some(number) } else { wanted };
            newest = number;
        }
        let shown = files::read_generation(&self.store.at(paths::star_file(star, quarter)))?;
        let (open, wanted) = (shown.info()?.number, wanted.unwrap_or(newest));
        ensure!(open == wanted, "S2: the star file shows generation {open}, not {wanted}, of {newest}");
        ensure!(shown.newest()? == newest, "S2: the star file does not know the newest generation");
        Ok((open, newest))
    }
}

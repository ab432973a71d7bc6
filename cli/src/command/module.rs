//! `sas module`: holds modules back, in all runs of a pipeline, until they are released.

use clap::{Args, Subcommand};
use coordinator::config::load_pipelines;
use domain::id::{ModuleName, PipelineName};
use serde::Serialize;
use store::Store;
use store::holds::{Grip, Held, HoldDecision};

use crate::connect::{Config, Site};
use crate::exit::Stop;
use crate::operator::operator;
use crate::output::{Format, table};

/// Modules of a pipeline, in all of its runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Module {
    /// Hand no task of a module to workers, in any run of its pipeline, until `release`. What runs goes on to its end, and
    /// nothing waits but what needs the module.
    Hold(Which),
    /// Hand out the tasks of a held module again.
    Release(Which),
    /// The modules that are held.
    List,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The pipeline.
    pipeline: PipelineName,
    /// The module.
    module: ModuleName,
}

#[derive(Debug, Serialize)]
struct Answer {
    pipeline: PipelineName,
    module: ModuleName,
    /// The decision's number; none when it was so already.
    number: Option<u64>,
    #[serde(flatten)]
    decision: Option<HoldDecision>,
    effect: &'static str,
}

impl Module {
    pub(crate) async fn run(self, site: &Site, format: Format) -> anyhow::Result<()> {
        let config = Config::load(site)?;
        let store = config.store()?;
        match self {
            Self::Hold(which) => decide(&config, &store, which, Grip::Hold, format),
            Self::Release(which) => decide(&config, &store, which, Grip::Release, format),
            Self::List => {
                format.print(&store.all_held()?, |held| list(held));
                Ok(())
            }
        }
    }
}

fn decide(config: &Config, store: &Store, which: Which, what: Grip, format: Format) -> anyhow::Result<()> {
    let Which { pipeline, module } = which;
    let is_held = store.held(&pipeline)?.iter().any(|held| held.module == module);
    // What is held can be released, whatever became of its definition.
    if !is_held {
        require_known(config, store, &pipeline, &module)?;
    }
    let mut answer = Answer { pipeline, module, number: None, decision: None, effect: effect(what) };
    if is_held == (what == Grip::Hold) {
        answer.effect = "nothing was decided: it is so already";
    } else {
        let decision = HoldDecision { at: jiff::Timestamp::now(), by: operator(), what };
        answer.number = Some(store.decide_hold(&answer.pipeline, &answer.module, &decision)?);
        answer.decision = Some(decision);
    }
    format.print(&answer, |answer| format!("module {} of {}: {}", answer.module, answer.pipeline, answer.effect));
    Ok(())
}

fn effect(what: Grip) -> &'static str {
    match what {
        Grip::Hold => {
            "no task of it is handed to workers any more, in any run; what runs now goes on to its end, and a task that is held \
             loses no try"
        }
        Grip::Release => "its tasks are handed to workers again",
    }
}

/// A module must be of the configured pipeline of that name, or of a run of it.
fn require_known(config: &Config, store: &Store, name: &PipelineName, module: &ModuleName) -> anyhow::Result<()> {
    let configured = load_pipelines(config.pipelines())?;
    let mut known = false;
    for pipeline in configured.iter().filter(|pipeline| pipeline.name == *name) {
        if pipeline.index_of(module).is_some() {
            return Ok(());
        }
        known = true;
    }
    // The newest of each version; older runs of it have the same modules.
    let mut versions = std::collections::BTreeSet::new();
    for record in store.runs()?.into_iter().filter(|record| record.pipeline == *name) {
        known = true;
        if versions.insert(record.version.clone())
            && let Some(record) = store.run(record.run)?
            && record.load_pipeline()?.index_of(module).is_some()
        {
            return Ok(());
        }
    }
    let reason = if known {
        format!("pipeline {name} has no module {module}")
    } else {
        format!("no pipeline {name}: it is neither in `[coordinator] pipelines` nor was there ever a run of it")
    };
    Err(Stop::NotFound(reason).into())
}

fn list(held: &[Held]) -> String {
    let mut table = table(["PIPELINE", "MODULE", "SINCE", "BY"]);
    for held in held {
        table.add_row([
            held.pipeline.to_string(),
            held.module.to_string(),
            held.since.strftime("%F %T").to_string(),
            held.by.clone(),
        ]);
    }
    table.to_string()
}

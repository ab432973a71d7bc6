//! Modules that operators hold back, in all runs of a pipeline, until they are released.

use domain::id::{ModuleName, PipelineName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::audit::{Target, Verb};
use store::holds::{Grip, Held, HoldDecision};

use super::audit::Deed;
use super::{Context, OperateError, pipelines};

/// A module of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneModule {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The module.
    pub module: ModuleName,
}

/// What was decided about a module, and what comes of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ModuleDecided {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The module.
    pub module: ModuleName,
    /// The decision's number; none when it was so already.
    pub number: Option<u64>,
    /// The line of the audit that says so.
    pub audit: Option<u64>,
    /// The decision.
    #[serde(flatten)]
    pub decision: Option<HoldDecision>,
    /// What comes of it, in words.
    pub effect: &'static str,
}

/// Hands no task of a module to workers any more.
pub async fn hold(context: &Context, which: OneModule) -> Result<ModuleDecided, OperateError> {
    decide(context, which, Grip::Hold).await
}

/// Hands out the tasks of a held module again.
pub async fn release(context: &Context, which: OneModule) -> Result<ModuleDecided, OperateError> {
    decide(context, which, Grip::Release).await
}

/// The modules that are held.
pub async fn list(context: &Context) -> Result<Vec<Held>, OperateError> {
    context.ask(|store| store.all_held()).await
}

async fn decide(context: &Context, which: OneModule, what: Grip) -> Result<ModuleDecided, OperateError> {
    let OneModule { pipeline, module } = which;
    let name = pipeline.clone();
    let held = context.ask(move |store| store.held(&name)).await?;
    let is_held = held.iter().any(|held| held.module == module);
    // What is held can be released, whatever became of its definition.
    if !is_held {
        pipelines::require_module(context, &pipeline, &module).await?;
    }
    if is_held == (what == Grip::Hold) {
        let effect = "nothing was decided: it is so already";
        return Ok(ModuleDecided { pipeline, module, number: None, audit: None, decision: None, effect });
    }
    let by = context.doer()?;
    let write = move |store: &store::Store| {
        let decision = HoldDecision { at: jiff::Timestamp::now(), by: by.who.clone(), what };
        let number = store.decide_hold(&pipeline, &module, &decision)?;
        let verb = match what {
            Grip::Hold => Verb::Hold,
            Grip::Release => Verb::Release,
        };
        let target = Target::Module { pipeline: pipeline.clone(), module: module.clone() };
        let deed = Deed { verb, target, count: None, decision: Some(number), effect: effect(what) };
        let audit = by.record(store, deed)?;
        Ok::<_, OperateError>(ModuleDecided {
            pipeline,
            module,
            number: Some(number),
            audit: Some(audit),
            decision: Some(decision),
            effect: effect(what),
        })
    };
    context.ask(write).await
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

//! `sas init`: prepares an installation, once and whenever one likes: what is there stays as it is. `sas doctor` looks at the
//! same things and changes nothing.

mod broker;
mod report;

use std::collections::BTreeSet;

use broker::rabbitmq;
use clap::Args;
use coordinator::config::load_pipelines;
use domain::id::{ClassName, Epoch, ImageName};
use domain::pipeline::Pipeline;
use report::{LineVerdict, ReportLine, end, list};
use services::state::StateError;
use store::Store;
use worker::config::RunnerKind;
use worker::runner::docker::{DockerRunner, FoundImage, Owner};
use worker::runner::{Program, Runner};

use crate::connect::{Config, SiteArgs, here, make_store};
use crate::output::Format;

/// How many files with wrong modes are named.
const WRONG_MODES: usize = 10;

/// Prepare an installation: store, queues, services, pipelines, images.
///
/// Makes the store and the queues where they are missing; checks RabbitMQ's version, how queues that are there are declared,
/// Redis' version and settings, the pipelines of `[coordinator] pipelines`, Docker and the images on this host. Prints a
/// line for each: ok, made, problem, or unreachable. Ends with 0, with 1 when there is a problem, with 6 when a service does
/// not answer.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Bring images that are missing on this host here.
    #[arg(long)]
    pull: bool,
    /// Leave Docker and images alone: for a host without workers.
    #[arg(long, conflicts_with = "pull")]
    no_docker: bool,
}

/// Look whether an installation is well: all that `init` looks at, and nothing is changed.
///
/// Prints a line for each thing: ok, problem, or unreachable. Ends with 0, with 1 when there is a problem, with 6 when a
/// service does not answer.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Leave Docker and images alone: for a host without workers.
    #[arg(long)]
    no_docker: bool,
}

/// What is done about things that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// They are made; images as well where `pull` says so.
    Made { pull: bool },
    /// They are named.
    Named,
}

impl Init {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        examine(site, Missing::Made { pull: self.pull }, self.no_docker, format).await
    }
}

impl Doctor {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        examine(site, Missing::Named, self.no_docker, format).await
    }
}

async fn examine(site: &SiteArgs, missing: Missing, no_docker: bool, format: Format) -> anyhow::Result<()> {
    let read =
        site.config.as_ref().map_or_else(|| "environment and defaults".to_owned(), |file| file.display().to_string());
    let config = Config::read(site)?;
    let mut checks = vec![ReportLine::ok("configuration", read)];
    checks.extend(config.odd().iter().map(|odd| ReportLine::problem("configuration", odd)));
    let store = match missing {
        Missing::Made { .. } => made_store(&config, &mut checks),
        Missing::Named => found_store(&config, &mut checks),
    };
    if let Some(store) = &store {
        let wrong = store.wrong_modes(WRONG_MODES);
        checks.extend(wrong.into_iter().map(|line| ReportLine::problem("modes", line)));
    }
    let definitions = pipelines(&config, &mut checks);
    rabbitmq(&config, &definitions, missing, &mut checks).await;
    redis(&config, store.as_ref(), missing, &mut checks).await;
    if let (Some(store), false) = (&store, no_docker) {
        docker(&config, store, &definitions, missing, &mut checks).await;
    }
    format.print_list(&checks, |checks| list(checks));
    end(&checks)
}

fn made_store(config: &Config, checks: &mut Vec<ReportLine>) -> Option<Store> {
    let existed = config.has_store();
    let made = || {
        let done = config.bring_store_forward()?;
        anyhow::Ok((done, make_store(config.root()?)?))
    };
    match made() {
        Ok((done, store)) => {
            checks.extend(done.map(|done| ReportLine::made("store", done.to_string())));
            let place = store.root().display().to_string();
            let line = if existed { ReportLine::ok("store", place) } else { ReportLine::made("store", place) };
            checks.push(probed(&store, line));
            Some(store)
        }
        Err(error) => {
            checks.push(ReportLine::problem("store", format!("{error:#}")));
            None
        }
    }
}

fn found_store(config: &Config, checks: &mut Vec<ReportLine>) -> Option<Store> {
    match config.store() {
        Ok(store) => {
            checks.push(probed(&store, ReportLine::ok("store", store.root().display().to_string())));
            Some(store)
        }
        Err(error) => {
            checks.push(ReportLine::problem("store", format!("{error:#}")));
            None
        }
    }
}

/// The line, unless the file system cannot carry a store.
fn probed(store: &Store, line: ReportLine) -> ReportLine {
    match store.probe() {
        Ok(()) => line,
        Err(error) => ReportLine::problem("store", format!("{:#}", anyhow::Error::new(error))),
    }
}

fn pipelines(config: &Config, checks: &mut Vec<ReportLine>) -> Vec<Pipeline> {
    let mut definitions = Vec::new();
    // What is wrong with their section is said already.
    let Ok(patterns) = config.pipelines() else { return definitions };
    let before = checks.len();
    for pattern in patterns {
        match load_pipelines(std::slice::from_ref(pattern)) {
            Ok(found) => {
                for pipeline in found {
                    checks.push(ReportLine::ok("pipeline", describe(&pipeline)));
                    definitions.push(pipeline);
                }
            }
            Err(error) => checks.push(ReportLine::problem(format!("pipeline {pattern}"), format!("{error:#}"))),
        }
    }
    if patterns.is_empty() {
        let advice =
            "none: name at least one file in `[coordinator] pipelines`, or give the coordinator --pipeline FILE";
        checks.push(ReportLine::problem("pipelines", advice));
    } else if checks[before..].iter().all(|check| check.verdict == LineVerdict::Ok)
        && let Err(error) = load_pipelines(patterns)
    {
        // What is wrong with several of them together.
        checks.push(ReportLine::problem("pipelines", format!("{error:#}")));
    }
    definitions
}

fn describe(pipeline: &Pipeline) -> String {
    let classes: Vec<String> = classes([pipeline]).iter().map(ToString::to_string).collect();
    format!(
        "{} {}: {} modules, classes {}, started by {}",
        pipeline.name,
        pipeline.version,
        pipeline.modules.len(),
        classes.join(", "),
        pipeline.trigger
    )
}

fn classes<'a>(pipelines: impl IntoIterator<Item = &'a Pipeline>) -> BTreeSet<ClassName> {
    let modules = pipelines.into_iter().flat_map(|pipeline| &pipeline.modules);
    modules.map(|module| module.class.clone()).collect()
}

/// Version, settings, and that it belongs to this store.
async fn redis(config: &Config, store: Option<&Store>, missing: Missing, checks: &mut Vec<ReportLine>) {
    let look = async {
        let state = config.state().await?;
        state.check().await?;
        state.probe().await?;
        checks.push(ReportLine::ok("Redis", "version 7 or newer, append-only, noeviction"));
        let Some(store) = store else { return Ok(()) };
        let (held, known) = (state.epoch().await?, store.newest_epoch()?);
        checks.push(match (held, known) {
            (Epoch(0), Epoch(0)) if missing == Missing::Named => {
                ReportLine::problem("epoch", "neither Redis nor the store has one yet; `sas init` begins it")
            }
            (Epoch(0), Epoch(0)) => {
                store.begin_epoch(Epoch(1))?;
                ReportLine::made("epoch", format!("{}", state.begin_epoch(Epoch(1)).await?))
            }
            (held, known) if held > known => ReportLine::problem(
                "epoch",
                format!(
                    "Redis is in epoch {held}, this store knows {known} only: it belongs to another store; name another \
                     database in `[state] url`, or flush this one"
                ),
            ),
            (held, known) if held < known => {
                ReportLine::ok("epoch", format!("{known} in the store, {held} in Redis: the coordinator rebuilds it as it starts"))
            }
            (held, _) => ReportLine::ok("epoch", held.to_string()),
        });
        anyhow::Ok(())
    };
    if let Err(error) = look.await {
        checks.push(unusable(&error));
    }
}

/// Why Redis cannot be used. One that answers runs, and is where it is asked.
fn unusable(error: &anyhow::Error) -> ReportLine {
    match error.downcast_ref::<StateError>() {
        Some(StateError::Unreachable(_)) => {
            ReportLine::unreachable("Redis", format!("{error}; is it running, and is `[state] url` right?"))
        }
        Some(state @ StateError::Refuses { .. }) => ReportLine::problem("Redis", state.reason()),
        _ => ReportLine::problem("Redis", format!("{error:#}")),
    }
}

/// The engine, and every image of these pipelines.
async fn docker(
    config: &Config,
    store: &Store,
    definitions: &[Pipeline],
    missing: Missing,
    checks: &mut Vec<ReportLine>,
) {
    // What is wrong with these sections is said already.
    let (Ok(worker), Ok(engine)) = (config.worker(), config.docker()) else { return };
    if worker.runner != RunnerKind::Docker {
        return checks.push(ReportLine::ok("Docker", "not used: `[worker] runner` runs no containers"));
    }
    let owner = Owner {
        worker: here(),
        host: worker.host(),
        store: store.root().to_owned(),
        scratch: store.at(store::paths::scratch()),
    };
    let docker = match DockerRunner::connect(engine.clone(), owner).await {
        Ok(docker) => docker,
        Err(error) => return checks.push(ReportLine::unreachable("Docker", format!("{error} (or use --no-docker)"))),
    };
    checks.push(match docker.check().await {
        Ok(()) => ReportLine::ok("Docker", "it answers"),
        Err(error) => ReportLine::problem("Docker", error.to_string()),
    });
    let modules = definitions.iter().flat_map(|definition| &definition.modules);
    let images: BTreeSet<&ImageName> = modules.filter(|module| module.enabled).map(|module| &module.image).collect();
    for image in images {
        let what = format!("image {image}");
        checks.push(match docker.look_for(image).await {
            Ok(FoundImage::Here(identity)) => ReportLine::ok(what, identity),
            Ok(FoundImage::InRegistry) if missing == (Missing::Made { pull: true }) => {
                let program = Program { image: image.clone(), command: Vec::new() };
                match docker.identify(&program).await {
                    Ok(identity) => ReportLine::made(what, identity),
                    Err(error) => ReportLine::problem(what, error.to_string()),
                }
            }
            Ok(FoundImage::InRegistry) => ReportLine::ok(what, "in its registry; workers pull it when they need it (`sas init --pull`: now)"),
            Ok(FoundImage::Nowhere(reason)) => ReportLine::problem(
                what,
                format!("not on this host, and its registry does not give it ({reason}); build it here, or `docker pull`, or \
                         `docker load` it"),
            ),
            Err(error) => ReportLine::problem(what, error.to_string()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_that_refuses_is_a_problem_and_nobody_is_asked_whether_it_runs() {
        let service = "Redis at 127.0.0.1:6379".to_owned();
        let full = StateError::Refuses { service, reason: "OOM command not allowed".to_owned() };
        let full = unusable(&full.into());
        assert_eq!(full, ReportLine::problem("Redis", "Redis at 127.0.0.1:6379 refuses: OOM command not allowed"));
        let away = "Redis at 127.0.0.1:6379: Connection refused (os error 111)";
        let away = unusable(&StateError::Unreachable(away.to_owned()).into());
        assert!(away.verdict == LineVerdict::Unreachable && away.detail.contains("is it running"), "{away:?}");
        let forbids = unusable(&StateError::Misconfigured("x".to_owned()).into());
        assert_eq!(forbids, ReportLine::problem("Redis", "x"));
    }
}

//! One module, or several that are alike, over so many stars in a store of its own, and what is on record of them afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use domain::expression::Scalar;
use domain::id::{Generation, ProductName};
use domain::pipeline::Mode;
use harness::calls::{Calls, Trace};
use harness::light::{Campaign, sas};
use harness::{base_image, program};
use jiff::Timestamp;
use store::agent::{Agent, AgentOptions, At};
use store::{Store, paths};

/// A shell that does nothing, once or for whoever asks.
pub(crate) const EMPTY: &[&str] = &[
    "sh",
    "-c",
    r#"[ "$SAS_SERVE" = 1 ] || exit 0
    echo '{"ready":1}'
    while read -r line; do id=${line#*'"id":"'}; echo "{\"id\":\"${id%%'"'*}\",\"exit\":0}"; done"#,
];

/// Stars that were delivered.
pub(crate) struct ServeScene(Campaign);

/// A run that has ended.
pub(crate) struct Ran {
    scene: ServeScene,
    store: PathBuf,
}

/// How a module went for one star.
pub(crate) struct TaskOnRecord {
    pub(crate) started: Timestamp,
    pub(crate) millis: f64,
    /// Scalar columns of its product, which is `X` with the module's number.
    pub(crate) columns: BTreeMap<String, f64>,
}

impl ServeScene {
    pub(crate) fn new(stars: u32) -> Result<Self> {
        let mut campaign = Campaign::new()?;
        campaign.deliver(0, &format!("quiet={stars}"), 1)?;
        Ok(Self(campaign))
    }

    /// Runs a command for every star, so many at once.
    pub(crate) fn run(self, command: &[&str], mode: Mode, slots: u32) -> Result<Ran> {
        let store = self.store();
        self.run_by(&mut sas(), store, &[command.to_vec()], mode, slots)
    }

    /// Has every star served by each of these programs, one after the other, in a store at that place.
    pub(crate) fn serve_at(self, store: PathBuf, commands: &[Vec<&str>]) -> Result<Ran> {
        let warm = commands.len().to_string();
        self.run_by(sas().env("SAS_WORKER_WARM", warm), store, commands, Mode::Serve, 1)
    }

    /// Where the store of a scene lies that says nothing of it.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.path("store")
    }

    /// As [`Self::run`], and what was counted of the calls of `sas` itself.
    pub(crate) fn count(self, command: &[&str], mode: Mode, slots: u32) -> Result<Calls> {
        let (log, store) = (tempfile::NamedTempFile::new()?, self.store());
        let mut traced = Trace::command(&program("sas-cli", "sas"), log.path());
        self.run_by(&mut traced, store, &[command.to_vec()], mode, slots)?;
        Trace::of_command(log.path())
    }

    fn run_by(
        self,
        local: &mut Command,
        store: PathBuf,
        commands: &[Vec<&str>],
        mode: Mode,
        slots: u32,
    ) -> Result<Ran> {
        let pipeline = self.0.path("bench.toml");
        let mode = match mode {
            Mode::Serve => "serve",
            Mode::Oneshot => "oneshot",
        };
        let head = "name = 'BENCH'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['DP1_LC_MERGED']\n\
                    [classes.default]\ncpus = 1\nmemory = '256MB'\n";
        let module = |(number, command): (usize, &Vec<&str>)| {
            format!(
                "[modules.M{number}]\nimage = '{}'\ncommand = {}\nmode = '{mode}'\nclass = 'default'\ntime_limit = '1m'\n\
                 inputs.mandatory = ['DP1_LC_MERGED']\noutputs.optional = ['X{number}']\n",
                base_image(),
                serde_json::json!(command),
            )
        };
        let text = head.to_owned() + &commands.iter().enumerate().map(module).collect::<String>();
        fs::write(&pipeline, text)?;
        local.args(["local", "--timeout", "20m", "--slots", &slots.to_string(), "--pipeline"]).arg(&pipeline);
        let done = local.arg("--store").arg(&store).args(self.0.star_files()?).output()?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(Ran { scene: self, store })
    }
}

impl Ran {
    /// Tasks a second, from the first start to the last end.
    pub(crate) async fn rate(&self) -> Result<f64> {
        let tasks = self.tasks().await?;
        let began = tasks.iter().map(|task| task.started).min().context("there are stars")?;
        let end = |task: &TaskOnRecord| task.started.duration_since(began).as_secs_f64() + task.millis / 1e3;
        Ok(tasks.len() as f64 / tasks.iter().map(end).fold(0.0, f64::max))
    }

    /// What is on record of every task.
    pub(crate) async fn tasks(&self) -> Result<Vec<TaskOnRecord>> {
        let store = Store::open(&self.store)?;
        let scratch = store.own_scratch("bench")?;
        let program = Some(program("sas-store", "sas-store-agent"));
        let mut agent = Agent::new(AgentOptions { program, ..AgentOptions::new(store.root(), scratch.path()) });
        let (mut tasks, mut count) = (Vec::new(), 0);
        for (quarter, stars) in store.known_stars()? {
            for star in stars {
                count += 1;
                let file = store.at(paths::generation(star, quarter, Generation(1)));
                let manifest = agent.manifest(&file).await?;
                ensure!(!manifest.modules.is_empty(), "a generation has modules");
                for (number, module) in manifest.modules.iter().enumerate() {
                    let started =
                        module.started.with_context(|| format!("{star} did not run: {:?}", module.outcome))?;
                    let product: ProductName = format!("X{number}").parse()?;
                    let mut columns = BTreeMap::new();
                    if manifest.products.contains_key(&product) {
                        let path = format!("/PRODUCTS/{product}");
                        let found = agent.columns(vec![At { file: file.clone(), path }]).await?;
                        let scalars = found.into_iter().flatten();
                        columns.extend(scalars.filter_map(|(name, facts)| Some((name, number_of(facts.value?)?))));
                    }
                    tasks.push(TaskOnRecord { started, millis: module.millis as f64, columns });
                }
            }
        }
        ensure!(count == self.scene.0.kinds.len(), "every star is on record");
        Ok(tasks)
    }
}

fn number_of(value: Scalar) -> Option<f64> {
    value.as_f64()
}

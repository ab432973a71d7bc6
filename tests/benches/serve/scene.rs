//! One module over so many stars in a store of its own, and what is on record of it afterwards.

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

/// How one star went.
pub(crate) struct StarOnRecord {
    pub(crate) started: Timestamp,
    pub(crate) millis: f64,
    /// Scalar columns of its product `X`.
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
        self.run_by(&mut sas(), command, mode, slots)
    }

    /// The same, and what was counted of the calls of `sas` itself.
    pub(crate) fn count(self, command: &[&str], mode: Mode, slots: u32) -> Result<Calls> {
        let log = tempfile::NamedTempFile::new()?;
        self.run_by(&mut Trace::command(&program("sas-cli", "sas"), log.path()), command, mode, slots)?;
        Trace::of_command(log.path())
    }

    fn run_by(self, local: &mut Command, command: &[&str], mode: Mode, slots: u32) -> Result<Ran> {
        let (pipeline, store) = (self.0.path("bench.toml"), self.0.path("store"));
        let mode = match mode {
            Mode::Serve => "serve",
            Mode::Oneshot => "oneshot",
        };
        let text = format!(
            "name = 'BENCH'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['DP1_LC_MERGED']\n\
             [classes.default]\ncpus = 1\nmemory = '256MB'\n[modules.M]\nimage = '{}'\ncommand = {}\nmode = '{mode}'\n\
             class = 'default'\ntime_limit = '1m'\ninputs.mandatory = ['DP1_LC_MERGED']\noutputs.optional = ['X']\n",
            base_image(),
            serde_json::json!(command),
        );
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
        let end = |task: &StarOnRecord| task.started.duration_since(began).as_secs_f64() + task.millis / 1e3;
        Ok(tasks.len() as f64 / tasks.iter().map(end).fold(0.0, f64::max))
    }

    /// What is on record of every star.
    pub(crate) async fn tasks(&self) -> Result<Vec<StarOnRecord>> {
        let store = Store::open(&self.store)?;
        let scratch = store.own_scratch("bench")?;
        let program = Some(program("sas-store", "sas-store-agent"));
        let mut agent = Agent::new(AgentOptions { program, ..AgentOptions::new(store.root(), scratch.path()) });
        let mut tasks = Vec::new();
        for (quarter, stars) in store.known_stars()? {
            for star in stars {
                let file = store.at(paths::generation(star, quarter, Generation(1)));
                let manifest = agent.manifest(&file).await?;
                let module = manifest.modules.first().context("a generation has modules")?;
                let started = module.started.with_context(|| format!("{star} did not run: {:?}", module.outcome))?;
                let mut columns = BTreeMap::new();
                if manifest.products.contains_key(&"X".parse::<ProductName>()?) {
                    let found = agent.columns(vec![At { file, path: "/PRODUCTS/X".to_owned() }]).await?;
                    let scalars = found.into_iter().flatten();
                    columns.extend(scalars.filter_map(|(name, facts)| Some((name, number(facts.value?)?))));
                }
                tasks.push(StarOnRecord { started, millis: module.millis as f64, columns });
            }
        }
        ensure!(tasks.len() == self.scene.0.kinds.len(), "every star is on record");
        Ok(tasks)
    }
}

fn number(value: Scalar) -> Option<f64> {
    value.as_f64()
}

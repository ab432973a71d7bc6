//! What a field is given: the text of its pipeline, and its star's data.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use store::Store;
use store::agent::Agent;
use store::ingest::{IngestOptions, IngestScope, IngestStep, Unnamed, ingest};

use super::{QUARTER, STAR};

/// Modules in TOML, each `[name]` with what differs from a light module of class `default`.
pub(crate) fn pipeline(modules: &str) -> String {
    let old = if modules.contains("\"X1\"") { "\"OLD X [1] \" = \"X1\"\n" } else { "" };
    format!(
        "name = \"FIELD\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n\
         [externals]\nstar = [\"LC\", \"NEVER\", \"METALLICITY\"]\n\
         [aliases]\n\"OLD [Fe_H] \" = \"METALLICITY\"\n{old}[classes.default]\ncpus = 1\nmemory = \"512MB\"\n{modules}"
    )
}

/// A light module whose attempts go as the script says.
pub(crate) fn light(dir: &Path, name: &str, script: &str, rest: &str) -> String {
    let limit = if rest.contains("time_limit") { "" } else { "time_limit = \"1m\"\n" };
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/modules").canonicalize().unwrap();
    let environment = format!(
        "PYTHONPATH = {:?}, LIGHT_PIPELINE = {:?}, PYTHONDONTWRITEBYTECODE = \"1\"",
        modules,
        dir.join("pipeline.toml")
    );
    format!(
        "[modules.{name}]\nimage = \"light\"\ncommand = [\"/usr/bin/python3\", \"-m\", \"light\"]\nclass = \"default\"\n\
         environment = {{ {environment} }}\nparameters = {{ script = {{ default = {script} }} }}\n{limit}{rest}\n"
    )
}

/// Ingests a file with the external `LC`, made by h5py.
pub(super) async fn deliver(store: &Store, agent: &mut Agent, dir: &Path) {
    let file = dir.join("delivered.h5");
    let script = format!(
        "import h5py\nf = h5py.File({file:?}, 'w')\nf.attrs['PLATO_ID'] = '{STAR}'\nf.attrs['QUARTER_NUMBER'] = {QUARTER}\n\
         f['EXTERNALS/LC/flux'] = [1.0, 2.0, 3.0]\nf['EXTERNALS/LC/gaps'] = 1\nf['EXTERNALS/OLD [Fe_H] /value'] = 0.5"
    );
    let made = Command::new("/usr/bin/python3").args(["-c", &script]).status().unwrap();
    assert!(made.success());
    let options = IngestOptions {
        dataset: "l1/lightcurve".parse().unwrap(),
        scope: IngestScope::AsWritten { unnamed: Unnamed::Nowhere },
        aliases: BTreeMap::new(),
    };
    let mut ingested = 0;
    ingest(store, agent, &[file], &options, &mut |step| ingested += usize::from(matches!(step, IngestStep::Done(_))))
        .await
        .unwrap();
    assert_eq!(ingested, 1);
}

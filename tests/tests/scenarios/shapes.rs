//! One temperature in the shapes that programs give a number: one element is a scalar to conditions and to the data model, and of
//! what is none the shape is said.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::light::sas;
use serde_json::{Value, json};

const STARS: [(&str, &str); 4] = [
    ("PLATO_00000000-0000-5000-8000-000000000001", "5777.0"),
    ("PLATO_00000000-0000-5000-8000-000000000002", "[5777.0]"),
    ("PLATO_00000000-0000-5000-8000-000000000003", "[[5777.0]]"),
    ("PLATO_00000000-0000-5000-8000-000000000004", "[5777.0, 5800.0]"),
];

const MODEL: &str = "[products.TEFF]\ncolumns.value = { type = 'float', ndim = 0, unit = 'K' }\n\
    [products.WARM]\ncolumns.value = { type = 'float', ndim = 0, unit = 'K' }\n";

/// Passes on what it reads as it was written.
const PROGRAM: &str = "import h5py, os; read = h5py.File(os.environ['SAS_INPUT']); out = h5py.File(os.environ['SAS_OUTPUT'], 'w'); \
    out['PRODUCTS/WARM/value'] = read['EXTERNALS/TEFF/value'][()]; out['PRODUCTS/WARM/value'].attrs['unit'] = 'K'";

/// Says in two numbers whether there is more.
const SEEN: &str = "import h5py, os; h5py.File(os.environ['SAS_OUTPUT'], 'w')['PRODUCTS/SEEN/flag'] = [1, 0]";

fn deliver(directory: &Path) {
    for (star, value) in STARS {
        let file = directory.join(format!("{star}.h5"));
        let script = format!(
            "import h5py\nf = h5py.File({file:?}, 'w')\nf.attrs['PLATO_ID'] = '{star}'\nf.attrs['QUARTER_NUMBER'] = 1\n\
             f['EXTERNALS/TEFF/value'] = {value}\nf['EXTERNALS/TEFF/error'] = 80.0"
        );
        assert!(Command::new("/usr/bin/python3").args(["-c", &script]).status().unwrap().success());
    }
}

/// What `sas star show` says of a module.
fn task(store: &Path, star: &str, module: &str) -> Value {
    let shown = sas().args(["-o", "json", "star", "show", star, "--store"]).arg(store).output().unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let tasks = shown["tasks"].as_array().unwrap();
    tasks.iter().find(|task| task["module"] == module).unwrap().clone()
}

#[test]
fn one_element_is_a_scalar_everywhere_and_of_more_the_shape_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    deliver(directory.path());
    fs::write(path("products.toml"), MODEL).unwrap();
    let pipeline = format!(
        "name = 'SHAPES'\nversion = '1'\ntrigger = 'l1/lightcurve'\ndata_model = 'products.toml'\n[externals]\nstar = ['TEFF']\n\
         [classes.default]\ncpus = 1\nmemory = '256MB'\n[modules.WARM]\nimage = 'none'\n\
         command = ['/usr/bin/python3', '-c', \"{PROGRAM}\"]\nrun_if = 'P.TEFF.value > 5000.0'\ninputs.mandatory = ['TEFF']\n\
         outputs.mandatory = ['WARM']\n[modules.SEEN]\nimage = 'none'\ncommand = ['/usr/bin/python3', '-c', \"{SEEN}\"]\n\
         inputs.mandatory = ['TEFF']\noutputs.mandatory = ['SEEN']\n\
         outputs.conditional = [{{ product = 'GIVEN', when = 'P.SEEN.flag' }}]\n"
    );
    fs::write(path("pipeline.toml"), pipeline).unwrap();
    let mut local = sas();
    local.args(["local", "--runner", "process", "--pipeline"]).arg(path("pipeline.toml"));
    local.arg("--store").arg(path("store")).args(STARS.map(|(star, _)| path(&format!("{star}.h5"))));
    let done = local.output().unwrap();
    assert_eq!(done.status.code(), Some(8), "{}", String::from_utf8_lossy(&done.stderr));
    for (star, value) in &STARS[..3] {
        let task = task(&path("store"), star, "WARM");
        assert_eq!(task["state"], json!("succeeded"), "{value}: {task}");
    }
    let several = task(&path("store"), STARS[3].0, "WARM");
    let reason =
        "run_if: TEFF has no scalar column `value`; TEFF has `error` (float64), `value` (float64 of shape [2])";
    assert!(several["reason"].as_str().is_some_and(|said| said.contains(reason)), "{several}");
    let seen = task(&path("store"), STARS[0].0, "SEEN");
    let reason = "condition of output GIVEN: SEEN has no scalar column `flag`; SEEN has `flag` (int64 of shape [2])";
    assert!(seen["reason"].as_str().is_some_and(|said| said.contains(reason)), "{seen}");
}

//! Ingestion of what PLATO's simulator and others deliver.

mod refused;

use domain::id::{Quarter, Sequence, StarId};
use store::agent::{Agent, AgentOptions, At};
use store::ingest::{IngestOptions, IngestResult, IngestScope, IngestStep, Ingested, Unnamed, ingest};
use store::{Store, paths};

use crate::Workbench;

pub(crate) const STAR: &str = "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7";

pub(crate) fn star() -> StarId {
    STAR.parse().unwrap()
}

pub(crate) fn quarter(number: u32) -> Quarter {
    number.try_into().unwrap()
}

/// A file in the simulator's layout, messy names included, and a second one of the same star.
pub(crate) const DELIVERED: &str = r#"
with h5py.File("{dir}/lc.h5", "w") as f:
    f.attrs["PLATO_ID"] = "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7"
    f.attrs["QUARTER_NUMBER"] = 3
    f.attrs["OBS_START_DATE"] = np.array([10.5]); f.attrs["OBS_END_DATE"] = np.array([99.5])
    lc = f.create_group("EXTERNALS/DP1_LC_MERGED")
    lc["flux"] = np.linspace(1, 2, 200_000); lc["time"] = np.arange(200_000) / 10
    lc["flux"].attrs["unit"] = "normalized"
    f["EXTERNALS/IDP_SAS_[FE_H]_SAPP/trailing "] = np.array(0.25, ">f8")
    f["EXTERNALS/trailing product "] = np.arange(3, dtype=">i4")
    f["EXTERNALS/flag/flag"] = True
    f.create_group("PRODUCTS")
    f["STELLAR_LC"] = np.zeros(5)
with h5py.File("{dir}/pfu.h5", "w") as f:
    f.attrs["PLATO_ID"] = "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7"
    f["EXTERNALS/IDP_PFU_TEFF_SAPP/value"] = 5777.0
    f["EXTERNALS/flag/flag"] = True
"#;

pub(crate) async fn deliver(bench: &mut Workbench, files: &[&str], scope: IngestScope) -> Vec<Ingested> {
    let files: Vec<_> = files.iter().map(|name| bench.path(name)).collect();
    let aliases = [("IDP_SAS_[FE_H]_SAPP".parse().unwrap(), "IDP_SAS_FE_H_SAPP".parse().unwrap())].into();
    let options = IngestOptions { aliases, ..plain(scope) };
    take_in(&bench.store, &mut bench.agent, &files, &options).await
}

/// Options without aliases.
fn plain(scope: IngestScope) -> IngestOptions {
    IngestOptions { dataset: "l1/lightcurve".parse().unwrap(), scope, aliases: Default::default() }
}

async fn take_in(
    store: &Store,
    agent: &mut Agent,
    files: &[std::path::PathBuf],
    options: &IngestOptions,
) -> Vec<Ingested> {
    let mut results = Vec::new();
    let mut collect = |step| {
        if let IngestStep::Done(ingested) = step {
            results.push(ingested);
        }
    };
    ingest(store, agent, files, options, &mut collect).await.unwrap();
    results
}

pub(crate) const AS_WRITTEN: IngestScope = IngestScope::AsWritten { unnamed: Unnamed::Nowhere };

fn reason(ingested: &Ingested) -> &str {
    match &ingested.result {
        IngestResult::Wrong { reason } => reason,
        IngestResult::Added { .. } | IngestResult::Unchanged { .. } => panic!("{ingested:?}"),
    }
}

#[tokio::test]
async fn files_of_one_star_become_one_version_without_the_truth_beside_it() {
    let mut bench = Workbench::new();
    bench.python(DELIVERED);
    let results = deliver(&mut bench, &["lc.h5", "pfu.h5"], AS_WRITTEN).await;
    let [one] = results.as_slice() else { panic!("{results:?}") };
    assert_eq!((one.star, one.quarter), (Some(star()), Some(quarter(3))));
    assert!(matches!(one.result, IngestResult::Added { sequence: Sequence(1), .. }), "{one:?}");

    let names = bench.store.externals(star(), quarter(3), Sequence(u64::MAX)).unwrap();
    assert_eq!(names, ["Q003/externals/l1.lightcurve@1.h5"]);
    let file = bench.store.at(paths::of_star(star(), &names[0]).unwrap());
    let manifest = bench.agent.manifest(&file).await.unwrap();
    assert_eq!(manifest.observed, Some([10.5, 99.5]));
    let products: Vec<&str> = manifest.externals.keys().map(|name| name.as_str()).collect();
    assert_eq!(
        products,
        ["DP1_LC_MERGED", "IDP_PFU_TEFF_SAPP", "IDP_SAS_FE_H_SAPP", "flag", "trailing product "],
        "the alias is written under the name that the pipeline uses"
    );
    let seen = bench.python(&format!(
        r#"
f = h5py.File("{}")
print(json.dumps([sorted(f), sorted(f["EXTERNALS"]), f.attrs["PLATO_ID"], int(f.attrs["QUARTER_NUMBER"]),
    list(f.attrs["OBS_END_DATE"]), float(f["EXTERNALS/IDP_SAS_FE_H_SAPP/trailing "][()]),
    f["EXTERNALS/trailing product "].dtype.str, f["EXTERNALS/DP1_LC_MERGED/flux"].attrs["unit"], str(f["EXTERNALS/flag/flag"].dtype)]))
"#,
        file.display()
    ));
    let expected =
        serde_json::json!([["EXTERNALS", "MANIFEST"], products, STAR, 3, [99.5], 0.25, ">i4", "normalized", "bool"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&seen).unwrap(), expected);
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o444);
    assert_eq!(std::fs::read_dir(&bench.agent.options().writable).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn the_same_values_are_no_new_version_and_a_horizon_hides_newer_ones() {
    let mut bench = Workbench::new();
    bench.python(DELIVERED);
    deliver(&mut bench, &["lc.h5", "pfu.h5"], AS_WRITTEN).await;
    let again = deliver(&mut bench, &["pfu.h5", "lc.h5"], AS_WRITTEN).await;
    assert_eq!(again[0].result, IngestResult::Unchanged { sequence: Sequence(1) });
    assert_eq!(bench.store.newest_sequence().unwrap(), Sequence(1), "nothing new takes no number");

    bench.python(r#"h5py.File("{dir}/pfu.h5", "a")["EXTERNALS/IDP_PFU_TEFF_SAPP/value"][()] = 5000.0"#);
    let changed = deliver(&mut bench, &["lc.h5", "pfu.h5"], AS_WRITTEN).await;
    assert!(matches!(changed[0].result, IngestResult::Added { sequence: Sequence(2), .. }));
    let at = |horizon| bench.store.externals(star(), quarter(3), Sequence(horizon)).unwrap();
    assert_eq!(at(0), Vec::<String>::new());
    assert_eq!(at(1), ["Q003/externals/l1.lightcurve@1.h5"]);
    assert_eq!(at(2), ["Q003/externals/l1.lightcurve@2.h5"]);
}

#[tokio::test]
async fn what_is_not_delivered_again_stays() {
    let mut bench = Workbench::new();
    bench.python(DELIVERED);
    deliver(&mut bench, &["lc.h5"], AS_WRITTEN).await;
    let added = deliver(&mut bench, &["pfu.h5"], IngestScope::Quarter(quarter(3))).await;
    let IngestResult::Added { sequence: Sequence(2), products } = &added[0].result else { panic!("{added:?}") };
    assert_eq!(products.len(), 5, "{products:?}");
    bench.python(r#"h5py.File("{dir}/pfu.h5", "a")["EXTERNALS/flag/flag"][()] = False"#);
    let replaced = deliver(&mut bench, &["pfu.h5"], IngestScope::Quarter(quarter(3))).await;
    assert!(matches!(replaced[0].result, IngestResult::Added { sequence: Sequence(3), .. }), "{replaced:?}");
    let seen = bench.python(&format!(
        r#"
f = h5py.File("{}")["EXTERNALS"]
print(json.dumps([bool(f["flag/flag"][()]), float(f["DP1_LC_MERGED/flux"][-1]), float(f["IDP_PFU_TEFF_SAPP/value"][()])]))
"#,
        bench.store.at(paths::externals(star(), quarter(3)).join("l1.lightcurve@3.h5")).display()
    ));
    assert_eq!(seen.trim(), "[false, 2.0, 5777.0]", "the newest of each product");
    let file = bench.store.at(paths::externals(star(), quarter(3)).join("l1.lightcurve@2.h5"));
    assert_eq!(bench.agent.manifest(&file).await.unwrap().observed, Some([10.5, 99.5]));
}

#[tokio::test]
async fn deliveries_at_the_same_time_lose_nothing() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
for index in range(6):
    with h5py.File("{dir}/%d.h5" % index, "w") as f:
        f.attrs["PLATO_ID"] = "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7"
        f[f"EXTERNALS/X{index}/value"] = index
"#,
    );
    let options = plain(IngestScope::Quarter(quarter(3)));
    let mut deliveries = tokio::task::JoinSet::new();
    for index in 0..6 {
        let (store, options, file) = (bench.store.clone(), options.clone(), bench.path(&format!("{index}.h5")));
        let writable = store.scratch(&format!("delivery-{index}")).unwrap();
        let mut agent = Agent::new(AgentOptions { writable, ..bench.agent.options().clone() });
        deliveries.spawn(async move { take_in(&store, &mut agent, &[file], &options).await });
    }
    for results in deliveries.join_all().await {
        assert!(matches!(results[0].result, IngestResult::Added { .. }), "{results:?}");
    }
    let names = bench.store.externals(star(), quarter(3), Sequence(u64::MAX)).unwrap();
    let newest = bench.store.at(paths::of_star(star(), &names[0]).unwrap());
    let manifest = bench.agent.manifest(&newest).await.unwrap();
    assert_eq!(manifest.externals.len(), 6, "{:?}", manifest.externals.keys());
}

#[tokio::test]
async fn stars_of_the_simulator_are_integers_and_their_files_name_no_quarter() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
with h5py.File("{dir}/0012069449.hdf5", "w") as f:
    f.attrs["StarID"] = 12069449
    f.create_group("METADATA").attrs["star_id"] = 12069449
    f["EXTERNALS/DP1_LC_MERGED/time"] = np.array([2.0, 1.0, np.nan, 7.5])
    f["EXTERNALS/IDP_EAS_QC_TARGET_TCE_DETECTION/flag"] = True
    f["STELLAR_LC"] = np.zeros(5)
"#,
    );
    let files = ["0012069449.hdf5"];
    let without = deliver(&mut bench, &files, AS_WRITTEN).await;
    assert!(reason(&without[0]).contains("QUARTER_NUMBER"), "{without:?}");
    let with = deliver(&mut bench, &files, IngestScope::AsWritten { unnamed: Unnamed::First }).await;
    let star = StarId::of_simulator(12_069_449);
    assert_eq!((with[0].star, with[0].quarter), (Some(star), Some(quarter(0))));
    let file = bench.store.at(paths::externals(star, quarter(0)).join("l1.lightcurve@1.h5"));
    let manifest = bench.agent.manifest(&file).await.unwrap();
    assert_eq!(manifest.observed, Some([1.0, 7.5]), "from the time stamps");
    assert_eq!(manifest.externals.len(), 2);
}

#[tokio::test]
async fn externals_of_the_star_and_of_all_stars_have_places_of_their_own() {
    let mut bench = Workbench::new();
    bench.python(DELIVERED);
    bench.python(
        r#"
with h5py.File("{dir}/grid.h5", "w") as f:
    f["EXTERNALS/flag/flag"] = True
"#,
    );
    let mine = deliver(&mut bench, &["pfu.h5"], IngestScope::Shared).await;
    assert!(reason(&mine[0]).contains(STAR), "one star's data is nothing that all stars share: {mine:?}");
    deliver(&mut bench, &["grid.h5"], IngestScope::Shared).await;
    deliver(&mut bench, &["pfu.h5"], IngestScope::Star).await;
    deliver(&mut bench, &["lc.h5"], AS_WRITTEN).await;
    let expected = ["Q003/externals/l1.lightcurve@3.h5", "externals/l1.lightcurve@2.h5", "shared/l1.lightcurve@1.h5"];
    assert_eq!(bench.store.externals(star(), quarter(3), Sequence(9)).unwrap(), expected);
    assert_eq!(bench.store.known_stars().unwrap(), [(quarter(3), vec![star()])].into());
    let shared = At { file: bench.store.at("shared/l1.lightcurve@1.h5"), path: "/EXTERNALS/flag".to_owned() };
    assert_eq!(bench.agent.digest(shared).await.unwrap().bytes, 1);
    assert!(Store::open(bench.store.root()).is_ok());
}

#[tokio::test]
async fn a_file_without_a_quarter_does_not_found_one_beside_those_that_the_store_has() {
    let mut bench = Workbench::new();
    bench.python(DELIVERED);
    deliver(&mut bench, &["lc.h5"], AS_WRITTEN).await;
    let first = IngestScope::AsWritten { unnamed: Unnamed::First };
    let late = deliver(&mut bench, &["pfu.h5"], first).await;
    assert!(reason(&late[0]).contains("Q003"), "{late:?}");
    let named = deliver(&mut bench, &["pfu.h5"], IngestScope::AsWritten { unnamed: Unnamed::Of(quarter(3)) }).await;
    assert!(matches!(named[0].result, IngestResult::Added { sequence: Sequence(2), .. }), "{named:?}");
    let both = deliver(&mut bench, &["lc.h5", "pfu.h5"], first).await;
    assert_eq!(both[0].result, IngestResult::Unchanged { sequence: Sequence(2) });
    deliver(&mut bench, &["pfu.h5"], IngestScope::AsWritten { unnamed: Unnamed::Of(quarter(0)) }).await;
    let either = deliver(&mut bench, &["pfu.h5"], first).await;
    assert!(reason(&either[0]).contains("Q000, Q003"), "{either:?}");
    std::fs::create_dir_all(bench.store.at(paths::generations(star(), quarter(8)))).unwrap();
    assert_eq!(bench.store.quarters_of(star()).unwrap(), [quarter(0), quarter(3)], "of Q008 there are no data");
}

#[tokio::test]
async fn versions_are_numbered_when_they_are_written() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
for number in (1, 2):
    with h5py.File("{dir}/%d.h5" % number, "w") as f:
        f.attrs["PLATO_ID"] = number
        f["EXTERNALS/X/value"] = 1.0
"#,
    );
    let results = deliver(&mut bench, &["1.h5", "2.h5"], IngestScope::Quarter(quarter(0))).await;
    let mut numbers: Vec<u64> = results
        .iter()
        .map(|one| match one.result {
            IngestResult::Added { sequence, .. } => sequence.0,
            IngestResult::Unchanged { .. } | IngestResult::Wrong { .. } => panic!("{one:?}"),
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(
        numbers,
        [1, 2],
        "a run that is accepted between them sees the first, and will not see the second appear"
    );
}

#[tokio::test]
async fn dimension_scales_are_taken_without_the_references_between_them() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
for scaled in (False, True):
    with h5py.File("{dir}/scaled.h5" if scaled else "{dir}/plain.h5", "w") as f:
        f.attrs["PLATO_ID"] = 1
        f["EXTERNALS/LC/time"] = np.arange(10.0); f["EXTERNALS/LC/flux"] = np.ones(10)
        if scaled:
            f["EXTERNALS/LC/time"].make_scale("time"); f["EXTERNALS/LC/flux"].dims[0].attach_scale(f["EXTERNALS/LC/time"])
        else:
            f["EXTERNALS/LC/time"].attrs["CLASS"] = np.bytes_("DIMENSION_SCALE"); f["EXTERNALS/LC/time"].attrs["NAME"] = np.bytes_("time")
"#,
    );
    let scope = IngestScope::Quarter(quarter(0));
    let added = deliver(&mut bench, &["plain.h5"], scope).await;
    assert!(matches!(added[0].result, IngestResult::Added { .. }), "{added:?}");
    let again = deliver(&mut bench, &["scaled.h5"], scope).await;
    assert_eq!(again[0].result, IngestResult::Unchanged { sequence: Sequence(1) }, "the values are the same");
    let fresh = deliver(&mut bench, &["scaled.h5"], IngestScope::Quarter(quarter(1))).await;
    assert!(matches!(fresh[0].result, IngestResult::Added { .. }), "{fresh:?}");
    let star = StarId::of_simulator(1);
    let file = bench.store.at(paths::externals(star, quarter(1)).join("l1.lightcurve@2.h5"));
    let seen = bench.python(&format!(
        r#"
lc = h5py.File("{}")["EXTERNALS/LC"]
print(json.dumps([float(lc["flux"][-1]), sorted(lc["flux"].attrs), sorted(lc["time"].attrs)]))
"#,
        file.display()
    ));
    assert_eq!(seen.trim(), r#"[1.0, [], ["CLASS", "NAME"]]"#);
}

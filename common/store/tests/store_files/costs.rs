//! What files cost whoever reads them: time and memory in proportion to what they hold and declare, within bounds that the
//! authors' page names. Time is the agent's own of a CPU, so that a busy machine makes no difference.

use std::path::Path;

use domain::id::StarId;
use store::agent::{AgentError, At, Checked, RefusalKind, WantedScalars};
use store::ingest::{IngestOptions, IngestStep, ingest};

use crate::hostile::{PATIENCE, check, kinds};
use crate::ingesting::{AS_WRITTEN, STAR};
use crate::{Workbench, child_in, script_in};

/// Most memory of an agent over a hostile file, in bytes.
const MEMORY: u64 = 256 << 20;

/// Most seconds of a CPU over a hostile file.
const SECONDS: f64 = 5.0;

/// What the agent of a bench has used: the most memory at a time, and seconds of a CPU. `None` where it is gone.
fn used(bench: &Workbench) -> Option<(u64, f64)> {
    let process = child_in(&bench.agent.options().writable)?;
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).ok();
    let status = read("status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
    // After the name, which may hold anything: state, and then numbers; times are in hundredths of a second.
    let (_, numbers) = read("stat")?.rsplit_once(") ").map(|(name, rest)| (name.to_owned(), rest.to_owned()))?;
    let ticks: Vec<u64> = numbers.split(' ').skip(11).take(2).filter_map(|number| number.parse().ok()).collect();
    Some((kilobytes << 10, ticks.iter().sum::<u64>() as f64 / 100.0))
}

fn assert_cheap(bench: &Workbench, kind: &str) {
    // An agent that is gone was ended by the kernel for what it used, which is less. `-- --nocapture` shows what each used.
    if let Some((memory, seconds)) = used(bench) {
        println!("{kind}: {} MB, {seconds} s", memory >> 20);
        assert!(memory < MEMORY, "{kind}: {} MB", memory >> 20);
        assert!(seconds < SECONDS, "{kind}: {seconds} s");
    }
}

#[tokio::test]
async fn a_hostile_output_costs_seconds_and_a_quarter_of_a_gigabyte() {
    for kind in kinds() {
        let mut bench = Workbench::with_deadline(PATIENCE);
        let output = bench.path("output.h5");
        script_in("hostile.py", &[kind.as_ref(), &output], &[]);
        match bench.seal(check(output)).await {
            Ok(Checked { violation, .. }) => assert!(violation.is_some() || kind == "flipped", "{kind} passed"),
            Err(AgentError::Died { .. } | AgentError::Overspent { .. }) => {}
            Err(error) => panic!("{kind}: {error}"),
        }
        assert_cheap(&bench, kind);
    }
}

#[tokio::test]
async fn a_hostile_delivery_costs_no_more_and_the_next_is_taken() {
    let mut bench = Workbench::with_deadline(PATIENCE);
    for kind in kinds() {
        let delivered = bench.path(&format!("{kind}.h5"));
        script_in("hostile.py", &[kind.as_ref(), &delivered], &[("TOP", "EXTERNALS")]);
        let dataset = format!("d/{kind}").parse().unwrap();
        let options = IngestOptions { dataset, scope: AS_WRITTEN, aliases: Default::default() };
        let mut ends = 0;
        let mut count = |step| ends += u32::from(matches!(step, IngestStep::Done(_)));
        ingest(&bench.store, &mut bench.agent, &[delivered], &options, &mut count).await.unwrap();
        assert_eq!(ends, 1, "{kind}");
        assert_cheap(&bench, kind);
        bench.agent.end();
    }
}

/// As a light curve of 30 million points comes from who knows nothing of chunks: it was unpacked again for every 4 MB.
#[tokio::test]
async fn a_long_curve_in_one_chunk_is_unpacked_once() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
with h5py.File("{dir}/x.h5", "w") as f:
    value = np.tile(np.arange(1 << 20) / 7, 24)
    f.create_dataset("one", data=value, chunks=value.shape, compression="gzip", compression_opts=1)
    f.create_dataset("many", data=value.reshape(24, 1 << 20), chunks=(1, 1 << 18), compression="gzip", compression_opts=1)
    f.create_dataset("plain", data=value)
"#,
    );
    let at = |path: &str| At { file: bench.path("x.h5"), path: path.to_owned() };
    let (one, plain, many) = (at("/one"), at("/plain"), at("/many"));
    let before = bench.agent.digest(plain).await.unwrap();
    let (_, start) = used(&bench).unwrap();
    assert_eq!(bench.agent.digest(one).await.unwrap().digest, before.digest);
    let (_, end) = used(&bench).unwrap();
    assert!(end - start < 25.0, "{} s for 200 MB", end - start);
    assert_eq!(bench.agent.digest(many).await.unwrap().bytes, before.bytes);
}

#[tokio::test]
async fn of_a_product_of_our_own_the_beginning_of_long_texts_is_told() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
with h5py.File("{dir}/x.h5", "w") as f:
    f["PRODUCTS/X/long"] = "µ" * 5_000_000
    f["PRODUCTS/X/value"] = 7.0
"#,
    );
    let at = At { file: bench.path("x.h5"), path: "/PRODUCTS/X".to_owned() };
    let mut read = async |columns| {
        let wants = vec![WantedScalars { at: at.clone(), columns }];
        bench.agent.scalars(wants).await.unwrap().remove(0).scalars
    };
    let scalars = read(None).await;
    let store::agent::Scalar::Text(text) = &scalars["long"] else { panic!("it is a text") };
    assert!(text.len() <= 4096 && text.starts_with('µ'), "{} bytes", text.len());
    assert_eq!(scalars.len(), 2);
    let named = read(Some(["value".to_owned()].into())).await;
    assert_eq!(named, [("value".to_owned(), store::agent::Scalar::Float(7.0))].into(), "nothing else is read");
}

#[tokio::test]
async fn bytes_changed_at_random_end_in_an_answer_within_their_cost() {
    let number = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let (seed, count) = (number("SAS_FUZZ_SEED", "1"), number("SAS_FUZZ_FILES", "240"));
    println!("SAS_FUZZ_SEED={seed}, {count} files");
    let mut bench = Workbench::with_deadline(PATIENCE);
    let output = bench.path("output.h5");
    script_in("hostile.py", &["mutated".as_ref(), &output, Path::new(&seed), Path::new(&count)], &[]);
    for index in 0..count.parse().unwrap() {
        let file = bench.path(&format!("output.h5.d/{index}.h5"));
        let before = used(&bench).map_or(0.0, |(_, seconds)| seconds);
        match bench.seal(check(file)).await {
            Ok(_) | Err(AgentError::Died { .. } | AgentError::Overspent { .. }) => {}
            // It is as its contract wants it, and yet cannot be copied.
            Err(AgentError::Refused(refusal)) if refusal.kind == RefusalKind::Damaged => {}
            Err(error) => panic!("seed {seed}, file {index}: {error:?}"),
        }
        if let Some((memory, seconds)) = used(&bench) {
            assert!(memory < MEMORY, "seed {seed}, file {index}: {} MB", memory >> 20);
            assert!(seconds - before < SECONDS, "seed {seed}, file {index}: {} s", seconds - before);
        }
    }
    let good = At { file: bench.path("output.h5.0"), path: "/PRODUCTS/X".to_owned() };
    bench.agent.digest(good).await.unwrap();
}

#[tokio::test]
async fn what_a_file_says_wrongly_of_itself_is_shown() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
star = "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7"
def write(name, **attributes):
    with h5py.File("{dir}/" + name + ".h5", "w") as f:
        f.attrs.update({"PLATO_ID": star, "QUARTER_NUMBER": 3} | attributes)
        f["EXTERNALS/X/value"] = 1.0
write("quarter_text", QUARTER_NUMBER="1")
write("quarter_many", QUARTER_NUMBER=[1, 2])
write("largest", PLATO_ID=np.uint64(2**64 - 1))
write("half_star", PLATO_ID=1.5)
write("nan", OBS_START_DATE=np.nan, OBS_END_DATE=3.0)
write("infinite", OBS_START_DATE=1.0, OBS_END_DATE=np.inf)
write("long", QUARTER_NUMBER="q" * 81)
def name(file, plato, metadata, number=None):
    with h5py.File("{dir}/" + file + ".h5", "w") as f:
        f.attrs["QUARTER_NUMBER"] = 3
        f["EXTERNALS/X/value"] = 1.0
        f.create_group("METADATA").attrs["star_id"] = metadata
        f.attrs.update({name: value for name, value in [("PLATO_ID", plato), ("StarID", number)] if value is not None})
name("two_stars", star, 7)
name("two_texts", star, "PLATO_701bc3be-7238-5040-9750-3a13582bcb4f")
name("two_numbers", None, 7, 8)
name("negative", None, -7)
name("negative_root", None, "KIC 1", -8)
name("another_catalogue", None, "KIC 1")
name("catalogue_beside", star, "KIC 1")
name("negative_beside", star, -1)
name("same_star", star, star)
"#,
    );
    let seven = StarId::of_simulator(7);
    for (name, words) in [
        ("quarter_text", "QUARTER_NUMBER is the text \"1\", expected a number"),
        ("quarter_many", "QUARTER_NUMBER is int64 of shape [2], beginning with 1"),
        ("half_star", "PLATO_ID is float64 1.5, expected PLATO_ and a UUID"),
        ("nan", "OBS_START_DATE is float64 NaN, expected a finite number of days"),
        ("infinite", "OBS_END_DATE is float64 inf"),
        ("long", &format!("QUARTER_NUMBER is the text \"{}\"…, expected a number", "q".repeat(80))),
        ("two_stars", &format!("PLATO_ID names {STAR}, and attribute METADATA.star_id names 7, which is {seven}:")),
        ("two_texts", "METADATA.star_id names PLATO_701bc3be-7238-5040-9750-3a13582bcb4f: expected the same star"),
        ("two_numbers", "root attribute StarID names 8, which is PLATO_"),
        ("negative", "attribute METADATA.star_id is the negative number -7"),
        ("negative_root", "root attribute StarID is the negative number -8"),
        ("another_catalogue", "no root attribute PLATO_ID, and its attribute METADATA.star_id is the text \"KIC 1\""),
    ] {
        let problem = bench.agent.inspect(&bench.path(&format!("{name}.h5"))).await.unwrap().problem.unwrap();
        assert!(problem.contains(words), "{name}: {problem}");
    }
    for name in ["catalogue_beside", "negative_beside", "same_star"] {
        let good = bench.agent.inspect(&bench.path(&format!("{name}.h5"))).await.unwrap();
        assert_eq!((good.problem, good.star), (None, Some(STAR.parse().unwrap())), "{name}");
    }
    let largest = bench.agent.inspect(&bench.path("largest.h5")).await.unwrap();
    assert_eq!((largest.problem, largest.star), (None, Some(StarId::of_simulator(u64::MAX))));
}

/// As far as this host's h5py can write them; `h5::file` has a test with what the library itself writes.
#[tokio::test]
async fn files_of_every_version_are_taken_as_outputs_and_as_deliveries() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
for name, version in [("v108", "v108"), ("v110", "v110"), ("latest", "latest")]:
    for top in ["PRODUCTS", "EXTERNALS"]:
        with h5py.File("{dir}/" + name + top + ".h5", "w", libver=(version, version)) as f:
            f.attrs.update(PLATO_ID="PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7", QUARTER_NUMBER=1)
            x = f.create_group(top + "/X", track_order=True)
            x["value"] = 1.5
            x["flag"] = np.bool_(True)
            x["text"] = "a"
            x["table"] = np.zeros(3, [("time", "f8"), ("name", "S8")])
            x.create_dataset("packed", data=np.arange(1000.0), chunks=(100,), compression="gzip", maxshape=(None,))
"#,
    );
    for version in ["v108", "v110", "latest"] {
        let output = bench.path(&format!("{version}PRODUCTS.h5"));
        let checked = bench.seal(check(output.clone())).await.unwrap();
        assert_eq!(checked.violation, None, "{version}");
        let packed = bench.private(&format!("sealed-{}.h5", bench.sealed));
        let at = |file| At { file, path: "/PRODUCTS/X".to_owned() };
        let [before, after] = [bench.agent.digest(at(output)).await, bench.agent.digest(at(packed)).await];
        assert_eq!(before.unwrap().digest, after.unwrap().digest, "{version}");
        let delivered = bench.path(&format!("{version}EXTERNALS.h5"));
        let dataset = format!("d/{version}").parse().unwrap();
        let options = IngestOptions { dataset, scope: AS_WRITTEN, aliases: Default::default() };
        let mut results = Vec::new();
        let mut collect = |step| {
            if let IngestStep::Done(done) = step {
                results.push(done.result);
            }
        };
        ingest(&bench.store, &mut bench.agent, &[delivered], &options, &mut collect).await.unwrap();
        assert!(matches!(results[..], [store::ingest::IngestResult::Added { .. }]), "{version}: {results:?}");
    }
}

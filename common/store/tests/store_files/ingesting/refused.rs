//! Deliveries of which something is wrong: it is said of the file, and the others go on.

use domain::id::Sequence;
use store::agent::{Agent, AgentOptions};
use store::ingest::{IngestError, IngestResult, IngestScope, IngestStep, ingest};
use store::paths;

use super::{AS_WRITTEN, DELIVERED, deliver, plain, quarter, reason, star, take_in};
use crate::Workbench;

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_and_the_others_go_on() {
    let mut bench = Workbench::new();
    bench.python(DELIVERED);
    bench.python(
        r#"
def write(name, **attributes):
    with h5py.File("{dir}/" + name, "w") as f:
        f.attrs.update(attributes)
        f["EXTERNALS/X/value"] = 1.0
star = "PLATO_701bc3be-7238-5040-9750-3a13582bcb4f"
write("nostar.h5", QUARTER_NUMBER=3)
write("badstar.h5", PLATO_ID="KIC 1", QUARTER_NUMBER=3)
write("badquarter.h5", PLATO_ID=star, QUARTER_NUMBER=1000)
write("noquarter.h5", PLATO_ID="PLATO_da408c33-8b14-5a38-8a17-87752a86c23a")
write("negative.h5", PLATO_ID=-3, QUARTER_NUMBER=3)
h5py.File("{dir}/empty.h5", "w").attrs["PLATO_ID"] = star
with h5py.File("{dir}/badname.h5", "w") as f:
    f.attrs["PLATO_ID"] = star
    f["EXTERNALS/X@previous/value"] = 1.0
with h5py.File("{dir}/linked.h5", "w") as f:
    f.attrs["PLATO_ID"] = star; f.attrs["QUARTER_NUMBER"] = 4
    f.create_group("EXTERNALS")["X"] = h5py.ExternalLink("lc.h5", "/EXTERNALS/flag")
"#,
    );
    std::fs::write(bench.path("text.h5"), "time,flux").unwrap();
    let cases = [
        ("nostar.h5", "names no star"),
        ("badstar.h5", "KIC 1"),
        ("badquarter.h5", "1000"),
        ("noquarter.h5", "QUARTER_NUMBER"),
        ("negative.h5", "negative"),
        ("empty.h5", "EXTERNALS"),
        ("badname.h5", "X@previous"),
        ("linked.h5", "external link"),
        ("text.h5", "no HDF5 file (9 bytes)"),
        ("missing.h5", "No such file"),
    ];
    let mut files: Vec<&str> = cases.iter().map(|(file, _)| *file).collect();
    files.push("lc.h5");
    let results = deliver(&mut bench, &files, AS_WRITTEN).await;
    assert_eq!(results.len(), files.len());
    for (file, words) in cases {
        let found = results.iter().find(|result| result.files == [bench.path(file)]).unwrap();
        assert!(reason(found).contains(words), "{file}: {}", reason(found));
    }
    let good = results.iter().find(|result| result.star == Some(star())).unwrap();
    assert!(matches!(good.result, IngestResult::Added { .. }), "{good:?}");
}

#[tokio::test]
async fn files_that_contradict_each_other_are_an_error_that_names_both() {
    let mut bench = Workbench::new();
    bench.python(DELIVERED);
    bench.python(r#"h5py.File("{dir}/pfu.h5", "a")["EXTERNALS/flag/flag"][()] = False"#);
    let results = deliver(&mut bench, &["lc.h5", "pfu.h5"], AS_WRITTEN).await;
    let reason = reason(&results[0]);
    assert!(["lc.h5", "pfu.h5", "flag"].iter().all(|word| reason.contains(word)), "{reason}");
    assert_eq!(bench.store.externals(star(), quarter(3), Sequence(u64::MAX)).unwrap(), Vec::<String>::new());
    let forced = deliver(&mut bench, &["lc.h5"], IngestScope::Quarter(quarter(4))).await;
    assert!(self::reason(&forced[0]).contains("Q003"), "{forced:?}");
}

#[tokio::test]
async fn names_that_are_no_text_and_files_of_the_store_itself_are_wrong_and_the_others_go_on() {
    let mut bench = Workbench::new();
    bench.python(DELIVERED);
    deliver(&mut bench, &["lc.h5"], AS_WRITTEN).await;
    let odd = bench.path("x").with_file_name(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff.h5"));
    std::fs::copy(bench.path("lc.h5"), &odd).unwrap();
    let own = bench.store.at(paths::externals(star(), quarter(3)).join("l1.lightcurve@1.h5"));
    let options = plain(AS_WRITTEN);
    let files = [odd, own, bench.path("lc.h5")];
    let results = take_in(&bench.store, &mut bench.agent, &files, &options).await;
    assert!(reason(&results[0]).contains("UTF-8"), "{results:?}");
    assert!(reason(&results[1]).contains("store"), "{results:?}");
    assert!(matches!(results[2].result, IngestResult::Added { .. }), "{results:?}");
    serde_json::to_string(&results).unwrap();
}

#[tokio::test]
async fn a_file_that_is_too_large_for_a_store_is_wrong_for_that_reason() {
    let bench = Workbench::new();
    bench.python(DELIVERED);
    let options = plain(AS_WRITTEN);
    let mut agent = Agent::new(AgentOptions { file_size: 100_000, ..bench.agent.options().clone() });
    let results = take_in(&bench.store, &mut agent, &[bench.path("lc.h5")], &options).await;
    assert!(reason(&results[0]).contains("too large"), "{results:?}");
}

#[tokio::test]
async fn a_store_without_room_ends_a_delivery_and_blames_no_file() {
    let bench = Workbench::new();
    bench.python(DELIVERED);
    let options = plain(AS_WRITTEN);
    // A directory that goes away stands for a disk without room: nothing can be written.
    let scratch = bench.store.scratch("gone").unwrap();
    let mut agent = Agent::new(AgentOptions { writable: scratch.clone(), ..bench.agent.options().clone() });
    let mut told = Vec::new();
    let mut tell = |step| {
        _ = std::fs::remove_dir(&scratch);
        told.push(step);
    };
    let stopped = ingest(&bench.store, &mut agent, &[bench.path("lc.h5")], &options, &mut tell).await;
    assert!(matches!(stopped, Err(IngestError::Unwritable(_))), "{stopped:?}");
    assert!(told.iter().all(|step| matches!(step, IngestStep::Inspected)), "{told:?}");
    assert_eq!(bench.store.externals(star(), quarter(3), Sequence(u64::MAX)).unwrap(), Vec::<String>::new());
}

//! Products that are made again: which count as what they were.

use std::collections::BTreeMap;

use domain::id::Generation;
use domain::outcome::{StandsFor, Success};
use domain::product::{ColumnTolerance, Tolerance};
use store::agent::{AskWithin, At, Check, MarkSealed, OutputLimits, Seal};
use store::{durable, paths};

use crate::ingesting::{quarter, star};
use crate::outputs::name;
use crate::{Workbench, star_files};

/// A product, and the same with a change each.
const WRITE: &str = r#"
base = {"x": np.array([1.0, np.nan, np.inf, -2.0]), "s": np.float32(3.0), "n": np.int64(7), "flag": np.array([True, False]),
        "text": "abc"}
changes = {"same": {}, "close": {"x": base["x"] * (1 + 1e-9)}, "far": {"x": base["x"] * (1 + 1e-5)},
           "nan": {"x": np.array([np.nan, np.nan, np.inf, -2.0])}, "infinite": {"x": np.array([1.0, np.nan, 3.0, -2.0])},
           "one": {"x": np.array([1.0, np.nan, np.inf, -2.0 - 1e-5])}, "longer": {"x": np.append(base["x"], 1.0)},
           "less": {"x": None}, "more": {"y": 1.0}, "kind": {"s": np.float64(3.0)}, "single": {"s": np.float32(3.0000002)},
           "whole": {"n": np.int64(8)}, "flags": {"flag": np.array([True, True])}, "texts": {"text": "abd"}}
def write(name, columns, **attributes):
    with h5py.File("{dir}/" + name + ".h5", "w") as f:
        group = f.create_group("PRODUCTS/X")
        group.attrs.update(attributes)
        for column, value in columns.items():
            if value is not None:
                group[column] = value
for name, change in changes.items():
    write(name, {**base, **change})
write("unit", base, unit="s")
with h5py.File("{dir}/plain.h5", "w") as f:
    f["PRODUCTS/X"] = 1.0
with h5py.File("{dir}/plainer.h5", "w") as f:
    f["PRODUCTS/X"] = 1.0 + 1e-9
"#;

fn at(bench: &Workbench, name: &str) -> At {
    At { file: bench.path(&format!("{name}.h5")), path: "/PRODUCTS/X".to_owned() }
}

async fn check(bench: &mut Workbench, (old, new): (&str, &str), tolerance: &Tolerance, expected: bool) {
    let ask = AskWithin { reference: at(bench, old), made: at(bench, new), tolerance: tolerance.clone() };
    assert_eq!(bench.agent.within(ask).await.unwrap(), expected, "{old} and {new} within {tolerance}");
}

#[tokio::test]
async fn numbers_may_differ_by_what_is_tolerated_and_nothing_else_may() {
    let mut bench = Workbench::new();
    bench.python(WRITE);
    let rtol = Tolerance { rtol: 1e-6, ..Tolerance::default() };
    for (name, expected) in [
        ("same", true),
        ("close", true),
        ("far", false),
        ("nan", false),
        ("infinite", false),
        ("one", false),
        ("longer", false),
        ("less", false),
        ("more", false),
        ("kind", false),
        ("single", true),
        ("whole", false),
        ("flags", false),
        ("texts", false),
        ("unit", false),
    ] {
        check(&mut bench, ("same", name), &rtol, expected).await;
    }
    check(&mut bench, ("plain", "plainer"), &rtol, true).await;
    check(&mut bench, ("plain", "same"), &rtol, false).await;
    // Integers differ only where their column is named; a column's own numbers count in place of the product's.
    let atol = Tolerance { atol: 10.0, ..Tolerance::default() };
    check(&mut bench, ("same", "whole"), &atol, false).await;
    check(&mut bench, ("same", "far"), &atol, true).await;
    check(&mut bench, ("same", "flags"), &atol, false).await;
    let of_n =
        |atol| Tolerance { columns: [("n".to_owned(), ColumnTolerance { rtol: 0.0, atol })].into(), ..rtol.clone() };
    check(&mut bench, ("same", "whole"), &of_n(1.0), true).await;
    check(&mut bench, ("same", "whole"), &of_n(0.5), false).await;
    let of_x = ColumnTolerance { rtol: 0.0, atol: 0.0 };
    let but_x = Tolerance { columns: [("x".to_owned(), of_x)].into(), ..rtol };
    check(&mut bench, ("same", "close"), &but_x, false).await;
    check(&mut bench, ("same", "single"), &but_x, true).await;
}

#[tokio::test]
async fn what_a_result_stands_for_is_in_its_manifest_and_no_digest_is_another_for_it() {
    let mut bench = Workbench::new();
    bench.python(WRITE);
    let dest = bench.private("sealed.h5");
    let contract = Check {
        output: bench.path("close.h5"),
        mandatory: vec!["X".parse().unwrap()],
        optional: vec![],
        nullable: vec![],
        conditional: vec![],
        aliases: Default::default(),
        model: Default::default(),
        strict_units: false,
        scalars_of: BTreeMap::new(),
        limits: OutputLimits::default(),
    };
    let provenance = star_files::provenance(vec![]);
    let log = String::new();
    let seal = Seal { check: contract, is_in_reach: true, provenance, log, dest: dest.clone() };
    let sealed = bench.agent.seal(seal).await.unwrap();
    let before = bench.agent.digest(at(&bench, "same")).await.unwrap().digest;
    let within = Tolerance { rtol: 1e-6, ..Tolerance::default() }.to_string();
    let stands_for = StandsFor { digest: before, file: "Q003/products/A-1.h5".to_owned(), within };
    let marks = BTreeMap::from([("X".parse().unwrap(), stands_for.clone())]);
    bench.agent.mark(MarkSealed { file: dest.clone(), stands_for: marks }).await.unwrap();
    let manifest = bench.agent.manifest(&dest).await.unwrap();
    let (_, entry) = manifest.products.first_key_value().unwrap();
    assert_eq!(entry.stands_for.as_ref(), Some(&stands_for));
    let (_, own) = sealed.products.first_key_value().unwrap();
    let found = bench.agent.digest(At { file: dest, path: "/PRODUCTS/X".to_owned() }).await.unwrap();
    assert!(entry.digest == own.digest && found.digest == own.digest && own.digest != before);
}

#[tokio::test]
async fn a_star_file_says_what_stood_for_something_in_its_run_and_not_what_the_result_was_made_with() {
    let mut bench = Workbench::new();
    let result = star_files::commit_result(&mut bench, vec![]).await;
    let own = |product: &str| result.products[&name(product)].digest;
    let there = format!("Q003/products/MSAP3_04-{}.h5", star_files::key());
    let before = |file: &str| StandsFor { digest: own("N"), file: file.to_owned(), within: "rtol 1e-9".to_owned() };
    let mut success = Success::new(star_files::key(), BTreeMap::new());
    success.stands_for.insert(name("LARGE"), before(&there));
    success.stands_for.insert(name("IDP_SAS_[X] "), before("Q003/products/MSAP3_04-gone.h5"));
    let dest = bench.private("star.h5");
    let assemble = star_files::star_file(&bench, &dest, Generation(1), success);
    let manifest = bench.agent.assemble(assemble).await.unwrap();
    assert_eq!(manifest.products[&name("LARGE")].stands_for, Some(before(&there)));
    assert_eq!(manifest.products[&name("IDP_SAS_[X] ")].stands_for, None, "what it stood for is not there any more");
    let said = bench.python(&format!(
        "f = h5py.File({:?})\nprint(dict(f['SAS-PIP-MSAP3_04_1/stands_for'].attrs))",
        dest.display().to_string()
    ));
    assert!(said.contains("LARGE") && said.contains(&own("N").to_string()) && !said.contains("IDP_SAS"), "{said}");

    // The result may say otherwise: it was made under another tolerance.
    let seen = bench.store.at(paths::product(star(), quarter(3), &"MSAP3_04".parse().unwrap(), &star_files::key()));
    let marks = BTreeMap::from([(name("LARGE"), before(&there))]);
    let marked = bench.private("marked.h5");
    std::fs::write(&marked, std::fs::read(&seen).unwrap()).unwrap();
    bench.agent.mark(MarkSealed { file: marked.clone(), stands_for: marks }).await.unwrap();
    std::fs::remove_file(&seen).unwrap();
    durable::commit_file(&marked, &seen).unwrap();
    let dest = bench.private("next.h5");
    let success = Success::new(star_files::key(), BTreeMap::new());
    let assemble = star_files::star_file(&bench, &dest, Generation(2), success);
    let manifest = bench.agent.assemble(assemble).await.unwrap();
    assert!(bench.agent.manifest(&seen).await.unwrap().products[&name("LARGE")].stands_for.is_some());
    assert_eq!(manifest.products[&name("LARGE")].stands_for, None);
}

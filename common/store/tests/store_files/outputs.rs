//! What modules write, against their contract, and what becomes of it in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use domain::id::ProductName;
use domain::outcome::FailureKind::{self, OutputCorrupt, OutputMissing, OutputViolates};
use domain::product::{Column, ColumnKind, ProductModel};
use store::agent::{At, Check, Checked, OutputLimits, Scalar};

use crate::Workbench;

pub(crate) fn name(text: &str) -> ProductName {
    text.parse().unwrap()
}

/// A contract: X mandatory, O optional, N nullable, C conditional; X has columns.
fn contract(bench: &Workbench) -> Check {
    let column = |kind, ndim, unit: &str, optional| Column {
        kind,
        ndim,
        unit: (!unit.is_empty()).then(|| unit.to_owned()),
        optional,
        doc: None,
    };
    let columns = BTreeMap::from([
        ("value".to_owned(), column(ColumnKind::Float, 0, "µHz", false)),
        ("n".to_owned(), column(ColumnKind::Int, 0, "", false)),
        ("ok".to_owned(), column(ColumnKind::Bool, 0, "", false)),
        ("set/list".to_owned(), column(ColumnKind::Float, 1, "", false)),
        ("label".to_owned(), column(ColumnKind::String, 0, "", true)),
    ]);
    Check {
        output: bench.path("output.h5"),
        mandatory: vec![name("X")],
        optional: vec![name("O")],
        nullable: vec![name("N")],
        conditional: vec![name("C")],
        aliases: BTreeMap::new(),
        model: BTreeMap::from([(name("X"), ProductModel { columns })]),
        strict_units: false,
        scalars_of: BTreeMap::from([(name("X"), None), (name("C"), Some(BTreeSet::from(["flag".to_owned()])))]),
        limits: OutputLimits::default(),
    }
}

/// Writes an output that keeps the contract, with `change` made to it, and checks it.
async fn check(change: &str) -> Checked {
    check_as(change, false).await
}

async fn check_as(change: &str, strict_units: bool) -> Checked {
    let mut bench = Workbench::new();
    let text = r#"
f = h5py.File("{dir}/output.h5", "w")
x = f.create_group("PRODUCTS/X")
x["value"] = 2402.5; x["value"].attrs["unit"] = "µHz"
x["n"] = 7; x["ok"] = True; x["set/list"] = np.arange(3.0); x["label"] = "a b"
f["PRODUCTS/N/value"] = 1.0
"#;
    bench.python(&format!("{text}{change}\nf.close()"));
    let contract = Check { strict_units, ..contract(&bench) };
    bench.seal(contract).await.unwrap()
}

async fn refused(change: &str, kind: FailureKind, words: &[&str]) {
    let violation = check(change).await.violation.unwrap_or_else(|| panic!("{change:?} passed"));
    assert_eq!(violation.kind, kind, "{change:?}: {}", violation.message);
    for word in words {
        assert!(violation.message.contains(word), "{change:?}: {} does not say {word}", violation.message);
    }
}

async fn accepted(change: &str) -> Checked {
    let checked = check(change).await;
    assert_eq!(checked.violation, None, "{change:?}");
    checked
}

#[tokio::test]
async fn an_output_that_keeps_its_contract_passes_with_its_scalars() {
    let checked = accepted("").await;
    assert_eq!(checked.warnings, Vec::<String>::new());
    assert_eq!(checked.products.keys().map(ProductName::as_str).collect::<Vec<_>>(), ["N", "X"]);
    let scalars = &checked.scalars[&name("X")].scalars;
    assert_eq!(scalars["value"], Scalar::Float(2402.5));
    assert_eq!((&scalars["n"], &scalars["ok"]), (&Scalar::Int(7), &Scalar::Bool(true)));
    assert_eq!(scalars["label"], Scalar::Text("a b".to_owned()));
    assert!(!scalars.contains_key("set/list"));
}

#[tokio::test]
async fn values_may_be_written_in_all_the_ways_of_the_field() {
    for change in [
        r#"del x["value"]; x["value"] = np.array(3, ">i4"); x["value"].attrs["unit"] = np.bytes_("µHz".encode())"#,
        r#"del x["value"]; x["value"] = np.array(3.5, ">f4"); x["value"].attrs["unit"] = "µHz""#,
        r#"del x["ok"]; x["ok"] = np.int8(1)"#,
        r#"del x["ok"]; x.create_dataset("ok", data=1, dtype=h5py.enum_dtype({"NO": 0, "YES": 1}, "i1"))"#,
        r#"del x["label"]; x["label"] = np.bytes_(b"fixed")"#,
        r#"del x["label"]"#,
        r#"del x["n"]; x["n"] = np.array([7])"#,
        r#"del x["ok"]; x["ok"] = np.array([[True]])"#,
        r#"del x["label"]; x["label"] = np.array([b"fixed"])"#,
        r#"del x["set/list"]; x.create_dataset("set/list", data=np.zeros(0))"#,
        r#"del x["set/list"]; x.create_dataset("set/list", data=np.zeros(9), compression="gzip", shuffle=True)"#,
    ] {
        let checked = accepted(change).await;
        assert_eq!(checked.warnings, Vec::<String>::new(), "{change}");
    }
}

#[tokio::test]
async fn columns_that_break_the_data_model_are_named_with_what_was_expected_and_found() {
    refused(r#"del x["n"]"#, OutputViolates, &["/PRODUCTS/X", "\"n\"", "missing", "int"]).await;
    refused(r#"del x["n"]; x["n"] = 7.0"#, OutputViolates, &["\"n\"", "float64", "expected int"]).await;
    refused(r#"del x["set/list"]; x["set/list"] = 1.0"#, OutputViolates, &["\"set/list\"", "1 dim", "0 dim"]).await;
    refused(
        r#"del x["n"]; x["n"] = [7, 8]"#,
        OutputViolates,
        &["\"n\" is int64 of shape [2], expected int with 0 dim"],
    )
    .await;
    refused(r#"del x["n"]; x["n"] = np.zeros(0, int)"#, OutputViolates, &["int64 of shape [0]"]).await;
    refused(r#"del x["ok"]; x["ok"] = np.array([7], "i1")"#, OutputViolates, &["\"ok\"", "bool"]).await;
    refused(r#"del x["value"]; x["value"] = "text""#, OutputViolates, &["\"value\"", "text", "float"]).await;
    refused(r#"del x["ok"]; x["ok"] = np.int64(1)"#, OutputViolates, &["\"ok\"", "int64", "bool"]).await;
    refused(r#"del x["ok"]; x["ok"] = np.int8(7)"#, OutputViolates, &["\"ok\"", "int8 7", "bool"]).await;
    let colour =
        r#"del x["ok"]; t = h5py.enum_dtype({"RED": 3, "BLUE": 9}, "i1"); x.create_dataset("ok", data=3, dtype=t)"#;
    refused(colour, OutputViolates, &["\"ok\"", "enum", "bool"]).await;
    refused(r#"del x["value"]; x["value"] = h5py.Empty("f8")"#, OutputViolates, &["\"value\"", "without a value"])
        .await;
    refused(r#"del f["PRODUCTS/X"]; f["PRODUCTS/X"] = 1.0"#, OutputViolates, &["/PRODUCTS/X"]).await;
}

#[tokio::test]
async fn other_units_and_extra_columns_are_warnings() {
    let change = r#"x["more"] = 1; x["value"].attrs["unit"] = "mHz""#;
    let unit = r#"/PRODUCTS/X: column "value" has unit "mHz", expected unit "µHz""#;
    let extra = r#"/PRODUCTS/X: column "more" is not in the data model"#;
    assert_eq!(accepted(change).await.warnings, [unit, extra]);
    let violation = check_as(change, true).await.violation.unwrap();
    assert_eq!((violation.kind, violation.message.as_str()), (OutputViolates, unit));
    let none = r#"del x["value"].attrs["unit"]"#;
    assert_eq!(accepted(none).await.warnings, [r#"/PRODUCTS/X: column "value" has no unit, expected unit "µHz""#]);
}

#[tokio::test]
async fn what_must_be_there_must_be_there() {
    refused(r#"del f["PRODUCTS/X"]"#, OutputMissing, &["/PRODUCTS/X is missing"]).await;
    refused(r#"del f["PRODUCTS/N"]"#, OutputMissing, &["/PRODUCTS/N is missing"]).await;
    refused(r#"del f["PRODUCTS"]"#, OutputMissing, &["/PRODUCTS/X is missing"]).await;
    refused(r#"del f["PRODUCTS/N/value"]"#, OutputMissing, &["/PRODUCTS/N is an empty group", "NOT_PRODUCED"]).await;
    let answer = r#"del f["PRODUCTS/X"]; f.create_group("PRODUCTS/X").attrs["NOT_PRODUCED"] = "why""#;
    refused(answer, OutputMissing, &["/PRODUCTS/X", "why", "mandatory"]).await;
    let both = r#"f["PRODUCTS/N"].attrs["NOT_PRODUCED"] = "no convergence""#;
    refused(both, OutputCorrupt, &["/PRODUCTS/N", "NOT_PRODUCED", "has columns"]).await;
    let number = r#"del f["PRODUCTS/N/value"]; f["PRODUCTS/N"].attrs["NOT_PRODUCED"] = 1"#;
    refused(number, OutputCorrupt, &["/PRODUCTS/N", "NOT_PRODUCED", "text"]).await;
    refused(r#"del f["PRODUCTS"]; f["PRODUCTS"] = 1.0"#, OutputCorrupt, &["/PRODUCTS is no group"]).await;

    let mut bench = Workbench::new();
    let contract = contract(&bench);
    let violation = bench.seal(contract.clone()).await.unwrap().violation.unwrap();
    assert_eq!(violation.kind, OutputMissing);
    assert!(violation.message.contains("not written"), "{}", violation.message);
    let free = Check { mandatory: vec![], nullable: vec![], ..contract };
    assert_eq!(bench.seal(free).await.unwrap(), Checked::default(), "nothing is needed, nothing was written");
}

#[tokio::test]
async fn a_nullable_output_may_be_answered_by_a_reason() {
    let change = r#"del f["PRODUCTS/N/value"]; f["PRODUCTS/N"].attrs["NOT_PRODUCED"] = "no convergence"
f["PRODUCTS/C/flag"] = np.int8(0); f["PRODUCTS/O"] = np.arange(4.0)"#;
    let checked = accepted(change).await;
    assert_eq!(checked.products[&name("N")].not_produced.as_deref(), Some("no convergence"));
    assert_eq!(checked.products[&name("X")].not_produced, None);
    assert_eq!(checked.products[&name("O")].bytes, 32);
    assert_eq!(checked.scalars[&name("C")].scalars["flag"], Scalar::Int(0));
}

/// Of what a condition names the value is told and nothing else; of what is none the shape, beside that of the other columns.
#[tokio::test]
async fn of_what_a_condition_names_and_is_no_scalar_the_shape_is_told() {
    let change = |flag| format!(r#"f["PRODUCTS/C/flag"] = {flag}; f["PRODUCTS/C/also"] = 3.0"#);
    let read = &accepted(&change("np.int8(1)")).await.scalars[&name("C")];
    assert!(read.scalars.keys().eq(["flag"]) && read.others.is_empty(), "{read:?}");
    let read = &accepted(&change("np.int8([1, 0])")).await.scalars[&name("C")];
    let others: Vec<(&str, &str)> = read.others.iter().map(|(column, words)| (&**column, &**words)).collect();
    assert_eq!(others, [("also", "float64"), ("flag", "int8 of shape [2]")]);
    assert!(read.scalars.is_empty());
}

#[tokio::test]
async fn of_long_reasons_and_of_texts_beside_what_conditions_read_the_beginning_is_told() {
    let change = r#"del f["PRODUCTS/N/value"]; f["PRODUCTS/N"].attrs["NOT_PRODUCED"] = "why " + "x" * 15_000_000
del x["label"]; x["label"] = "µ" * 2_000_000"#;
    let checked = accepted(change).await;
    let reason = checked.products[&name("N")].not_produced.as_deref().unwrap();
    assert!(reason.starts_with("why ") && reason.len() <= 4096, "{} bytes", reason.len());
    let scalars = &checked.scalars[&name("X")].scalars;
    assert_eq!(scalars["value"], Scalar::Float(2402.5));
    assert!(matches!(&scalars["label"], Scalar::Text(text) if text.starts_with('µ') && text.len() <= 4096));
}

/// A program that changes an output without end, by a descriptor that it holds; it ends with this.
struct Rewriter(Child);

impl Rewriter {
    /// Writes an output with a product X of so many values, and begins to change the first of them.
    fn of(bench: &Workbench, values: usize) -> Self {
        let output = bench.path("output.h5");
        let script = format!(
            "import h5py, itertools, numpy as np, os, struct\n\
             with h5py.File({output:?}, 'w') as f:\n\
             \x20   f['PRODUCTS/X/value'] = np.zeros({values}); at = f['PRODUCTS/X/value'].id.get_offset()\n\
             fd = os.open({output:?}, os.O_WRONLY)\n\
             print('begins', flush=True)\n\
             for n in itertools.count(1): os.pwrite(fd, struct.pack('<d', n), at)"
        );
        let mut child =
            Command::new("/usr/bin/python3").args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("python3");
        let mut begins = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut begins).unwrap();
        Self(child)
    }
}

impl Drop for Rewriter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn what_is_packed_is_what_was_checked_whoever_writes_to_the_output_meanwhile() {
    for values in [1, 500_000] {
        let mut bench = Workbench::new();
        let _rewriter = Rewriter::of(&bench, values);
        for nth in 1..=10 {
            let contract = Check { model: BTreeMap::new(), nullable: vec![], ..contract(&bench) };
            let checked = bench.seal(contract).await.unwrap();
            assert_eq!(checked.violation, None);
            let packed = At { file: bench.private(&format!("sealed-{nth}.h5")), path: "/PRODUCTS/X".to_owned() };
            let packed = bench.agent.digest(packed).await.unwrap();
            assert_eq!(packed, checked.products[&name("X")], "{values} values, the {nth}th time");
        }
        let left = std::fs::read_dir(bench.private("")).unwrap().count();
        assert_eq!(left, 10, "nothing but what was packed is left");
    }
}

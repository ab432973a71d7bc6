//! What is in a key and what is not. Keys name files that outlive this program: the bytes below must never change.

use super::*;
use crate::contract::key::describe;
use crate::id::Key;

const MODULE: &str = "command = ['run', '--fast']\nenvironment = { WALKERS = '100' }\nclass = 'default'\n\
                      parameters = { steps = 5000, tiny = 1e-9, deep = { b = [true, 'x'], a = 1.0 } }\n\
                      run_if = 'P.A.n >= params.least && valid(\"B\")'\n\
                      inputs.mandatory = ['A']\ninputs.optional = ['S', 'A@previous']\ninputs.one_of = [['B', 'X']]\n\
                      inputs.conditional = [{ product = 'Y', when = 'P.A.flag' }]\n\
                      outputs.mandatory = ['F']\noutputs.optional = ['G']\noutputs.nullable = ['K']\n\
                      outputs.conditional = [{ product = 'H', when = 'P.F.n < params.most' }]";

const VIEW: &str = "A.flag=true B X Y S";

#[test]
fn the_text_of_a_key_never_changes() {
    let (module, staging) = staged(MODULE, VIEW);
    let mut fields = Vec::new();
    describe(&module, &"sha256:feed".parse().unwrap(), &staging, &mut |field| fields.push(field.to_owned()));
    let [a, b, s, y] = ['A', 'B', 'S', 'Y'].map(|name| hex::encode([name as u8; 32]));
    let expected: Vec<&str> = vec![
        "format",
        "1",
        "sas-key-1",
        "image",
        "1",
        "sha256:feed",
        "command",
        "2",
        "run",
        "--fast",
        "environment",
        "2",
        "WALKERS",
        "100",
        "parameters",
        "12",
        "deep",
        "table 2",
        "a",
        "float 3ff0000000000000",
        "b",
        "array 2",
        "bool true",
        "text x",
        "steps",
        "int 5000",
        "tiny",
        "float 3e112e0be826d695",
        "params",
        "4",
        "least",
        "int 3",
        "most",
        "int 9",
        "outputs.mandatory",
        "1",
        "F",
        "outputs.optional",
        "1",
        "G",
        "outputs.nullable",
        "1",
        "K",
        "outputs.conditional",
        "2",
        "H",
        "P.F.n < params.most",
        "inputs",
        "20",
        "external",
        "S",
        "input",
        &s,
        "external",
        "Y",
        "input",
        &y,
        "previous",
        "A",
        "absent",
        "",
        "product",
        "A",
        "input",
        &a,
        "product",
        "B",
        "one_of 0",
        &b,
        "reads",
        "12",
        "product",
        "A",
        "column flag",
        "bool true",
        "product",
        "A",
        "column n",
        "int 4",
        "product",
        "B",
        "valid",
        "bool true",
    ];
    assert_eq!(fields, expected);
    let key = key(&module, &"sha256:feed".parse().unwrap(), &staging);
    assert_eq!(key.to_string(), "fd5f60a79ca2274d39ad81c8841ee9d02cb13a772f752823e19a7bc1a6fb1390");
    assert_eq!(format!("{:016x}", seed(&key)), key.to_string()[..16], "the seed is the key's first 64 bits");
}

#[test]
fn everything_that_determines_the_result_is_in_the_key() {
    let same = key_of(MODULE, VIEW, "i");
    for (from, to) in [
        ("'--fast'", "'--slow'"),
        ("['run', '--fast']", "['run--fast']"),
        ("WALKERS = '100'", "WALKERS = '101'"),
        ("WALKERS", "WALKER"),
        ("steps = 5000", "steps = 5001"),
        ("a = 1.0", "a = 1"),
        ("[true, 'x']", "[true, 'x', {}]"),
        ("outputs.mandatory = ['F']\noutputs.optional = ['G']", "outputs.mandatory = ['F', 'G']"),
        ("outputs.optional = ['G']\noutputs.nullable = ['K']", "outputs.optional = ['G', 'K']"),
        ("P.F.n < params.most", "P.F.n <= params.most"),
        ("['S', 'A@previous']", "['S']"),
        ("[['B', 'X']]", "[['X', 'B']]"),
        (" && valid(\"B\")", ""),
    ] {
        let changed = MODULE.replacen(from, to, 1);
        assert_ne!(changed, MODULE, "{from} is not in the module");
        assert_ne!(key_of(&changed, VIEW, "i"), same, "{from} → {to}");
    }
    assert_ne!(key_of(MODULE, VIEW, "j"), same, "the image");
    for seen in ["A.flag=false B X Y S", "A.flag=true B X Y", "A.flag=true B X Y S A@previous"] {
        assert_ne!(key_of(MODULE, seen, "i"), same, "{seen}");
    }
}

#[test]
fn what_cannot_change_the_result_is_not_in_the_key() {
    let same = key_of(MODULE, VIEW, "i");
    for more in [
        "group = 'G'",
        "doc = 'Other words'",
        "memory = '500MB'",
        "time_limit = '1s'",
        "mode = 'serve'",
        "after = ['B']",
        "retry = { max_attempts = 9, backoff = '1s', retry_on = [4] }",
    ] {
        assert_eq!(key_of(&format!("{more}\n{MODULE}"), VIEW, "i"), same, "{more}");
    }
    let other_class =
        MODULE.replace("class = 'default'", "class = 'big'") + "\n[classes.big]\ncpus = 8\nmemory = '9GB'";
    assert_eq!(key_of(&other_class, VIEW, "i"), same, "the class");
    let condition = MODULE.replace("params.least", "(params.most + params.least - 9)");
    assert_eq!(key_of(&condition, VIEW, "i"), same, "how a condition with the same reads is written");
    assert_eq!(key_of(MODULE, "A.flag=true B Y S", "i"), same, "an alternative after the chosen one");
    let reordered = MODULE.replace("['S', 'A@previous']", "['A@previous', 'S']");
    assert_eq!(key_of(&reordered, VIEW, "i"), same, "the order of a list without an order");
    let clause = MODULE.replace(
        "inputs.mandatory = ['A']\ninputs.optional = ['S', ",
        "inputs.mandatory = ['A', 'S']\ninputs.optional = [",
    );
    assert_ne!(clause, MODULE);
    assert_eq!(key_of(&clause, VIEW, "i"), same, "the module sees the same");
}

#[test]
fn a_product_counts_by_value_and_by_where_the_module_finds_it() {
    let (module, staging) = staged("inputs.mandatory = ['A']", "A");
    let key = |staging: &Staging| key(&module, &"i".parse().unwrap(), staging);
    let same = key(&staging);
    let mut other = staging.clone();
    other.staged[0].digest = Digest::from_bytes([1; 32]);
    assert_ne!(key(&other), same, "its digest");
    let mut other = staging.clone();
    other.staged[0].source.origin = Origin::StarExternal;
    assert_ne!(key(&other), same, "its group in the input file");
    let mut other = staging.clone();
    other.staged[0].source.origin = Origin::Module(crate::id::ModuleIndex(200));
    assert_eq!(key(&other), same, "not who made it");
    let mut other = staging;
    other.absent.push((other.staged.remove(0).source, Absence::Lost));
    let lost = key(&other);
    other.absent[0].1 = Absence::NotMade;
    assert_eq!(key(&other), lost, "not why it is absent");
    assert_ne!(lost, same);
}

fn key_of(module: &str, seen: &str, image: &str) -> Key {
    let (module, staging) = staged(module, seen);
    key(&module, &image.parse().unwrap(), &staging)
}

/// The module and its inputs; `A.n` is 4 and `B.value` is 1.5 wherever they are there.
fn staged(module: &str, seen: &str) -> (Module, Staging) {
    let pipeline = pipeline(module);
    let mut view = view(&pipeline, seen);
    for (source, columns) in &mut view.columns {
        if source.product.as_str() == "A" {
            columns.insert("n".to_owned(), Scalar::Int(4));
        }
        if source.product.as_str() == "B" {
            columns.insert("value".to_owned(), Scalar::Float(1.5));
        }
    }
    let verdict = decide(target(&pipeline), &view);
    let Judgement::Run(staging) = verdict else { panic!("does not run: {}", text(&verdict)) };
    (target(&pipeline).clone(), staging)
}

//! What conditions mean, and what is no condition. What is there is written as text: `X.flag = true, Y lost`; everything
//! else was not made.

use super::*;
use crate::product::DataModel;

/// `X`, `Y`, `FLAGS` and `U` (whose columns nobody knows) are made by modules 0 to 3, `EXT` is an external.
const MODEL: &str = r#"
[products.X.columns]
flag = { type = "bool", ndim = 0 }
n = { type = "int", ndim = 0 }
f = { type = "float", ndim = 0 }
s = { type = "string", ndim = 0 }
list = { type = "float", ndim = 1 }
"a b" = { type = "float", ndim = 0 }
"g/c" = { type = "int", ndim = 0 }
value = { type = "float", ndim = 0 }
[products.Y.columns]
flag = { type = "bool", ndim = 0 }
[products.FLAGS.columns]
p = { type = "bool", ndim = 0 }
q = { type = "bool", ndim = 0, optional = true }
r = { type = "int", ndim = 0 }
[products."IDP_SAS_FE_H_SAPP".columns]
"a b" = { type = "float", ndim = 0 }
[products.EXT]
"#;

#[test]
fn columns_are_compared_by_the_types_of_the_data_model() {
    check("P.X.flag", "X.flag = true", Ok(true));
    check("P.X.flag", "X.flag = 1", Ok(true));
    check("P.X.flag == true", "X.flag = 1", Ok(true));
    check("!P.X.flag", "X.flag = 0", Ok(true));
    check("P.X.f > 2 && P.X.f < 3.5", "X.f = 3", Ok(true));
    check("P.X.n * 2 >= params.min + 1", "X.n = 2", Ok(true));
    check("P.X.n in params.allowed", "X.n = 5", Ok(true));
    check("P.X.n in params[\"allowed\"]", "X.n = 4", Ok(false));
    check("P.X.s == 'G2V' || P.X.s.startsWith(params.deep.prefix)", "X.s = \"K0\"", Ok(true));
    check("P.X.n > 0 ? P.X.f > 1.0 : P.X.f > 2.0", "X.n = 0, X.f = 1.5", Ok(false));
    check("P.U.flag", "U.flag = 1", Ok(true));
    check("P.U.flag", "U.flag = true", Ok(true));
}

#[test]
fn nan_is_neither_less_nor_more_than_anything() {
    for text in ["P.X.f > 1.0", "P.X.f <= 1", "P.X.f < P.X.f", "2.0 >= P.X.f", "P.X.f == P.X.f"] {
        check(text, "X.f = NaN", Ok(false));
    }
    check("P.X.f != 1.0", "X.f = NaN", Ok(true));
    check("!(P.X.f > 1.0)", "X.f = NaN", Ok(true));
}

#[test]
fn what_was_not_made_is_false_wherever_it_stands() {
    check("P.X.flag", "", Ok(false));
    check("!P.X.flag", "", Ok(true));
    check("P.X.n < 3", "", Ok(false));
    check("P.X.n < P.EXT.n", "X.n = 1", Ok(false));
    check("P.X.flag || P.Y.flag", "Y.flag = true", Ok(true));
    check("PREV.X.flag", "X.flag = true", Ok(false));
    check("PREV.X.flag", "X@previous.flag = true", Ok(true));
}

#[test]
fn a_loss_is_an_error_that_either_side_may_absorb() {
    check("P.X.flag", "X lost", Err("X was lost to a failure"));
    check("!P.X.flag", "X lost", Err("X was lost to a failure"));
    for (a, b) in [("P.X.flag", "P.Y.flag"), ("P.Y.flag", "P.X.flag")] {
        check(&format!("{a} || {b}"), "X lost, Y.flag = true", Ok(true));
        check(&format!("{a} || {b}"), "X lost, Y.flag = false", Err("X was lost to a failure"));
        check(&format!("{a} || {b}"), "X lost", Err("X was lost to a failure"));
        check(&format!("{a} && {b}"), "X lost, Y.flag = false", Ok(false));
        check(&format!("{a} && {b}"), "X lost, Y.flag = true", Err("X was lost to a failure"));
        check(&format!("{a} && {b}"), "X lost", Ok(false));
        check(&format!("!({a} && {b})"), "X lost", Ok(true));
    }
    check("P.X.n < P.U.n", "U lost", Err("U was lost to a failure"));
    check("P.X.flag ? true : P.Y.flag", "X.flag = true, Y lost", Ok(true));
    check("P.X.flag ? true : P.Y.flag", "X.flag = false, Y lost", Err("Y was lost to a failure"));
    check("P.X.flag ? P.Y.flag : P.Y.flag", "X lost, Y.flag = false", Ok(false));
}

#[test]
fn a_loss_is_told_rather_than_a_mistake() {
    check("P.X.n > 1 || P.Y.flag", "X.f = 1.0, Y lost", Err("Y was lost to a failure"));
    check("P.Y.flag && P.X.n > 1", "X.f = 1.0, Y lost", Err("Y was lost to a failure"));
}

#[test]
fn any_other_error_says_what_was_expected() {
    check("P.X.n > 1", "X.f = 1.0", Err("X has no scalar column `n`"));
    check("P.X.n > 1", "X.n = \"many\"", Err("X.n is \"many\", which is no int as the data model says"));
    check("P.X.flag", "X.flag = 7", Err("X.flag is 7, which is no bool as the data model says"));
    check("P.U.flag", "U.flag = 7", Err("gives Int(7), expected a boolean"));
    check("6 / P.X.n > 1", "X.n = 0", Err("Division by zero of Int(6)"));
    check("P.X.n > 1 || P.Y.flag", "X.f = 1.0, Y.flag = true", Ok(true));
}

#[test]
fn functions_ask_for_a_product_as_a_whole() {
    check("made(\"X\")", "X.f = 1.0", Ok(true));
    check("made(\"X\")", "", Ok(false));
    check("!made('EXT')", "", Ok(true));
    check("made(\"X\")", "X lost", Err("X was lost to a failure"));
    for (value, valid) in [("3.5", true), ("-1.0", false), ("-1", false), ("NaN", false), ("inf", false), ("0.0", true)]
    {
        check("valid(\"X\")", &format!("X.value = {value}"), Ok(valid));
    }
    check("valid(\"X\")", "X.f = 1.0", Ok(false));
    check("valid(\"X\")", "", Ok(false));
    check("any(\"FLAGS\")", "FLAGS.p = false, FLAGS.q = true, FLAGS.r = 0", Ok(true));
    check("any(\"FLAGS\")", "FLAGS.p = 0, FLAGS.r = 1", Ok(false));
    check("all(\"FLAGS\")", "FLAGS.p = true, FLAGS.r = 0", Ok(true));
    check("all(\"FLAGS\")", "FLAGS.p = true, FLAGS.q = 0", Ok(false));
    check("all(\"FLAGS\")", "", Ok(false));
    check("any(\"FLAGS\")", "FLAGS.r = 1", Err("FLAGS has no boolean columns"));
    check("any(\"FLAGS\")", "FLAGS.p = 3", Err("FLAGS.p is 3, which is no bool"));
    check("any(\"U\")", "U.a = 7, U.b = true", Ok(true));
}

#[test]
fn names_may_be_messy() {
    check("P[\"IDP_SAS_[FE_H]_SAPP\"][\"a b\"] > 0", "IDP_SAS_FE_H_SAPP.a b = 1.0", Ok(true));
    check("P.X[\"a b\"] > 0 && P[\"X\"].g.c == 3 && P.X[\"g/c\"] == 3", "X.a b = 1.0, X.g/c = 3", Ok(true));
    check("P['trailing '].ok", "trailing .ok = true", Ok(true));
    let spellings = compile("P.X.g.c > 1 && P[\"X\"][\"g/c\"] > 2 && P.X['g']['c'] > 3").unwrap();
    assert_eq!(spellings.reads().len(), 1, "three spellings of one column");
}

#[test]
fn reads_and_parameters_come_from_the_syntax_tree() {
    let expression = compile("P.X.n >= params.min && (made('EXT') || PREV.X.f > 0.0) && any('FLAGS')").unwrap();
    let reads: Vec<String> = expression.reads().iter().map(ToString::to_string).collect();
    assert_eq!(reads, ["X.n", "made(EXT)", "X@previous.f", "any(FLAGS)"]);
    assert_eq!(expression.params().keys().collect::<Vec<_>>(), ["min"]);
    let seen = see("X.n = 2, X@previous.f = 7");
    let values: Vec<String> = expression
        .values(&|source| known(&seen, source))
        .into_iter()
        .map(|(read, value)| value.map_or_else(|| format!("{read} absent"), |value| format!("{read} = {value}")))
        .collect();
    assert_eq!(values, ["X.n = 2", "made(EXT) absent", "X@previous.f = 7.0", "any(FLAGS) absent"]);
}

#[test]
fn what_is_no_condition_is_refused_with_a_reason() {
    refuse("P.X.flag &&", "not a CEL expression: 1:12: Syntax error: mismatched input '<EOF>'");
    refuse("P.NOPE.flag", "product `NOPE` is not known");
    refuse("made('NOPE')", "product `NOPE` is not known");
    refuse("PREV.EXT.n > 1", "product `EXT` is not made by any module, so no quarter before has it");
    refuse("P.X.n > params.nope", "`params.nope` is not in [params]");
    refuse("P[params.name].n > 1", "`P` must be followed by a literal name");
    refuse("P.X[P.X.s] > 1", "`X` needs a column");
    refuse("made(P.X.s)", "`made` takes one literal name");
    refuse("any('X', 'Y')", "`any` takes one literal name");
    refuse("P.X", "`X` needs a column, as in `P[\"X\"][\"value\"]`");
    refuse("has(P.X.n)", "`has` is not allowed");
    refuse("x > 1", "unknown name `x`: expected P, PREV or params");
    refuse("[1, 2].exists(i, i > 1)", "macros, maps and structures are not allowed");
    refuse("P.X.nmodes > 1", "product `X` has no column `nmodes` in the data model, only [");
    refuse("P.X.list > 1.0", "column `list` of product `X` has 1 dimensions, only scalars are read");
    refuse("valid('Y')", "product `Y` has no column `value` in the data model");
    refuse("any('IDP_SAS_[FE_H]_SAPP')", "product `IDP_SAS_FE_H_SAPP` has no boolean columns in the data model");
    refuse("P['new\nline'].a", "not a CEL expression");
    refuse("P.X.nope > 1 && P.NOPE.a || params.nope", "product `NOPE` is not known\n`params.nope` is not in [params]");
}

#[test]
fn a_condition_is_not_an_operand() {
    // What was not made would make all of it false, whatever it says.
    for text in [
        "made('X') == false",
        "(P.X.flag || P.Y.flag) == true",
        "(made('X') ? P.X.n : P.U.n) == 3",
        "(P.X.f > 1.0) == false",
        "P.X.n + (made('Y') ? 1 : 2) > 3",
        "[P.X.f > 1.0] == [true]",
        "true in [any('FLAGS')]",
    ] {
        refuse(text, "gives a condition, which only `&&`, `||`, `!` and `?:` can take");
    }
    compile("P.X.flag == P.Y.flag && P.X.s.startsWith('a') == true").unwrap();
}

#[test]
fn equality_is_asked_of_values_that_can_be_equal() {
    refuse("P.X.flag == 1", "`X.flag`: Unsupported binary operator '=='");
    refuse("P.X.s != 3", "`X.s`: Unsupported binary operator '!='");
    refuse("P.X.n in ['a', true]", "`X.n`: Unsupported binary operator 'in'");
    refuse("P.X.n in params.deep.prefix", "`X.n`: ");
    check("P.X.n in ['a', 2.0]", "X.n = 2", Ok(true));
    check("P.X.n in []", "X.n = 2", Ok(false));
    check("P.X.n == P.X.f", "X.n = 2, X.f = 2.0", Ok(true));
    // Of a product that nobody knows only the star tells.
    check("P.U.flag == true", "U.flag = true", Ok(true));
    let reason = "Unsupported binary operator '==': Int(1), Bool(true)";
    check("P.U.flag == true", "U.flag = 1", Err(reason));
}

#[test]
fn depth_is_bounded_since_evaluation_recurses() {
    refuse(&format!("{}P.X.flag", "!".repeat(5000)), "is 5008 bytes long, at most 4096 are allowed");
    refuse(&format!("P.X.n{} > 1", "+1".repeat(2000)), "is nested deeper than 100 operators");
    refuse(&format!("{}P.X.flag{}", "(".repeat(2000), ")".repeat(2000)), "");
    compile(&format!("P.X.n{} > 1", "+1".repeat(90))).unwrap();
    compile(&vec!["P.X.flag"; 300].join(" || ")).unwrap();
}

#[test]
fn types_are_tried_before_the_first_star() {
    refuse("P.X.s > 3", "`X.s`: found no matching overload for '_>_' applied to '(string, int)'");
    refuse("P.X.n", "gives Int(1), expected a boolean");
    refuse("P.X.f + P.X.n > 1.0", "Unsupported binary operator");
    refuse("abs(P.X.f) > 1.0", "Undeclared reference to 'abs'");
    refuse("P.U.a.foo() > 1", "Undeclared reference to 'foo'");
    refuse("f(P.U.a, P.U.b, P.U.c, P.U.d, P.U.e, P.U.f, P.U.g)", "Undeclared reference to 'f'");
    refuse("1 / (params.min - 3) > 2", "Division by zero");
    refuse("params.deep.nope == 1", "No such key: nope");
    refuse("P.X.s > 3 && P.X.n", "int)'\n`X.n`: gives Int(1), expected a boolean");
    refuse("'yes'", "expected a boolean");
    for good in ["P.U.a > 1", "P.U.a > P.U.b", "P.U.a", "6 / (P.X.n - 1) > 1", "P.U.a.startsWith('x')", "true"] {
        compile(good).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
}

#[test]
fn a_nest_of_choices_stays_small() {
    let nested = (0..60).fold("P.X.flag".to_owned(), |inner, _| format!("({inner} ? P.X.flag : P.Y.flag)"));
    refuse(&nested, "the condition of a `?:` has more than 32 terms");
}

#[test]
fn the_formula_knows_what_states_decide() {
    let module = |at| Formula::Term(vec![ModuleIndex(at)]);
    let and = |a, b| Formula::And(Box::new(a), Box::new(b));
    let formula = |text: &str| compile(text).unwrap().formula();
    assert_eq!(formula("P.X.flag && !P.Y.flag"), and(module(0), Formula::Not(Box::new(module(1)))));
    assert_eq!(formula("P.X.n < P.U.n"), Formula::Term(vec![ModuleIndex(0), ModuleIndex(3)]));
    assert_eq!(formula("P.EXT.n > 1"), Formula::Term(Vec::new()), "content alone tells");
    assert_eq!(formula("PREV.X.n > 1"), Formula::Term(Vec::new()));
    assert_eq!(formula("params.min > 2 && P.X.flag"), and(Formula::Constant(true), module(0)));
}

/// Products that are there, with their columns; `None`: lost.
type SeenProducts = BTreeMap<String, Option<BTreeMap<String, Scalar>>>;

fn check(text: &str, seen: &str, expected: Result<bool, &str>) {
    let expression = compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let seen_text = seen;
    let seen = see(seen);
    let found = expression.evaluate(&|source| known(&seen, source)).map_err(|error| error.to_string());
    assert_eq!(found, expected.map_err(str::to_owned), "{text} where {seen_text:?}");
}

fn refuse(text: &str, reason: &str) {
    match compile(text) {
        Ok(_) => panic!("{text} was taken"),
        Err(error) => assert!(error.contains(reason), "{text}: {error}"),
    }
}

fn known<'a>(seen: &'a SeenProducts, source: &Source) -> Known<'a> {
    match seen.get(&source.to_string()) {
        None => Known::Absent,
        Some(None) => Known::Lost,
        Some(Some(columns)) => Known::Made(columns),
    }
}

fn see(text: &str) -> SeenProducts {
    let mut seen = SeenProducts::new();
    for entry in text.split(", ").filter(|entry| !entry.is_empty()) {
        if let Some(product) = entry.strip_suffix(" lost") {
            seen.insert(product.to_owned(), None);
            continue;
        }
        let (column, value) = entry.split_once(" = ").unwrap();
        let (product, column) = column.split_once('.').unwrap();
        let value = match value.parse() {
            Ok(value) => Scalar::Int(value),
            Err(_) => match (value.parse(), value.parse()) {
                (Ok(value), _) => Scalar::Bool(value),
                (_, Ok(value)) => Scalar::Float(value),
                _ => Scalar::Text(value.trim_matches('"').to_owned()),
            },
        };
        let columns = seen.entry(product.to_owned()).or_insert_with(|| Some(BTreeMap::new()));
        columns.as_mut().unwrap().insert(column.to_owned(), value);
    }
    seen
}

fn compile(text: &str) -> Result<Expression, String> {
    let mut mistakes = Vec::new();
    let model = DataModel::read(MODEL, &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let params = serde_json::json!({ "min": 3, "allowed": [1, 5], "name": "X", "deep": { "prefix": "K" } });
    let params = serde_json::from_value(params).unwrap();
    let products = |product: &ProductName| {
        let makers = ["X", "Y", "FLAGS", "U", "IDP_SAS_FE_H_SAPP", "trailing "];
        let made = makers.iter().position(|name| *name == product.as_str());
        let made = made.map(|at| Origin::Module(ModuleIndex(u8::try_from(at).unwrap())));
        made.or((product.as_str() == "EXT").then_some(Origin::StarExternal))
    };
    let aliases = BTreeMap::from([("IDP_SAS_[FE_H]_SAPP".parse().unwrap(), "IDP_SAS_FE_H_SAPP".parse().unwrap())]);
    let scope = Scope {
        products: &products,
        previous: &|product| matches!(products(product), Some(Origin::Module(_))),
        params: &params,
        model: &model,
        aliases: &aliases,
        unknown: "not known",
    };
    Expression::compile(text, &scope)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

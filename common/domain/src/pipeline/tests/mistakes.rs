//! Every mistake that a definition may have: each is named with module, field and product, and with what was expected.

use super::super::*;

/// A definition without mistakes, to which each case adds some.
const HEAD: &str = "name = 'P'\nversion = '1'\ntrigger = 'l1/lc'\nexternals.star = ['EXT']\n";

#[test]
fn what_is_no_toml_is_told_with_line_and_column() {
    check_text(
        "name = 'P'\nversion = = '1'\n",
        &["extra `=`, expected nothing", "unexpected key or value, expected newline, `#`"],
    );
    let found = mistakes("name = 'P'\n[modules.A\nimage = 'a'\n[modules.B]\nimage = 'a\n");
    assert_eq!(found.len(), 2, "both broken lines: {found:?}");
    check_text("name = 'P'\nname = 'Q'\n", &["duplicate key"]);
}

#[test]
fn a_wrong_shape_hides_no_other_mistake() {
    check(
        "colour = 'red'\nparams.when = 2024-01-01\nparams.width = nan\n[classes.big]\ncpus = 1\n\
         [modules.A]\nimag = 'a'\nimage = 'a'\ntime_limit = '3 parsecs'\nmemory = '8XB'\nmode = 'fast'\nenabled = 'yes'\n\
         retry.max_attempts = -1\nretry.forever = true\ninputs.mandatory = 'EXT'\ninputs.needed = []\n\
         outputs.conditional = [{ product = 'X' }]\nparameters.since = 07:00:00\nparameters.ok = 1\n\
         [modules]\nB = 3\n",
        &[
            "classes.big: missing field `memory`",
            "colour: unknown field `colour`, expected one of `name`, `version`, `data_model`, `trigger`, `strict_units`, `star_file`, `previous`, \
             `publishes`, `params`, `externals`, `aliases`, `classes`, `tolerances`",
            "params.when: 2024-01-01 is a date, expected text",
            "params.width: nan is not allowed, expected a finite number",
            "module A: enabled: invalid type: string \"yes\", expected a boolean",
            "module A: imag: unknown field `imag`, expected one of `group`, `doc`, `image`, `command`, `environment`, \
             `parameters`, `class`, `memory`, `time_limit`, `mode`, `enabled`, `run_if`, `after`, `trigger_rule`, `retry`, \
             `inputs`, `outputs`",
            "module A: inputs.mandatory: invalid type: string \"EXT\", expected a sequence",
            "module A: inputs.needed: unknown field `needed`, expected one of `mandatory`, `optional`, `one_of`, \
             `conditional`",
            "module A: memory: \"8XB\" is no size, expected one like \"8GB\" or \"512MiB\"",
            "module A: mode: unknown variant `fast`, expected `oneshot` or `serve`",
            "module A: outputs.conditional: missing field `when`",
            "module A: parameters.since: 07:00:00 is a date, expected text",
            "module A: retry.forever: unknown field `forever`, expected one of `max_attempts`, `backoff`, `retry_on`",
            "module A: retry.max_attempts: invalid value: integer `-1`, expected u32",
            "module A: time_limit: invalid value: string \"3 parsecs\", expected a duration",
            "module B: expected a table `[modules.B]`",
        ],
    );
}

#[test]
fn names_and_head() {
    check_text(
        "version = 'one two'\ntrigger = 'l1//lc'\n[modules.'A B']\nimage = 'a'\n",
        &[
            "trigger: \"l1//lc\" is not a valid dataset name: expected words of letters, digits, `_` or `-`, joined by \
             slashes, 100 characters at most",
            "version: \"one two\" is not valid: expected 1 to 64 letters, digits, `.`, `_`, `+` or `-`",
            "name: is missing",
            "modules: \"A B\" is not a valid module name: expected 1 to 64 letters, digits, `_` or `-`",
        ],
    );
    check("", &["modules: the pipeline has none, expected at least one `[modules.NAME]`"]);
    let many: String = (0..256).map(|number| format!("[modules.M{number:03}]\nimage = 'a'\n")).collect();
    check(&many, &["modules: 256 are too many, at most 255"]);
}

#[test]
fn products() {
    check(
        "[modules.A]\nimage = 'a'\ninputs.mandatory = ['EXT', 'NOPE', 'EXT', 'a/b']\ninputs.optional = ['X@previous', \
         'EXT@previous', 'EXT']\ninputs.one_of = [[], ['EXT', 'EXT']]\noutputs.mandatory = ['X', 'EXT']\noutputs.optional \
         = ['X']\n[modules.B]\nimage = 'a'\noutputs.nullable = ['X']\n",
        &[
            "module A: outputs: product `EXT` is an external, it cannot be made",
            "module A: outputs: product `X` is declared twice",
            "module B: outputs: product `X` is made by A already",
            "module A: inputs.mandatory: product `NOPE` is neither made by a module nor an external",
            "module A: inputs.mandatory: \"a/b\" is not a valid product name: expected 1 to 200 bytes without `/`, `@` or \
             control characters, not `.` or `..`",
            "module A: inputs.optional: product `EXT` is not made by any module, so no quarter before has it",
            "module A: inputs.one_of: a list has no alternatives",
            "module A: inputs: product `EXT` is declared twice",
            "module A: inputs: product `EXT` is declared twice",
            "module A: inputs.one_of: product `EXT` is declared twice",
        ],
    );
}

#[test]
fn externals_and_aliases() {
    check(
        "externals.shared = ['EXT', 'GRID', 'GRID']\n[aliases]\nOLD = 'NOPE'\nEXT = 'GRID'\n'a/b' = 'EXT'\n\
         [modules.A]\nimage = 'a'\n",
        &[
            "externals.shared: `GRID` is listed twice",
            "externals: product `EXT` is in both `star` and `shared`",
            "aliases: \"a/b\" is not a valid product name: expected 1 to 200 bytes without `/`, `@` or control characters, \
             not `.` or `..`",
            "aliases: `EXT` is a product itself, it cannot stand for `GRID`",
            "aliases: `OLD` stands for `NOPE`, which is neither made nor an external",
        ],
    );
}

#[test]
fn lists_in_place_of_tables() {
    check_text(
        "name = 'P'\nversion = '1'\ntrigger = 'l1/lc'\nexternals = [['EXT'], []]\n[modules.A]\nimage = 'a'\n\
         inputs = [['EXT']]\nretry = [2, '3s', [75]]\n",
        &["externals: expected a table", "module A: inputs: expected a table", "module A: retry: expected a table"],
    );
}

#[test]
fn a_wrong_name_of_a_module_is_no_mistake_of_those_who_need_it() {
    check(
        "[modules.'A B']\nimage = 'a'\noutputs.mandatory = ['X']\n[modules.B]\nimage = 'a'\ninputs.mandatory = ['X']\n",
        &["modules: \"A B\" is not a valid module name: expected 1 to 64 letters, digits, `_` or `-`"],
    );
}

#[test]
fn conditions() {
    check(
        "[modules.A]\nimage = 'a'\nrun_if = 'P.EXT.flag &&'\ninputs.conditional = [{ product = 'EXT', when = \
         'P.X.flag > params.least' }]\noutputs.mandatory = ['X']\noutputs.conditional = [{ product = 'Y', when = \
         'P.EXT.flag' }, { product = 'Z', when = 'PREV.X.flag' }]\n[modules.B]\nimage = 'a'\nrun_if = 'made(P.X.name)'\n",
        &[
            "module A: inputs.conditional: EXT: `params.least` is not in [params]",
            "module A: outputs.conditional: Y: product `EXT` is not an output of this module",
            "module A: outputs.conditional: Z: product `X` is not made by any module, so no quarter before has it",
            "module A: run_if: not a CEL expression: 1:14: Syntax error: mismatched input '<EOF>'",
            "module B: run_if: `made` takes one literal name, as in `made(\"X\")`",
        ],
    );
}

#[test]
fn resources_and_retries() {
    check(
        "[classes.none]\ncpus = 0\nmemory = '1GB'\n[classes.tiny]\ncpus = 1e300\nmemory = '1KB'\n[classes.'a b']\ncpus = 1\nmemory = '1GB'\n\
         [modules.A]\nimage = ' '\nclass = 'heavy'\ntime_limit = '0s'\nretry = { max_attempts = 0, retry_on = [0, 300] }\n\
         environment = { SAS_STAR = 'x', HOME = '/', '' = 'y', 'A=B' = 'z' }\n[modules.B]\nimage = 'a'\nmemory = '2GB'\n\
         [modules.C]\nimage = \"a\\nb\"\n",
        &[
            "classes: \"a b\" is not a valid class name: expected 1 to 64 letters, digits, `_` or `-`",
            "class none: cpus: 0.0 is not from 0.01 to 1024.0",
            "class tiny: cpus: 1e300 is not from 0.01 to 1024.0",
            "class tiny: memory: is less than 6.0 MiB, in which no container starts",
            "module A: class: `heavy` is not in [classes]",
            "module A: image: must not be empty",
            "module A: retry.max_attempts: must be 1 or more",
            "module A: retry.retry_on: 0 is no exit code of a failure, expected 1 to 255",
            "module A: retry.retry_on: 300 is no exit code of a failure, expected 1 to 255",
            "module A: time_limit: must be more than zero",
            "module A: environment: \"\" cannot be set: `=` and NUL are not allowed",
            "module A: environment: \"A=B\" cannot be set: `=` and NUL are not allowed",
            "module A: environment: `HOME` belongs to the contract with the container",
            "module A: environment: `SAS_STAR` belongs to the contract with the container",
            "module B: memory: 1.9 GiB is not from 6.0 MiB to the 953.7 MiB of class default",
            "module C: image: \"a\\nb\" is not a valid image name: expected printable characters, at least one",
        ],
    );
}

#[test]
fn order_and_circles() {
    // A → B → C → A, D → D, E → F → E, and what is only below a circle is not blamed
    check(
        "[modules.A]\nimage = 'a'\nafter = ['C', 'NOPE']\noutputs.optional = ['X']\n\
         [modules.B]\nimage = 'a'\nrun_if = 'made(\"X\")'\n[modules.C]\nimage = 'a'\nafter = ['B']\n\
         [modules.D]\nimage = 'a'\ninputs.optional = ['Y']\noutputs.optional = ['Y']\n\
         [modules.E]\nimage = 'a'\nafter = ['F']\n[modules.F]\nimage = 'a'\nafter = ['E']\n\
         [modules.G]\nimage = 'a'\nafter = ['A']\n",
        &[
            "module A: after: the pipeline has no module `NOPE`",
            "modules: depend on each other in a circle: A is after C, C is after B, B needs `X` of A",
            "module D: depends on itself: D needs `Y` of D",
            "modules: depend on each other in a circle: E is after F, F is after E",
        ],
    );
}

#[test]
fn rules_that_let_timing_into_a_result_are_refused() {
    let modules = |rule: &str, inputs: &str| {
        format!(
            "[modules.A]\nimage = 'a'\noutputs.optional = ['X', 'W']\n[modules.B]\nimage = 'a'\n[modules.OFF]\nimage = 'a'\n\
             enabled = false\noutputs.optional = ['Z']\n[modules.C]\nimage = 'a'\ntrigger_rule = '{rule}'\n{inputs}"
        )
    };
    let refused = |rule: &str| {
        format!(
            "module C: trigger_rule: `{rule}` may run the module before the producers of `X` are settled; timing must not \
             enter a result, so inputs from such modules must be mandatory here"
        )
    };
    for rule in ["one_success", "one_failed", "one_done", "always"] {
        check(&modules(rule, "after = ['B']\ninputs.optional = ['X']\n"), &[&refused(rule)]);
        check(&modules(rule, "after = ['B']\ninputs.one_of = [['EXT', 'X']]\n"), &[&refused(rule)]);
        check(&modules(rule, "after = ['B']\ninputs.mandatory = ['X']\n"), &[]);
        // Its other product is waited for, so that A is settled.
        check(&modules(rule, "after = ['B']\ninputs.mandatory = ['W']\ninputs.optional = ['X']\n"), &[]);
        check(&modules(rule, "after = ['A', 'B']\ninputs.optional = ['EXT', 'X@previous', 'Z']\n"), &[]);
    }
    check(&modules("one_success", "inputs.optional = ['X']\n"), &[]);
    check(&modules("always", "inputs.optional = ['X']\n"), &[&refused("always")]);
    check(&modules("all_done", "after = ['B']\ninputs.optional = ['X']\n"), &[]);
    let found = mistakes(&format!("{HEAD}{}", modules("one_succes", "")));
    assert!(found[0].starts_with("module C: trigger_rule: `one_succes` is no rule; expected contract, all_success, "));
}

#[test]
fn the_data_model_is_checked_with_the_definition() {
    let text = format!("{HEAD}data_model = 'm.toml'\n[modules.A]\nimage = 'a'\nclass = 'x'\n");
    let found = |model: Option<&str>| {
        load("p.toml", &text, model)
            .unwrap_err()
            .mistakes
            .into_iter()
            .map(|mistake| mistake.message)
            .collect::<Vec<_>>()
    };
    assert_eq!(found(None)[0], "data_model: `m.toml` is not beside the pipeline file");
    let broken = "[products.X]\ncolumns.a = { type = 'complex', ndim = 0 }\ncolumns.b = 3\ncolour = 1\n[products.'a/b']\n\
                  [product.Y.columns]\n[products]\nZ = 1\n";
    let about_model: Vec<String> = found(Some(broken));
    assert_eq!(
        about_model,
        [
            "data_model: `m.toml`: 6:2: product: expected tables `[products.NAME.columns]` only",
            "data_model: `m.toml`: 4:1: product X: colour: unknown field `colour`, expected `columns`",
            "data_model: `m.toml`: 2:22: product X: columns.a: unknown variant `complex`, expected one of `float`, \
             `int`, `bool`, `string`",
            "data_model: `m.toml`: 3:13: product X: columns.b: invalid type: integer `3`, expected struct Column",
            "data_model: `m.toml`: 8:5: product Z: expected a table `[products.\"Z\".columns]`",
            "data_model: `m.toml`: 5:1: products: \"a/b\" is not a valid product name: expected 1 to 200 bytes without `/`, `@` \
             or control characters, not `.` or `..`",
            "module A: class: `x` is not in [classes]",
        ]
    );
    assert_eq!(found(Some("[products.X]\n[products\n"))[0].split(": ").nth(1), Some("`m.toml`"));
    assert_eq!(found(Some(""))[0], "module A: class: `x` is not in [classes]");
}

#[test]
fn every_mistake_has_the_place_of_what_it_is_about() {
    let text = "name = 'P'\nversion = '1'\ntrigger = 'l1/lc'\n[modules.A]\nimage = 'a'\nspeed = 3\n\
                inputs.mandatory = ['EXT',\n  'NOPE']\ninputs.optional = []\nafter = ['B', 'C']\nclass = 'big'\n\
                [modules.'B C']\nimage = 'a'\n[classes.tiny]\ncpus = 1\nmemory = '1KB'\n";
    let found = load("p.toml", text, None).unwrap_err().to_string();
    for expected in [
        "p.toml:6:1: module A: speed: unknown field",
        "p.toml:7:21: module A: inputs.mandatory: product `EXT`",
        "p.toml:8:3: module A: inputs.mandatory: product `NOPE`",
        "p.toml:10:10: module A: after: the pipeline has no module `B`",
        "p.toml:11:9: module A: class: `big` is not in [classes]",
        "p.toml:12:10: modules: \"B C\" is not a valid module name",
        "p.toml:16:1: class tiny: memory: is less than",
    ] {
        assert!(found.lines().any(|line| line.starts_with(expected)), "{expected} is not in\n{found}");
    }
    assert!(load("p.toml", "name = = 1", None).unwrap_err().to_string().starts_with("p.toml:1:8: "));
}

#[test]
fn every_line_names_the_file() {
    let error = load("dir/p.toml", "version = 1\n", None).unwrap_err().to_string();
    assert_eq!(
        error.lines().collect::<Vec<_>>(),
        [
            "dir/p.toml:1:11: version: invalid type: integer `1`, expected a string",
            "dir/p.toml: name: is missing",
            "dir/p.toml: trigger: is missing",
            "dir/p.toml: modules: the pipeline has none, expected at least one `[modules.NAME]`",
        ]
    );
}

fn check(text: &str, expected: &[&str]) {
    check_text(&format!("{HEAD}{text}"), expected);
}

fn check_text(text: &str, expected: &[&str]) {
    assert_eq!(mistakes(text), expected, "{text}");
}

fn mistakes(text: &str) -> Vec<String> {
    let mistakes = load("p.toml", text, None).map_or_else(|error| error.mistakes, |_| Vec::new());
    mistakes.into_iter().map(|mistake| mistake.message).collect()
}

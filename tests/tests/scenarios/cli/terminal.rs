//! What comes from outside is shown, and no terminal takes it for a command.

use super::*;

impl CliPlace {
    /// It must end with this code, and show this word and nothing that a terminal takes for a command.
    #[track_caller]
    fn shows(&self, line: &str, code: i32, word: &str) {
        let CliAnswer { code: found, said, printed } = self.sas(None, line);
        let all = said + &printed;
        assert_eq!(found, Some(code), "{line:?}\n{all}");
        assert!(all.contains(word), "{line:?} does not show {word}:\n{all}");
        assert!(!all.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{line:?}\n{all:?}");
    }
}

#[test]
fn text_from_outside_never_reaches_a_terminal_raw() {
    let place = CliPlace::new();
    place.write("loud.sh", r"printf 'the reason\n\033[2J\033]0;x\007\n10%%\r20%%\r30%%'; exit 3");
    let script = format!("'{}'", place.campaign.path("loud.sh").display());
    place.write("fails.toml", &PIPELINE.replace("'-c', 'PROGRAM'", &script));
    std::fs::copy(&place.file, place.campaign.path("\u{1b}[2Jx.h5")).unwrap();
    std::fs::write(place.campaign.path("\u{1b}[2J\n\u{202e}y.h5"), "no HDF5").unwrap();
    let local = "local --runner process --pipeline fails.toml --store hostile \u{1b}[2Jx.h5 \u{1b}[2J\n\u{202e}y.h5";
    let lines = [
        (local, 8, r"\u{1b}[2Jx.h5"),
        (local, 8, r"\u{1b}[2J\n\u{202e}y.h5"),
        ("star explain --store hostile STAR FAILS", 0, r"  | 30%"),
        ("star explain --store hostile STAR FAILS", 0, "  | the reason"),
        ("star show --store hostile STAR -o json", 0, r"30%"),
        ("run show \u{1b}[2J --store hostile", 2, r"\u{1b}"),
        ("run show \u{1b}[2J --store hostile -o json", 2, r"\\u{1b}"),
    ];
    for (line, code, word) in lines {
        place.shows(line, code, word);
    }
}

/// Writes an output with text that names the window, clears the screen and hides what follows, in the place that it is told.
const ESCAPES: &str = r#"import h5py, os, sys
bad = "\x1b]0;mine\x07\x1b[2J\x1b[8m"
products = h5py.File(os.environ["SAS_OUTPUT"], "w").create_group("PRODUCTS")
if sys.argv[1] == "UNDECLARED":
    products[bad + "/value"] = 1
elif sys.argv[1] == "REASON":
    products.create_group("REASON").attrs["NOT_PRODUCED"] = bad + "no oscillations\nsecond line"
elif sys.argv[1] == "COLUMN":
    products["COLUMN/value"] = bad + "text"
    products["COLUMN/" + bad] = 1
elif sys.argv[1] == "KIND":
    products["KIND/value"] = bad + "text"
elif sys.argv[1] == "UNIT":
    products["UNIT/value"] = 1.0
    products["UNIT/value"].attrs["unit"] = bad + "unit"
"#;

/// Of what a module's output says: names of products and columns, reasons, values and units.
#[test]
fn text_from_an_output_never_reaches_a_terminal_raw() {
    let place = CliPlace::new();
    place.write("escapes.py", ESCAPES);
    let program = place.campaign.path("escapes.py");
    let head = PIPELINE.split("[modules.").next().unwrap();
    let mut pipeline = format!("data_model = 'escapes-products.toml'\n{head}");
    for (name, outputs) in [
        ("UNDECLARED", "optional = ['X']"),
        ("REASON", "nullable = ['REASON']"),
        ("COLUMN", "mandatory = ['COLUMN']"),
        ("KIND", "mandatory = ['KIND']"),
        ("UNIT", "mandatory = ['UNIT']"),
    ] {
        pipeline += &format!(
            "[modules.{name}]\nimage = 'none'\ncommand = ['/usr/bin/python3', '{}', '{name}']\n\
             inputs.mandatory = ['DP1_LC_MERGED']\noutputs.{outputs}\n",
            program.display()
        );
    }
    place.write("escapes.toml", &pipeline);
    let model = "[products.COLUMN]\ncolumns.value = { type = 'string', ndim = 0 }\n\
                 [products.KIND]\ncolumns.value = { type = 'int', ndim = 0 }\n\
                 [products.UNIT]\ncolumns.value = { type = 'float', ndim = 0, unit = 'K' }\n";
    place.write("escapes-products.toml", model);
    let bad = r"\u{1b}]0;mine\u{7}\u{1b}[2J\u{1b}[8m";
    let bad_json = r"\\u{1b}]0;mine\\u{7}\\u{1b}[2J\\u{1b}[8m";
    let unit = format!("{bad}unit");
    let lines = [
        ("local --runner process --pipeline escapes.toml --store escapes FILE", 8, "KIND"),
        ("run failures --store escapes", 0, bad),
        ("run failures --store escapes -o json", 0, bad_json),
        ("task list --store escapes --state failed", 0, "output_undeclared"),
        ("star explain --store escapes STAR UNDECLARED", 0, bad),
        ("star explain --store escapes STAR REASON", 0, bad),
        ("star explain --store escapes STAR COLUMN", 0, bad),
        ("star explain --store escapes STAR KIND", 0, "KIND"),
        ("star explain --store escapes STAR UNIT", 0, unit.as_str()),
        ("star products --store escapes STAR", 0, unit.as_str()),
        ("star products --store escapes STAR", 0, bad),
        ("star show --store escapes STAR", 0, "UNDECLARED"),
        ("star show --store escapes STAR -o json", 0, bad_json),
    ];
    for (line, code, word) in lines {
        place.shows(line, code, word);
    }
}

//! Each form of a small table, as text where it is text.

use domain::product::ColumnKind;

use super::*;

fn fields() -> Vec<TableField> {
    let field = |name: &str, kind, unit: &str| TableField {
        name: name.to_owned(),
        kind,
        unit: unit.to_owned(),
        doc: format!("What {name} \"is\""),
    };
    vec![
        field("star", ColumnKind::String, ""),
        field("X.a b", ColumnKind::Float, "ppm2 / uHz"),
        field("X.radius", ColumnKind::Float, "Rsun"),
        field("X.n", ColumnKind::Int, ""),
        field("X.ok", ColumnKind::Bool, ""),
        field("X.why", ColumnKind::String, ""),
    ]
}

fn write(format: TableFormat) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = start(format, &fields(), "P 1 <of> run", &mut out).unwrap();
    let text = |text: &str| Some(Scalar::Text(text.to_owned()));
    let (float, int, bool) = (|x| Some(Scalar::Float(x)), |n| Some(Scalar::Int(n)), |yes| Some(Scalar::Bool(yes)));
    writer.row(&[text("s1"), float(0.1), float(1e-300), int(7), bool(true), None]).unwrap();
    writer
        .row(&[text("s2"), float(f64::NAN), float(f64::INFINITY), int(-1), bool(false), text("a, \"b\" & <c>")])
        .unwrap();
    writer.row(&[text("s3"), None, None, None, None, text("M skipped")]).unwrap();
    writer.finish().unwrap();
    out
}

fn lines(format: TableFormat) -> Vec<String> {
    String::from_utf8(write(format)).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn csv_says_units_in_its_heading() {
    let expected = [
        "star,X.a b [ppm2 / uHz],X.radius [Rsun],X.n,X.ok,X.why",
        "s1,0.1,1e-300,7,true,",
        r#"s2,nan,inf,-1,false,"a, ""b"" & <c>""#,
        "s3,,,,,M skipped",
    ];
    assert_eq!(lines(TableFormat::Csv), expected);
}

#[test]
fn ecsv_has_a_header_of_yaml() {
    let lines = lines(TableFormat::Ecsv);
    assert_eq!(lines[..4], ["# %ECSV 1.0", "# ---", "# delimiter: ','", "# datatype:"]);
    let column = r#"# - {name: "X.a b", unit: "ppm2 / uHz", datatype: float64, description: "What X.a b \"is\""}"#;
    assert_eq!(lines[5], column);
    assert_eq!(lines[lines.len() - 4..][..2], ["star,X.a b,X.radius,X.n,X.ok,X.why", "s1,0.1,1e-300,7,True,"]);
}

#[test]
fn votable_spells_units_as_the_vo_does() {
    let text = lines(TableFormat::Vot).join("\n");
    for part in [
        r#"<DESCRIPTION>P 1 &lt;of&gt; run</DESCRIPTION>"#,
        r#"<FIELD name="X.radius" datatype="double" unit="solRad"><DESCRIPTION>What X.radius &quot;is&quot;</DESCRIPTION></FIELD>"#,
        "<TR><TD>s2</TD><TD>NaN</TD><TD>+Inf</TD><TD>-1</TD><TD>false</TD><TD>a, &quot;b&quot; &amp; &lt;c&gt;</TD></TR>",
        "<TR><TD>s3</TD><TD/><TD/><TD/><TD/><TD>M skipped</TD></TR>",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn parquet_is_whole_and_the_end_of_a_name_says_the_form() {
    let bytes = write(TableFormat::Parquet);
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    let of = |name: &str| TableFormat::of_file(Path::new(name));
    assert_eq!(
        [of("a.ECSV"), of("a.vot"), of("a.parquet")],
        [TableFormat::Ecsv, TableFormat::Vot, TableFormat::Parquet].map(Some)
    );
    assert_eq!([of("a.fits"), of("csv")], [None, None]);
}

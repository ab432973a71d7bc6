//! How units are written: as astropy parses them, in one spelling each.
//!
//! Pure, and no algebra: a text is a unit of the list or it is not. A unit that is spelled otherwise is no mistake of a
//! pipeline, whose runs go on being read, but worth a word when its definition is checked.

/// Units that take the prefixes of [`PREFIXES`].
const WITH_PREFIX: &[&str] = &[
    "A", "C", "F", "G", "H", "Hz", "J", "Jy", "K", "N", "Ohm", "Pa", "S", "T", "V", "W", "Wb", "bar", "cd", "eV",
    "erg", "g", "lm", "lx", "m", "mol", "pc", "rad", "s", "sr", "yr",
];

/// Units as they are. `ppm` is of no standard: the Python module for scientists tells astropy what it means.
const PLAIN: &[&str] = &[
    "%", "AU", "Angstrom", "Lsun", "Msun", "Rsun", "adu", "arcmin", "arcsec", "beam", "bit", "byte", "ct", "d", "deg",
    "dex", "electron", "h", "lyr", "mag", "mas", "min", "photon", "pix", "ppm", "uas", "voxel",
];

/// In FITS these go before a unit; the prefix for 10⁻⁶ is `u`.
const PREFIXES: &[&str] =
    &["da", "Y", "Z", "E", "P", "T", "G", "M", "k", "h", "d", "c", "m", "u", "n", "p", "f", "a", "z", "y"];

/// Other spellings of the field, each with ours.
const OTHERWISE: &[(&str, &str)] = &[
    ("R⊙", "Rsun"),
    ("R_sun", "Rsun"),
    ("solRad", "Rsun"),
    ("M⊙", "Msun"),
    ("M_sun", "Msun"),
    ("solMass", "Msun"),
    ("L⊙", "Lsun"),
    ("L_sun", "Lsun"),
    ("solLum", "Lsun"),
    ("sec", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("day", "d"),
    ("days", "d"),
    ("BJD", "d"),
    ("JD", "d"),
    ("hour", "h"),
    ("year", "yr"),
    ("radian", "rad"),
    ("radians", "rad"),
    ("degree", "deg"),
    ("degrees", "deg"),
    ("au", "AU"),
    ("percent", "%"),
    ("e-", "electron"),
    ("e-/s", "electron / s"),
    ("normalized", ""),
    ("normalised", ""),
    ("none", ""),
    ("-", ""),
    ("1", ""),
    ("dex(cgs)", "dex(cm / s2)"),
    ("kms-1", "km / s"),
];

/// What is wrong with how a unit is written, and how it would be right where that is known; `None` when nothing is. The empty
/// text is a number without a unit.
pub fn oddity(unit: &str) -> Option<String> {
    if is_unit(unit) {
        return None;
    }
    let advice = match otherwise(unit) {
        Some(ours) if ours.is_empty() => "a number without a unit has \"\"".to_owned(),
        Some(ours) => format!("write {ours:?}"),
        None => "write it as astropy prints it, as in \"uHz\", \"ppm2 / uHz\", \"dex(cm / s2)\"".to_owned(),
    };
    Some(format!("unit {unit:?} is not one that astropy reads in the spelling used here: {advice}"))
}

/// Factors with blanks between them, at most one ` / `, and more than one factor below it in brackets.
fn is_unit(text: &str) -> bool {
    let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(inside) = inside("dex").or_else(|| inside("mag")) {
        return !inside.contains('(') && is_unit(inside);
    }
    match text.split_once(" / ") {
        None => text.is_empty() || is_product(text),
        Some((above, below)) => {
            let below = match below.strip_prefix('(').and_then(|below| below.strip_suffix(')')) {
                Some(list) if list.contains(' ') => is_product(list),
                Some(_) => false,
                None => is_factor(below),
            };
            below && (above == "1" || is_product(above))
        }
    }
}

fn is_product(text: &str) -> bool {
    text.split(' ').all(is_factor)
}

/// A unit with a positive power after it, as in `s2`.
fn is_factor(text: &str) -> bool {
    let name = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let power = &text[name.len()..];
    let is_named = PLAIN.contains(&name)
        || WITH_PREFIX.contains(&name)
        || PREFIXES.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(|unit| WITH_PREFIX.contains(&unit)));
    is_named && (power.is_empty() || !power.starts_with('0') && power != "1")
}

/// Our spelling of a unit that is spelled otherwise, where that is known.
fn otherwise(unit: &str) -> Option<String> {
    if let Some((_, ours)) = OTHERWISE.iter().find(|(theirs, _)| *theirs == unit) {
        return Some((*ours).to_owned());
    }
    let spaced =
        unit.replace(['µ', 'μ'], "u").replace('²', "2").replace('³', "3").replace('*', " ").replace('/', " / ");
    let ours = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    is_unit(&ours).then_some(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_data_model_spells_its_units_so() {
        let model = include_str!("../../../deploy/pipelines/products.toml");
        for file in [
            include_str!("../../../deploy/pipelines/sas-pip.toml"),
            include_str!("../../../deploy/pipelines/seismic.toml"),
            include_str!("../../../deploy/pipelines/sas-pdx.toml"),
            include_str!("../../../deploy/pipelines/sas-post.toml"),
        ] {
            let pipeline = crate::pipeline::load("shipped", file, Some(model)).unwrap();
            assert_eq!(pipeline.odd_units(), Vec::<String>::new());
        }
    }

    #[test]
    fn each_unit_has_one_spelling_and_others_are_told_it() {
        for unit in
            ["", "s", "uHz", "ppm2 / uHz", "Rsun", "Myr", "dex", "dex(cm / s2)", "electron / s", "W / (K m2)", "1 / d"]
        {
            assert_eq!(oddity(unit), None);
        }
        for (unit, ours) in [
            ("µHz", "\"uHz\""),
            ("ppm²/µHz", "\"ppm2 / uHz\""),
            ("R⊙", "\"Rsun\""),
            ("sec", "\"s\""),
            (" s", "\"s\""),
            ("km/s", "\"km / s\""),
        ] {
            let said = oddity(unit).unwrap();
            assert!(said.contains(&format!("{unit:?}")) && said.ends_with(&format!("write {ours}")), "{said}");
        }
        for unit in ["furlong", "s1", "s0", "K / s / m", "K / (s)", "dex(dex(s))"] {
            assert!(oddity(unit).is_some_and(|said| said.contains("as astropy prints it")), "{unit}");
        }
    }
}

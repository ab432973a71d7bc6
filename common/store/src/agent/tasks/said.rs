//! What a file says of itself: star, quarter, dates. Everything that is wrong with it is said with what was found.

use crate::agent::wire::Scalar;
use crate::h5::{Attributed, Dataset, Group, H5Error, Object, Type, Value};
use domain::id::{Quarter, StarId};

/// Most characters of a text that a message shows.
const SHOWN: usize = 80;

/// What a file says of its star.
pub(super) enum NamedStar {
    Nothing,
    Star(StarId, String),
    Wrong(String),
}

/// The star of a file: its root attribute `PLATO_ID`, or the integer by which PLATO's simulator names it.
pub(super) fn star_of(root: &Group) -> Result<NamedStar, H5Error> {
    if let Some(value) = root.attribute("PLATO_ID")? {
        return Ok(match value.as_text() {
            Some(text) => match text.parse() {
                Ok(star) => NamedStar::Star(star, text),
                Err(error) => NamedStar::Wrong(format!("root attribute PLATO_ID: {error}")),
            },
            None => match number_of(&value) {
                Some(number) => of_simulator(number),
                None => {
                    let found = in_words(&value);
                    NamedStar::Wrong(format!(
                        "root attribute PLATO_ID is {found}, expected PLATO_ and a UUID, or an integer"
                    ))
                }
            },
        });
    }
    let metadata = match root.subgroup("METADATA")? {
        Some(metadata) => metadata.attribute("star_id")?,
        None => None,
    };
    let mut found = NamedStar::Nothing;
    for value in [metadata, root.attribute("StarID")?].into_iter().flatten() {
        if let Some(number) = number_of(&value) {
            return Ok(of_simulator(number));
        }
        match value.as_text().and_then(|text| Some((text.parse().ok()?, text))) {
            Some((star, text)) => return Ok(NamedStar::Star(star, text)),
            None => {
                let is = in_words(&value);
                found = NamedStar::Wrong(format!(
                    "it has no root attribute PLATO_ID, and its star_id is {is}, expected an integer, or PLATO_ and a UUID"
                ));
            }
        }
    }
    Ok(found)
}

/// The number of a star, if there is one and it is whole.
fn number_of(value: &Value) -> Option<i128> {
    value.integer().filter(|_| value.shape.is_one())
}

fn of_simulator(number: i128) -> NamedStar {
    match u64::try_from(number) {
        Ok(number) => NamedStar::Star(StarId::of_simulator(number), number.to_string()),
        Err(_) => NamedStar::Wrong(format!("its star is the negative number {number}")),
    }
}

/// The quarter of a file: its root attribute `QUARTER_NUMBER`, if it has one.
pub(super) fn quarter_of(root: &Group) -> Result<Result<Option<Quarter>, String>, H5Error> {
    let Some(value) = root.attribute("QUARTER_NUMBER")? else { return Ok(Ok(None)) };
    let number = match value.first(2).as_slice() {
        [Scalar::Int(number)] => u32::try_from(*number).ok(),
        [Scalar::Float(number)] if number.fract() == 0.0 && (0.0..1000.0).contains(number) => Some(*number as u32),
        _ => None,
    };
    Ok(match number.map(Quarter::try_from) {
        Some(Ok(quarter)) => Ok(Some(quarter)),
        Some(Err(error)) => Err(format!("root attribute QUARTER_NUMBER: {error}")),
        None => Err(format!("root attribute QUARTER_NUMBER is {}, expected a number from 0 to 999", in_words(&value))),
    })
}

/// What an attribute holds, as a message has it: type, value, and how many there are where it is not one.
fn in_words(value: &Value) -> String {
    let word = value.dtype.word();
    match value.first(2).as_slice() {
        [] => format!("{word} without a value"),
        [Scalar::Text(text)] => format!("the text {:?}", text.chars().take(SHOWN).collect::<String>()),
        [one] => format!("{word} {one}"),
        several => format!("{word} of shape {:?}, beginning with {}", value.shape.dims(), several[0]),
    }
}

/// Start and end of the observations in days, as root attributes say; `Err` within: what they say is no date.
pub(super) fn dates(root: &Group) -> Result<Result<Option<[f64; 2]>, String>, H5Error> {
    let mut dates = Vec::new();
    for name in ["OBS_START_DATE", "OBS_END_DATE"] {
        let Some(value) = root.attribute(name)? else { continue };
        match value.first(1).first().and_then(Scalar::as_f64) {
            Some(date) if date.is_finite() => dates.push(date),
            Some(_) => {
                let found = in_words(&value);
                return Ok(Err(format!("root attribute {name} is {found}, expected a finite number of days")));
            }
            None => {}
        }
    }
    Ok(Ok(dates.try_into().ok()))
}

/// Start and end of the observations in days: root attributes, else the first and last time stamp of a light curve.
pub(super) fn observed(root: &Group) -> Result<Option<[f64; 2]>, H5Error> {
    if let Ok(Some(dates)) = dates(root)? {
        return Ok(Some(dates));
    }
    let Some(externals) = root.subgroup("EXTERNALS")? else { return Ok(None) };
    let Some(curve) = externals.subgroup("DP1_LC_MERGED")? else { return Ok(None) };
    if !curve.has("time")? {
        return Ok(None);
    }
    let Object::Dataset(time) = curve.open("time")? else { return Ok(None) };
    range(&time)
}

/// Smallest and largest finite value of a dataset of floats, read block by block: a light curve may be large.
fn range(of: &Dataset) -> Result<Option<[f64; 2]>, H5Error> {
    let Type::Float { size, .. } = of.dtype()? else { return Ok(None) };
    let mut range: Option<[f64; 2]> = None;
    of.canonical(&mut |block| {
        for bytes in block.chunks_exact(size) {
            let value = match bytes {
                [a, b, c, d] => f64::from(f32::from_le_bytes([*a, *b, *c, *d])),
                [a, b, c, d, e, f, g, h] => f64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
                _ => continue,
            };
            if value.is_finite() {
                let [start, end] = range.unwrap_or([value, value]);
                range = Some([start.min(value), end.max(value)]);
            }
        }
        Ok(())
    })?;
    Ok(range)
}

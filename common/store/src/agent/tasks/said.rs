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

/// A star as a file names it.
struct WrittenStar {
    star: StarId,
    /// Where.
    place: &'static str,
    /// As what.
    text: String,
}

/// The star of a file: its root attribute `PLATO_ID`, or the integer by which PLATO's simulator names it. Where it has several of
/// these, all name the same star; what stands beside `PLATO_ID` and names no star is passed over, for it may be of another
/// catalogue.
pub(super) fn star_of(root: &Group) -> Result<NamedStar, H5Error> {
    let mut named: Vec<WrittenStar> = Vec::new();
    if let Some(value) = root.attribute("PLATO_ID")? {
        match star_in("root attribute PLATO_ID", &value) {
            Ok(star) => named.push(star),
            Err(what) => return Ok(NamedStar::Wrong(what)),
        }
    }
    let others = match of_simulator(root) {
        // What cannot be read names no other star.
        Err(_) if !named.is_empty() => Vec::new(),
        others => others?,
    };
    let mut wrong = None;
    for (place, value) in others {
        match star_in(place, &value) {
            Ok(star) => named.push(star),
            // A number is meant for a star.
            Err(what) if named.is_empty() && number_of(&value).is_some() => return Ok(NamedStar::Wrong(what)),
            Err(what) => wrong = Some(what),
        }
    }
    let different = named.iter().find(|other| other.star != named[0].star);
    if let Some(other) = different {
        let [one, other] = [&named[0], other].map(WrittenStar::in_words);
        return Ok(NamedStar::Wrong(format!("{one}, and {other}: expected the same star")));
    }
    Ok(match (named.into_iter().next(), wrong) {
        (Some(WrittenStar { star, text, .. }), _) => NamedStar::Star(star, text),
        (None, Some(what)) => NamedStar::Wrong(format!("it has no root attribute PLATO_ID, and its {what}")),
        (None, None) => NamedStar::Nothing,
    })
}

/// The attributes by which PLATO's simulator names a star, as far as they are there.
fn of_simulator(root: &Group) -> Result<Vec<(&'static str, Value)>, H5Error> {
    let metadata = match root.subgroup("METADATA")? {
        Some(metadata) => metadata.attribute("star_id")?,
        None => None,
    };
    let places = [("attribute METADATA.star_id", metadata), ("root attribute StarID", root.attribute("StarID")?)];
    Ok(places.into_iter().filter_map(|(place, value)| Some((place, value?))).collect())
}

/// The star that this value names, or why it names none.
fn star_in(place: &'static str, value: &Value) -> Result<WrittenStar, String> {
    if let Some(number) = number_of(value) {
        let Ok(number) = u64::try_from(number) else {
            return Err(format!("{place} is the negative number {number}, expected PLATO_ and a UUID, or one from 0"));
        };
        return Ok(WrittenStar { star: StarId::of_simulator(number), place, text: number.to_string() });
    }
    match value.as_text().and_then(|text| Some((text.parse().ok()?, text))) {
        Some((star, text)) => Ok(WrittenStar { star, place, text }),
        None => Err(format!("{place} is {}, expected PLATO_ and a UUID, or an integer", in_words(value))),
    }
}

impl WrittenStar {
    fn in_words(&self) -> String {
        let Self { star, place, text } = self;
        match text.starts_with("PLATO_") {
            true => format!("{place} names {star}"),
            false => format!("{place} names {text}, which is {star}"),
        }
    }
}

/// The number of a star, if there is one and it is whole.
fn number_of(value: &Value) -> Option<i128> {
    value.integer().filter(|_| value.shape.is_one())
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
        [Scalar::Text(text)] => {
            let shown: String = text.chars().take(SHOWN).collect();
            let more = if shown.len() < text.len() { "…" } else { "" };
            format!("the text {shown:?}{more}")
        }
        [one] => format!("{word} {one}"),
        several => format!("{word} of shape {:?}, beginning with {}", value.shape.dims(), several[0]),
    }
}

/// Start and end of the observations in days, as root attributes say; `Err` within: what they say is no date.
pub(super) fn dates(root: &Group) -> Result<Result<Option<[f64; 2]>, String>, H5Error> {
    let mut dates = Vec::new();
    for name in ["OBS_START_DATE", "OBS_END_DATE"] {
        let Some(value) = root.attribute(name)? else { continue };
        match value.first(2).as_slice() {
            [one] if one.as_f64().is_none_or(f64::is_finite) => dates.extend(one.as_f64()),
            [] => {}
            _ => {
                let found = in_words(&value);
                return Ok(Err(format!("root attribute {name} is {found}, expected a finite number of days")));
            }
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

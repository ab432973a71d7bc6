//! Stars of the quarter after that read what a replay makes again. A plan does not count them, for what they would read is not made
//! yet; it says how many there are.
//!
//! Blocks on the disk.

use std::collections::BTreeMap;

use domain::id::{PipelineName, Quarter, StarId};
use store::{Store, StoreError};

/// For each quarter after one that runs again, how many of these stars, sorted, were in a whole run of the pipeline there.
pub(super) fn later(
    store: &Store,
    name: &PipelineName,
    stars: &BTreeMap<Quarter, Vec<StarId>>,
) -> Result<BTreeMap<Quarter, u64>, StoreError> {
    let mut marked: BTreeMap<Quarter, Vec<bool>> = BTreeMap::new();
    for record in store.runs()? {
        let again = record.quarter.previous().and_then(|before| stars.get(&before));
        let is_whole = record.pipeline == *name && record.only_group.is_none();
        let Some(again) = again.filter(|_| is_whole) else { continue };
        let marks = marked.entry(record.quarter).or_insert_with(|| vec![false; again.len()]);
        for star in store.stars(record.run)?.iter() {
            if let Ok(place) = again.binary_search(&star?) {
                marks[place] = true;
            }
        }
    }
    let count = |marks: Vec<bool>| marks.into_iter().filter(|is_there| *is_there).count() as u64;
    let counted = marked.into_iter().map(|(quarter, marks)| (quarter, count(marks)));
    Ok(counted.filter(|(_, stars)| *stars > 0).collect())
}

/// What a plan says of them.
pub(super) fn note(quarter: Quarter, stars: u64) -> String {
    let (stars, read) = if stars == 1 { ("1 star".to_owned(), "reads") } else { (format!("{stars} stars"), "read") };
    format!("{stars} of {quarter} {read} what this makes again of the quarter before: plan again after this")
}

//! Lists of stars, which anyone may lay into the store, of any bytes: each is read or refused, in bounded words. `make fuzz` runs
//! more of them (`PROPTEST_CASES`).

use domain::id::StarId;
use proptest::prelude::*;
use store::star_lists::read;

/// Most bytes of what is said of a list, however long it is.
const WORDY: usize = 64 << 10;

/// A line that may stand in a list.
fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0_u64..50).prop_map(|star| StarId::of_simulator(star).to_string().into_bytes()),
        1 => "#\\PC{0,40}".prop_map(String::into_bytes),
        1 => "[ \t\r]{0,5}".prop_map(String::into_bytes),
    ]
}

/// The stars of a list; what is wrong with it is said in few words.
fn stars(list: &[u8]) -> Result<Option<Vec<StarId>>, TestCaseError> {
    match read(list).map_err(|error| TestCaseError::fail(error.to_string()))? {
        Ok(stars) => Ok(Some(stars)),
        Err(bad) => {
            prop_assert!(bad.to_string().len() < WORDY);
            Ok(None)
        }
    }
}

proptest! {
    #[test]
    fn good_lines_are_a_list_in_order_and_each_star_is_in_it_once(lines in proptest::collection::vec(line(), 0..60)) {
        let list = lines.join(&b'\n');
        let named = lines.iter().filter_map(|line| std::str::from_utf8(line).ok()?.trim().parse::<StarId>().ok());
        let named: std::collections::BTreeSet<StarId> = named.collect();
        let expected = (!named.is_empty()).then(|| named.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(stars(&list)?, expected);
    }

    #[test]
    fn a_list_with_bytes_changed_is_read_or_refused_in_few_words(
        lines in proptest::collection::vec(line(), 1..60),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut list = lines.join(&b'\n');
        for (at, byte) in changes.iter().filter(|_| !lines.iter().all(Vec::is_empty)) {
            let at = at.index(list.len());
            list[at] = *byte;
        }
        stars(&list)?;
    }

    #[test]
    fn whatever_bytes_come_as_a_list_are_read_or_refused_in_few_words(list in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        prop_assert_eq!(stars(&list)?, None);
    }
}

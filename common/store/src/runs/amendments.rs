//! Images of modules that operators changed in the middle of a run. Pure.

use std::collections::BTreeMap;

use super::decisions::{Amendment, Decided, Decision};
use domain::id::ModuleName;

/// What operators amended, and how far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Amendments {
    /// Number of the newest decision that amends; 0 when none does.
    pub number: u64,
    /// The image of each amended module.
    pub images: BTreeMap<ModuleName, Amendment>,
}

impl Amendments {
    /// Sums decisions up; the last word on a module counts.
    pub fn of(decisions: &[(u64, Decision)]) -> Self {
        let mut all = Self::default();
        for (number, decision) in decisions {
            if let Decided::Amend { images } = &decision.what {
                all.number = all.number.max(*number);
                all.images.extend(images.clone());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn amend(images: &[(&str, &str)]) -> Decided {
        let amendment = |image: &str| Amendment {
            image: image.parse().unwrap(),
            identity: format!("sha256:{image}").parse().unwrap(),
            was: "old".parse().unwrap(),
            was_identity: None,
        };
        Decided::Amend {
            images: images.iter().map(|(module, image)| (module.parse().unwrap(), amendment(image))).collect(),
        }
    }

    #[test]
    fn the_last_word_on_each_module_counts() {
        let decided = [amend(&[("A", "a1"), ("B", "b1")]), Decided::Pause, amend(&[("A", "a2")]), Decided::Resume];
        let decision = |what: Decided| Decision { at: Timestamp::UNIX_EPOCH, by: "test".to_owned(), what };
        let decisions: Vec<(u64, Decision)> = (1..).zip(decided.map(decision)).collect();
        let all = Amendments::of(&decisions);
        assert_eq!(all.number, 3);
        let images: Vec<&str> = all.images.values().map(|amendment| amendment.image.as_str()).collect();
        assert_eq!(images, ["a2", "b1"]);
        assert_eq!(Amendments::of(&decisions[1..2]), Amendments::default());
    }
}

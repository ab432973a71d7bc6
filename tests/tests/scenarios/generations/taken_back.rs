//! A whole run that is taken back.

use super::*;

#[test]
fn a_run_is_taken_back_to_what_star_files_showed_before_it() {
    let place = Reruns::new();
    place.run("1", "200", 0);
    place.run("2", "-1", 8);
    place.run("3", "150", 0);
    place.check(3, 150.0, (3, "complete"));
    let audit = || place.sas(&["audit"])["lines"].as_array().unwrap().len();
    let back = |run: &str, more: &[&str]| {
        let done = place.sas(&[&["run", "rollback", run], more].concat());
        (["stars", "back", "elsewhere", "left"].map(|field| done[field].as_u64().unwrap()), done)
    };
    let lines = audit();
    assert_eq!(back("newest", &["--dry-run"]).0, [1, 1, 0, 0]);
    place.check(3, 150.0, (3, "complete"));
    assert_eq!(audit(), lines, "nothing was done");
    let (counts, done) = back("newest", &["--why", "a bad model"]);
    assert_eq!((counts, done["audit"].is_u64()), ([1, 1, 0, 0], true));
    place.check(1, 200.0, (3, "complete"));
    assert_eq!(audit(), lines + 1);
    assert_eq!(back("newest", &[]).0, [1, 0, 1, 0], "it is so already");

    let runs = place.sas(&["run", "list"]);
    let of = |at: usize| runs[at]["run"].as_str().unwrap();
    assert_eq!(back(of(1), &[]).0, [1, 0, 1, 0], "nobody ever saw what the failed one left");
    let (counts, done) = back(of(2), &[]);
    assert_eq!((counts, &done["first_left"][0]["star"]), ([1, 0, 0, 1], &json!(place.star)));
    place.check(1, 200.0, (3, "complete"));
    // A later complete run ends it.
    place.run("4", "170", 0);
    place.check(4, 170.0, (4, "complete"));
    assert_eq!(back("newest", &[]).0, [1, 1, 0, 0]);
    place.check(1, 200.0, (4, "complete"));
}

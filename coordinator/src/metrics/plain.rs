//! The older text format of Prometheus (0.0.4) from that of OpenMetrics. Pure.
//!
//! They differ in three things here: the older one names counters with their `_total`, and knows neither units nor an end.

use std::collections::BTreeSet;

pub(super) fn of(text: &str) -> String {
    let counters: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut plain = String::with_capacity(text.len());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => continue,
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                plain.push_str(&format!("# {what} {name}_total {rest}"));
            }
            _ => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_have_their_whole_name_and_there_is_no_end() {
        let open = "# HELP a Some.\n# TYPE a counter\na_total 3\n# HELP b Others.\n# TYPE b gauge\n# UNIT b seconds\n\
                    b{x=\"# EOF\"} 1\n# EOF\n";
        let plain = "# HELP a_total Some.\n# TYPE a_total counter\na_total 3\n# HELP b Others.\n# TYPE b gauge\n\
                     b{x=\"# EOF\"} 1\n";
        assert_eq!(super::of(open), plain);
    }
}

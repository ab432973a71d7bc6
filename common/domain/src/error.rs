//! How errors are told.

/// An error with its causes on one line; one that says the same as its cause is said once.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    let mut lines: Vec<String> = causes.collect();
    lines.dedup();
    lines.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Outer {
        said: &'static str,
        source: Option<Box<Outer>>,
    }

    #[test]
    fn causes_follow_and_none_is_said_twice() {
        let link = |said, source: Option<Outer>| Outer { said, source: source.map(Box::new) };
        let error = link("failed to read `x`", Some(link("failed to read `x`", Some(link("no such file", None)))));
        assert_eq!(chain(&error), "failed to read `x`: no such file");
    }
}

//! Text from outside, as people are shown it; and what they may have meant. Pure.

use std::borrow::Cow;
use std::fmt::Write;

use jiff::Timestamp;

/// Text on one line that a terminal takes for text and nothing else: control characters, line ends and marks that change the
/// direction of writing are escaped, as in `\u{1b}[2J`. Letters of all scripts stay.
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, |c| match c {
        '\n' => Some("\\n".to_owned()),
        '\r' => Some("\\r".to_owned()),
        '\t' => Some("\\t".to_owned()),
        c => is_dangerous(c).then(|| format!("\\u{{{:x}}}", u32::from(c))),
    })
}

/// The same for text of several lines: `\n` stays, as does the tab.
pub fn shown_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| match c {
        '\n' | '\t' => None,
        '\r' => Some("\\r".to_owned()),
        c => is_dangerous(c).then(|| format!("\\u{{{:x}}}", u32::from(c))),
    })
}

/// JSON that a terminal takes for text: what the text holds of dangerous characters, which can only be in its strings, becomes
/// escapes of JSON. Its value stays the same.
pub fn shown_json(json: &str) -> Cow<'_, str> {
    escaped(json, |c| {
        let is_layout = matches!(c, '\n' | '\r' | '\t');
        (!is_layout && is_dangerous(c)).then(|| {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            units.iter().map(|unit| format!("\\u{unit:04x}")).collect()
        })
    })
}

/// A moment as all programs write it: UTC, ISO 8601, whole seconds.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%FT%TZ").to_string()
}

/// The name among those known that somebody may have meant, if one is near.
pub fn nearest<'a>(meant: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = meant.to_lowercase();
    let near = known.into_iter().map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name));
    let best = near.max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(likeness, _)| *likeness >= LIKE).map(|(_, name)| name)
}

/// The end of a message about a name that is not known: `; did you mean X?`, or nothing where none is near.
pub fn did_you_mean<'a>(meant: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(meant, known).map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// How alike two names must be, from 0 to 1.
const LIKE: f64 = 0.8;

fn escaped(text: &str, escape: impl Fn(char) -> Option<String>) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut kept = 0;
    for (at, c) in text.char_indices() {
        if let Some(escape) = escape(c) {
            _ = write!(shown, "{}{escape}", &text[kept..at]);
            kept = at + c.len_utf8();
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    shown.push_str(&text[kept..]);
    Cow::Owned(shown)
}

/// Control characters of ASCII and of C1; line and paragraph ends; what changes the direction of writing; what cannot be seen
/// and lets two names look the same.
pub fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_turns_the_writing_is_escaped_and_letters_stay() {
        for (text, expected) in [
            ("ν_max = 3090 µHz, Čeněk, 星", "ν_max = 3090 µHz, Čeněk, 星"),
            ("\u{1b}[2Jx.h5", "\\u{1b}[2Jx.h5"),
            ("\u{9b}31m\u{7}\u{7f}", "\\u{9b}31m\\u{7}\\u{7f}"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("txt.\u{202e}5h", "txt.\\u{202e}5h"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown_lines("one\n\ttwo\r\n\u{1b}]0;x\u{7}"), "one\n\ttwo\\r\n\\u{1b}]0;x\\u{7}");
    }

    #[test]
    fn json_keeps_its_value() {
        let text = "\u{1b}[2J \u{9b} \u{7f} \u{202e} \u{e0041} ν\n";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let safe = shown_json(&json);
        assert!(!safe.chars().any(|c| c != '\n' && is_dangerous(c)), "{safe}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&safe).unwrap(), [text]);
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let known = ["MSAP3_03_1", "MSAP4_01", "heavy"];
        assert_eq!(did_you_mean("msap3_031", known), "; did you mean MSAP3_03_1?");
        assert_eq!(did_you_mean("haevy", known), "; did you mean heavy?");
        assert_eq!(did_you_mean("xyz", known), "");
    }

    #[test]
    fn a_moment_says_its_zone() {
        assert_eq!(moment(Timestamp::from_second(0).unwrap()), "1970-01-01T00:00:00Z");
    }
}

//! What pages are put together from: bars, badges, numbers that lead somewhere, moments, commands, tables.
//!
//! Text from outside passes [`text`], so that control characters are seen and not followed.

use domain::id::{RunId, StarId};
use domain::text::{moment, shown, shown_lines};
use jiff::Timestamp;
use maud::{Markup, html};

use super::commands::page_of;
use super::states::{self, StateTally};
use crate::operate::selection::ShownState;
use crate::operate::status::Level;

/// Text from outside, on one line.
pub(super) fn text(said: &str) -> Markup {
    html! { (shown(said)) }
}

/// Text of several lines from outside, as a log.
pub(super) fn log(said: &str) -> Markup {
    html! { @if !said.is_empty() { pre.log tabindex="0" { (shown_lines(said)) } } }
}

/// Words of ours in which what stands between backticks is a command; where a page does the same, it leads there.
pub(super) fn words(said: &str) -> Markup {
    html! {
        @for (at, part) in shown(said).split('`').enumerate() {
            @if at % 2 == 0 { (part) } @else {
                @match page_of(part) { Some(href) => a href=(href) { code { (part) } }, None => code { (part) } }
            }
        }
    }
}

/// A number with its thousands apart, so that large ones can be read.
pub(super) fn digits(count: u64) -> String {
    let plain = count.to_string();
    let mut apart = String::with_capacity(plain.len() * 2);
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at).is_multiple_of(3) {
            apart.push('\u{2009}');
        }
        apart.push(digit);
    }
    apart
}

/// A number that leads to what it counts; nothing leads to nothing.
pub(super) fn number(count: u64, href: &str) -> Markup {
    html! { @if count == 0 { span.nothing { "0" } } @else { a.number href=(href) { (digits(count)) } } }
}

/// How many there are in all of what a page lists; what led there says the same number.
pub(super) fn total(count: u64) -> Markup {
    html! { strong.total { (digits(count)) } }
}

/// A number that leads nowhere.
pub(super) fn plain(count: u64) -> Markup {
    html! { @if count == 0 { span.nothing { "0" } } @else { (digits(count)) } }
}

/// The share of a whole in percent, as people write it.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let share = part as f64 * 100.0 / whole as f64;
    match part {
        0 => "0 %".to_owned(),
        _ if share < 0.1 => "< 0.1 %".to_owned(),
        part if part < whole && share > 99.9 => "> 99.9 %".to_owned(),
        _ if share < 10.0 && share.fract() != 0.0 => format!("{share:.1} %"),
        _ => format!("{share:.0} %"),
    }
}

/// Seconds in words of two units.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..10 if seconds < 9.95 => format!("{:.1} s", seconds.max(0.0)),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..86400 => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86400, whole / 3600 % 24),
    }
}

/// A moment, and how long ago it was.
pub(super) fn time(at: Timestamp) -> Markup {
    let full = moment(at);
    let age = Timestamp::now().duration_since(at).as_secs_f64();
    html! {
        time datetime=(full) title=(full) {
            @if age >= 0.0 { (duration(age)) " ago" } @else { "in " (duration(-age)) }
        }
    }
}

/// A moment that may not be known.
pub(super) fn time_or(at: Option<Timestamp>, otherwise: &str) -> Markup {
    html! { @match at { Some(at) => (time(at)), None => span.nothing { (otherwise) } } }
}

/// A light: a sign and a word, in a colour.
pub(super) fn light(level: Level) -> Markup {
    let (sign, word) = match level {
        Level::Well => ("●", "well"),
        Level::Attention => ("▲", "attention"),
        Level::Bad => ("■", "bad"),
    };
    html! { span.light.(format!("l-{level}")) { span aria-hidden="true" { (sign) } span.word { (word) } } }
}

/// The state of a task: its letter in its colour, and its word.
pub(super) fn badge(state: ShownState) -> Markup {
    html! {
        span.badge title=(states::meaning(state)) {
            span.letter.(states::class(state)) aria-hidden="true" { (states::letter(state)) }
            (states::word(state))
        }
    }
}

/// A bar of states: the width of each is its share.
pub(super) fn bar(tally: &StateTally) -> Markup {
    let parts = shares(tally);
    html! {
        svg.bar role="img" aria-label=(said(tally)) preserveAspectRatio="none" {
            @for Share { state, from, width } in &parts {
                rect.(states::class(*state)) x=(format!("{from:.3}%")) width=(format!("{width:.3}%")) height="100%" {
                    title { (states::word(*state)) ": " (digits(tally[state])) }
                }
                @if is_hatched(*state) {
                    rect fill="url(#hatch)" x=(format!("{from:.3}%")) width=(format!("{width:.3}%")) height="100%" {}
                }
            }
        }
    }
}

/// What a bar shows, in words.
pub(super) fn said(tally: &StateTally) -> String {
    let counts = states::ORDER.iter().filter_map(|state| Some((state, tally.get(state).filter(|n| **n > 0)?)));
    let words: Vec<String> = counts.map(|(state, count)| format!("{count} {}", states::word(*state))).collect();
    if words.is_empty() { "nothing yet".to_owned() } else { words.join(", ") }
}

/// What went wrong has a pattern besides its colour.
pub(super) fn is_hatched(state: ShownState) -> bool {
    matches!(state, ShownState::Failed | ShownState::Errored | ShownState::UpstreamFailed)
}

/// A part of a bar, in percent.
pub(super) struct Share {
    pub(super) state: ShownState,
    pub(super) from: f64,
    pub(super) width: f64,
}

/// The parts of a bar, in their order; they add up to the whole.
pub(super) fn shares(tally: &StateTally) -> Vec<Share> {
    let all: u64 = tally.values().sum();
    let (mut parts, mut before) = (Vec::new(), 0);
    for state in states::ORDER {
        let Some(count) = tally.get(&state).copied().filter(|count| *count > 0) else { continue };
        let share = |count: u64| count as f64 * 100.0 / all as f64;
        parts.push(Share { state, from: share(before), width: share(count) });
        before += count;
    }
    parts
}

/// How far something is, as a bar with its words.
pub(super) fn progress(done: f64, all: f64) -> Markup {
    let share = if all > 0.0 { (done / all * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    html! { progress max="100" value=(format!("{share:.1}")) { (format!("{share:.0} %")) } }
}

/// A command to copy.
pub(super) fn command(line: &str) -> Markup {
    html! {
        span.command { code { (shown(line)) } button.copy type="button" data-copy=(shown(line)) hidden aria-label="copy the command" { "copy" } }
    }
}

/// That something was done, with its line in the audit.
pub(super) fn done(words: Markup, audit: Option<u64>) -> Markup {
    html! {
        p.done role="status" {
            (words) @if let Some(line) = audit { " It is " a href=(format!("/audit?before={}", line.saturating_add(1))) { "line " (line) " of the audit" } "." }
        }
    }
}

/// What stands where nothing is.
pub(super) fn empty(words: Markup) -> Markup {
    html! { p.empty { (words) } }
}

/// A table that scrolls inside its frame; `label` says what it lists.
pub(super) fn table(label: &str, heads: Markup, rows: Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table.many[heads.0.matches("<th").count() > 4] { thead { tr { (heads) } } tbody { (rows) } }
        }
    }
}

/// A run by the first digits of its id.
pub(super) fn run_link(run: RunId) -> Markup {
    html! { a.id href=(format!("/runs/{run}")) title=(run) { (short(run)) } }
}

/// As much of a run's id as people need.
pub(super) fn short(run: RunId) -> String {
    run.to_string().chars().take(8).collect()
}

/// A star; in a run where one is meant.
pub(super) fn star_link(star: StarId, run: Option<RunId>) -> Markup {
    let href = match run {
        Some(run) => format!("/stars/{star}?run={run}"),
        None => format!("/stars/{star}"),
    };
    html! { a.id href=(href) { (star) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_bar_add_up_to_the_whole() {
        let tally: StateTally =
            states::ORDER.iter().zip([3, 1, 0, 7, 1, 1, 299_983, 1, 1, 1, 0, 1]).map(|(s, n)| (*s, n)).collect();
        let parts = shares(&tally);
        assert_eq!(parts.len(), 10);
        for pair in parts.windows(2) {
            assert!((pair[0].from + pair[0].width - pair[1].from).abs() < 1e-9);
        }
        let last = parts.last().unwrap();
        assert!((last.from + last.width - 100.0).abs() < 1e-9 && parts[0].from == 0.0);
        assert!(shares(&StateTally::new()).is_empty());
    }

    #[test]
    fn numbers_shares_and_durations_are_written_for_people() {
        assert_eq!([digits(7), digits(1000), digits(10_200_000)], ["7", "1\u{2009}000", "10\u{2009}200\u{2009}000"]);
        for (part, whole, expected) in [
            (0, 0, "–"),
            (0, 5, "0 %"),
            (1, 300_000, "< 0.1 %"),
            (299_999, 300_000, "> 99.9 %"),
            (1, 3, "33 %"),
            (5, 5, "100 %"),
        ] {
            assert_eq!(percent(part, whole), expected);
        }
        for (seconds, expected) in
            [(0.24, "0.2 s"), (59.9, "1 min 00 s"), (61.0, "1 min 01 s"), (7260.0, "2 h 01 min"), (9e4, "1 d 1 h")]
        {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn what_comes_from_outside_is_text() {
        let hostile = "<script>alert(1)</script>\u{1b}[2J`x`";
        for shown in [text(hostile), words(hostile), log(hostile), command(hostile)].map(Markup::into_string) {
            assert!(!shown.contains("<script>") && !shown.contains('\u{1b}'), "{shown}");
        }
    }
}

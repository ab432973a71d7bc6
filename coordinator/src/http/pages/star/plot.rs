//! Curves as SVG. Pure: nothing is asked here, and nothing is scripted.

use std::fmt::Write as _;

use domain::text::shown;
use maud::{Markup, html};
use store::agent::{Curve, CurvePart};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// A drawing of one curve.
pub(super) struct Plot<'a> {
    pub(super) curve: &'a Curve,
    /// What it shows, in words: for who cannot see it.
    pub(super) label: String,
    /// What the axes are.
    pub(super) along: String,
    pub(super) values: String,
    /// The axis has logarithms to the base of ten, as its ticks are to say; so are values to be drawn.
    pub(super) is_logarithmic: bool,
    /// Lines across, each with its words, and whether it is one of many that are alike.
    pub(super) marks: Vec<Mark>,
}

/// A line across a drawing.
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) words: String,
    pub(super) is_faint: bool,
}

/// From numbers to pixels.
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    fn at(&self, number: f64) -> f64 {
        self.start + (number - self.from) / (self.to - self.from) * (self.end - self.start)
    }

    fn has(&self, number: f64) -> bool {
        number >= self.from && number <= self.to
    }
}

impl Plot<'_> {
    /// The drawing; nothing where the curve has no points.
    pub(super) fn svg(&self) -> Markup {
        let parts: Vec<CurvePart> = self.curve.parts.iter().filter_map(|part| self.value_of(part)).collect();
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return html! {} };
        let across = Scale { from: first.at, to: wider(first.at, last.at), start: LEFT, end: WIDTH - RIGHT };
        let (least, most) = parts.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), part| {
            (least.min(part.least), most.max(part.most))
        });
        let air = (most - least) * 0.04;
        let up = Scale { from: least - air, to: wider(least - air, most + air), start: HEIGHT - BOTTOM, end: TOP };
        html! {
            svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.label) {
                (self.axes(&across, &up))
                path.envelope d=(envelope(&parts, &across, &up)) {}
                path.curve d=(line(&parts, &across, &up)) {}
                (self.marks(&across))
            }
        }
    }

    /// A part as it is drawn; values that have no logarithm are left out.
    fn value_of(&self, part: &CurvePart) -> Option<CurvePart> {
        if !self.is_logarithmic {
            return Some(*part);
        }
        let mean = (part.mean > 0.0).then(|| part.mean.log10())?;
        let least = if part.least > 0.0 { part.least.log10() } else { mean };
        // A spectrum's lowest values are noise of the logarithm: they would take most of the height.
        Some(CurvePart { at: part.at, least: least.max(mean - 1.0), mean, most: part.most.log10().max(mean) })
    }

    fn axes(&self, across: &Scale, up: &Scale) -> Markup {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let (below, beside) = (ticks(across, self.is_logarithmic, 8), ticks(up, self.is_logarithmic, 5));
        html! {
            @for (at, words) in &below {
                @let x = across.at(*at);
                line.grid x1=(pixel(x)) x2=(pixel(x)) y1=(TOP) y2=(bottom) {}
                text x=(pixel(x)) y=(bottom + 15.0) text-anchor="middle" { (words) }
            }
            @for (at, words) in &beside {
                @let y = up.at(*at);
                line.grid x1=(LEFT) x2=(right) y1=(pixel(y)) y2=(pixel(y)) {}
                text x=(LEFT - 6.0) y=(pixel(y + 4.0)) text-anchor="end" { (words) }
            }
            rect.frame x=(LEFT) y=(TOP) width=(right - LEFT) height=(bottom - TOP) {}
            text.axis x=(pixel((LEFT + right) / 2.0)) y=(HEIGHT - 6.0) text-anchor="middle" { (shown(&self.along)) }
            text.axis transform=(format!("translate(13 {}) rotate(-90)", pixel((TOP + bottom) / 2.0))) text-anchor="middle" { (shown(&self.values)) }
        }
    }

    fn marks(&self, across: &Scale) -> Markup {
        html! {
            @for mark in self.marks.iter().filter(|mark| across.has(mark.at)) {
                @let x = pixel(across.at(mark.at));
                line.mark.faint[mark.is_faint] x1=(x) x2=(x) y1=(TOP) y2=(HEIGHT - BOTTOM) { title { (mark.words) } }
                @if !mark.is_faint {
                    @let is_right = across.at(mark.at) > WIDTH * 0.7;
                    text.marked x=(pixel(across.at(mark.at) + if is_right { -5.0 } else { 5.0 })) y=(TOP + 13.0) text-anchor=(if is_right { "end" } else { "start" }) { (mark.words) }
                }
            }
        }
    }
}

/// An end that is not the beginning.
fn wider(from: f64, to: f64) -> f64 {
    if to > from { to } else { from + from.abs().max(1.0) * 1e-6 }
}

/// The means, joined.
fn line(parts: &[CurvePart], across: &Scale, up: &Scale) -> String {
    let gap = 4.0 * (across.to - across.from) / parts.len().max(1) as f64;
    let (mut path, mut before) = (String::new(), f64::NEG_INFINITY);
    for part in parts {
        // What was not observed is not drawn over.
        let verb = if part.at - before > gap { 'M' } else { 'L' };
        _ = write!(path, "{verb}{} {}", pixel(across.at(part.at)), pixel(up.at(part.mean)));
        before = part.at;
    }
    path
}

/// From the smallest to the largest value of each part.
fn envelope(parts: &[CurvePart], across: &Scale, up: &Scale) -> String {
    let mut path = String::new();
    for part in parts.iter().filter(|part| part.most > part.least) {
        _ = write!(path, "M{} {}V{}", pixel(across.at(part.at)), pixel(up.at(part.least)), pixel(up.at(part.most)));
    }
    path
}

fn pixel(number: f64) -> String {
    format!("{number:.1}")
}

/// Round numbers on an axis, about so many, each in words.
fn ticks(scale: &Scale, is_logarithmic: bool, about: u32) -> Vec<(f64, String)> {
    let width = scale.to - scale.from;
    if is_logarithmic && width >= 1.0 {
        let step = (width / f64::from(about)).ceil().max(1.0);
        let mut at = (scale.from / step).ceil() * step;
        let mut ticks = Vec::new();
        while at <= scale.to {
            ticks.push((at, decade(at as i32)));
            at += step;
        }
        return ticks;
    }
    let rough = width / f64::from(about);
    let unit = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * unit).find(|step| *step >= rough).unwrap_or(unit);
    let digits = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let first = (scale.from / step).ceil() as i64;
    let all = (first..).map(|at| at as f64 * step).take_while(|at| *at <= scale.to).take(40);
    all.map(|at| (at, format!("{:.digits$}", at + 0.0))).collect()
}

/// A power of ten in words.
fn decade(power: i32) -> String {
    match power {
        0..=4 => 10_i32.pow(power.unsigned_abs()).to_string(),
        -3..=-1 => format!("{:.*}", power.unsigned_abs() as usize, 10_f64.powi(power)),
        _ => format!("1e{power}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(from: f64, to: f64, is_logarithmic: bool) -> Vec<String> {
        let scale = Scale { from, to, start: 0.0, end: 1.0 };
        ticks(&scale, is_logarithmic, 5).into_iter().map(|(_, words)| words).collect()
    }

    #[test]
    fn axes_have_a_few_round_numbers() {
        assert_eq!(texts(0.0, 90.0, false), ["0", "20", "40", "60", "80"]);
        assert_eq!(texts(0.9981, 1.0013, false), ["0.999", "1.000", "1.001"]);
        assert_eq!(texts(-0.1, 0.1, false), ["-0.10", "-0.05", "0.00", "0.05", "0.10"]);
        assert_eq!(texts(-1.2, 4.1, true), ["0", "2", "4"].map(|power| decade(power.parse().unwrap())));
        assert_eq!([decade(-2), decade(3), decade(7)], ["0.01", "1000", "1e7"]);
    }

    #[test]
    fn whatever_the_numbers_are_there_is_a_drawing_or_nothing() {
        let part = |at: f64, mean: f64| CurvePart { at, least: mean, mean, most: mean };
        for parts in
            [vec![], vec![part(1.0, 2.0)], vec![part(0.0, 0.0); 3], vec![part(-1e300, 1e300), part(1e300, -1e300)]]
        {
            let curve = Curve { points: 3, along_unit: "<d>".to_owned(), unit: String::new(), parts };
            for is_logarithmic in [false, true] {
                let plot = Plot {
                    curve: &curve,
                    label: "x".to_owned(),
                    along: "time [<d>]".to_owned(),
                    values: "flux".to_owned(),
                    is_logarithmic,
                    marks: vec![Mark { at: 1.0, words: "here".to_owned(), is_faint: false }],
                };
                let svg = plot.svg().into_string();
                assert!(svg.is_empty() || svg.starts_with("<svg") && !svg.contains("<d>"), "{svg}");
            }
        }
    }
}

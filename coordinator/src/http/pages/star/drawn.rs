//! The drawings of a star: light curve, power spectrum, oscillations, transit.

use maud::{Markup, html};

use super::plot::{Mark, Plot};
use crate::http::pages::parts::{digits, text};
use crate::operate::star::{DrawnCurve, Measured, StarCurves};

/// Orders beside the frequency of maximum power that the comb shows.
const TEETH: i32 = 8;

/// Everything that can be drawn.
pub(super) fn plots(star: &StarCurves) -> Markup {
    let drawn = [star.light.as_ref().map(light), spectrum(star), oscillations(star), transit(star)];
    html! {
        h2 #plots { "Plots" }
        @if drawn.iter().all(Option::is_none) { p.empty { "It has neither a light curve nor a power spectrum that could be drawn." } }
        div.plots { @for figure in drawn.into_iter().flatten() { (figure) } }
    }
}

fn figure(title: &str, drawn: &DrawnCurve, plot: &Plot<'_>) -> Markup {
    html! {
        figure {
            figcaption { b { (title) } " · " (text(drawn.product.as_str())) ", " (digits(drawn.curve.points)) " points; line: means, shade: from the smallest to the largest value" }
            (plot.svg())
        }
    }
}

/// What an axis is, with its unit.
fn axis(what: &str, unit: &str) -> String {
    match unit {
        "" => what.to_owned(),
        unit => format!("{what} [{}]", unit.replace("uHz", "µHz").replace("ppm2", "ppm²")),
    }
}

/// A number with its uncertainty and unit.
fn said(name: &str, measured: &Measured) -> String {
    let error = measured.error.map(|error| format!(" ± {error:.1}")).unwrap_or_default();
    format!("{name} {:.1}{error} {}", measured.value, measured.unit.replace("uHz", "µHz"))
}

fn light(drawn: &DrawnCurve) -> Markup {
    let plot = Plot {
        curve: &drawn.curve,
        label: "Light curve".to_owned(),
        along: axis("time", &drawn.curve.along_unit),
        values: axis("flux", &drawn.curve.unit),
        is_logarithmic: false,
        marks: Vec::new(),
    };
    figure("Light curve", drawn, &plot)
}

fn spectrum(star: &StarCurves) -> Option<Markup> {
    let drawn = star.spectrum.as_ref()?;
    let mark = |numax: &Measured| Mark { at: numax.value.log10(), words: said("ν_max", numax), is_faint: false };
    let plot = Plot {
        curve: &drawn.curve,
        label: format!(
            "Power spectrum{}",
            star.numax.as_ref().map(|numax| format!(" with {}", said("ν_max", numax))).unwrap_or_default()
        ),
        along: axis("frequency", &drawn.curve.along_unit),
        values: axis("power", &drawn.curve.unit),
        is_logarithmic: true,
        marks: star.numax.iter().map(mark).collect(),
    };
    Some(figure("Power spectrum", drawn, &plot))
}

/// The spectrum around ν_max, with a comb of the large separation.
fn oscillations(star: &StarCurves) -> Option<Markup> {
    let (drawn, numax, separation) = (star.oscillations.as_ref()?, star.numax.as_ref()?, star.separation.as_ref()?);
    let tooth = |order: i32| Mark {
        at: numax.value + f64::from(order) * separation.value,
        words: if order == 0 {
            format!("{}, comb of {}", said("ν_max", numax), said("Δν", separation))
        } else {
            format!("ν_max {order:+} Δν")
        },
        is_faint: order != 0,
    };
    let plot = Plot {
        curve: &drawn.curve,
        label: format!("Power around {}, with a comb of {}", said("ν_max", numax), said("Δν", separation)),
        along: axis("frequency", &drawn.curve.along_unit),
        values: axis("power", &drawn.curve.unit),
        is_logarithmic: false,
        marks: (-TEETH..=TEETH).map(tooth).collect(),
    };
    Some(figure("Oscillations", drawn, &plot))
}

fn transit(star: &StarCurves) -> Option<Markup> {
    let (period, drawn) = star.transit.as_ref()?;
    let plot = Plot {
        curve: &drawn.curve,
        label: format!("Light curve folded with a period of {period:.4} days"),
        along: format!("phase around the transit, of a period of {period:.4} days"),
        values: axis("flux", &drawn.curve.unit),
        is_logarithmic: false,
        marks: vec![Mark { at: 0.0, words: "mid-transit".to_owned(), is_faint: true }],
    };
    Some(figure("Transit", drawn, &plot))
}

//! Two columns of numbers thinned out for drawing: for each part of the axis the smallest, the largest and the mean value.

use super::read::each_column;
use super::{AgentResult, refuse};
use crate::agent::wire::*;
use crate::h5::{Dataset, H5Error, Shape, Type};

/// Elements of the longest columns that are drawn: seven years of a value every 25 seconds are nine million.
const LONGEST: u64 = 10_000_000;

/// Most parts of an axis.
const MOST_PARTS: u32 = 4000;

/// What a column says, or that there is no such column of numbers.
struct CurveColumn {
    values: Vec<f32>,
    first: f64,
    unit: String,
}

/// Two columns thinned out; `None` where the product has no such columns, or they do not belong together.
pub(super) fn curve(ask: &AskCurve) -> AgentResult<Option<Curve>> {
    let (mut along, mut values, mut too_long) = (None, None, false);
    each_column(&ask.product, &mut |name, dataset| {
        let place = match name {
            _ if name == ask.along => &mut along,
            _ if name == ask.values => &mut values,
            _ => return Ok(()),
        };
        too_long |= dataset.shape()?.elements().is_none_or(|elements| elements > LONGEST);
        if !too_long {
            *place = column(dataset)?;
        }
        Ok(())
    })?;
    if too_long {
        let reason = format!("{} has more than {LONGEST} values: too many to be drawn", ask.product.path);
        return Err(refuse(RefusalKind::Conflict, reason));
    }
    let (Some(along), Some(values)) = (along, values) else { return Ok(None) };
    if along.values.len() != values.values.len() {
        return Ok(None);
    }
    Ok(thin_out(ask, &along, &values))
}

/// Numbers of a list; steps from its first one, so that times in days of a long mission keep their seconds.
fn column(dataset: &Dataset) -> Result<Option<CurveColumn>, H5Error> {
    let (Type::Float { size, .. }, Shape::Array(dims)) = (dataset.dtype()?, dataset.shape()?) else { return Ok(None) };
    if dims.len() != 1 {
        return Ok(None);
    }
    let (mut values, mut first) = (Vec::new(), None);
    dataset.canonical(&mut |block| {
        let numbers = block.chunks_exact(size).filter_map(|bytes| match bytes {
            [a, b, c, d] => Some(f64::from(f32::from_le_bytes([*a, *b, *c, *d]))),
            [a, b, c, d, e, f, g, h] => Some(f64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
            _ => None,
        });
        for number in numbers {
            if first.is_none() && number.is_finite() {
                first = Some(number);
            }
            values.push((number - first.unwrap_or(0.0)) as f32);
        }
        Ok(())
    })?;
    let unit = crate::h5::Attributed::text_attribute(dataset, "unit")?.unwrap_or_default();
    Ok(Some(CurveColumn { values, first: first.unwrap_or(0.0), unit }))
}

/// The axis in parts of one width, and what is in each.
fn thin_out(ask: &AskCurve, along: &CurveColumn, values: &CurveColumn) -> Option<Curve> {
    let on_axis = |step: f32| {
        let at = along.first + f64::from(step);
        let at = match ask.axis {
            CurveAxis::Plain => at,
            CurveAxis::Logarithmic => at.log10(),
            CurveAxis::Folded { period, epoch } => {
                let phase = ((at - epoch) / period).rem_euclid(1.0);
                if phase >= 0.5 { phase - 1.0 } else { phase }
            }
        };
        at.is_finite().then_some(at)
    };
    let is_within = |at: f64| ask.within.is_none_or(|[from, to]| (from..=to).contains(&at));
    let points = || {
        let both = along.values.iter().zip(&values.values);
        both.filter_map(|(step, value)| {
            let (at, value) = (on_axis(*step)?, values.first + f64::from(*value));
            (value.is_finite() && is_within(at)).then_some((at, value))
        })
    };
    let [from, to] = points().fold(None, |range: Option<[f64; 2]>, (at, _)| {
        let [from, to] = range.unwrap_or([at, at]);
        Some([from.min(at), to.max(at)])
    })?;
    let parts = ask.parts.clamp(1, MOST_PARTS) as usize;
    let scale = if to > from { parts as f64 / (to - from) } else { 0.0 };
    let mut sums = vec![(0_u64, 0.0, f64::INFINITY, f64::NEG_INFINITY); parts];
    for (at, value) in points() {
        let (count, sum, least, most) = &mut sums[(((at - from) * scale) as usize).min(parts - 1)];
        (*count, *sum, *least, *most) = (*count + 1, *sum + value, least.min(value), most.max(value));
    }
    let width = (to - from) / parts as f64;
    let part = |(at, (count, sum, least, most)): (usize, &(u64, f64, f64, f64))| CurvePart {
        at: from + (at as f64 + 0.5) * width,
        least: *least,
        mean: sum / *count as f64,
        most: *most,
    };
    Some(Curve {
        points: sums.iter().map(|(count, ..)| count).sum(),
        along_unit: along.unit.clone(),
        unit: values.unit.clone(),
        parts: sums.iter().enumerate().filter(|(_, (count, ..))| *count > 0).map(part).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(axis: CurveAxis, parts: u32) -> AskCurve {
        let product = At { file: "x".into(), path: "/PRODUCTS/X".to_owned() };
        AskCurve { product, along: "time".to_owned(), values: "flux".to_owned(), axis, parts, within: None }
    }

    fn column(values: &[f64]) -> CurveColumn {
        let first = values[0];
        CurveColumn { values: values.iter().map(|value| (value - first) as f32).collect(), first, unit: "d".to_owned() }
    }

    fn thin(ask: &AskCurve, along: &[f64], values: &[f64]) -> Vec<[f64; 4]> {
        let curve = thin_out(ask, &column(along), &column(values)).unwrap();
        assert!(curve.parts.len() <= ask.parts as usize);
        curve.parts.iter().map(|part| [part.at, part.least, part.mean, part.most]).collect()
    }

    #[test]
    fn no_peak_is_lost_however_few_parts_there_are() {
        let time: Vec<f64> = (0..10_000).map(|at| 2_460_000.0 + f64::from(at) * 25.0 / 86_400.0).collect();
        let flux: Vec<f64> = (0..10_000).map(|at| if at == 4321 { -3.0 } else { 1.0 }).collect();
        let parts = thin(&ask(CurveAxis::Plain, 100), &time, &flux);
        assert_eq!(parts.len(), 100);
        let deepest = parts.iter().find(|part| part[1] < 0.0).unwrap();
        assert!((deepest[0] - time[4321]).abs() < (time[9999] - time[0]) / 100.0, "{deepest:?}");
        assert!((deepest[1] + 3.0).abs() < 1e-6 && (deepest[2] - 0.96).abs() < 1e-6 && (deepest[3] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_number_is_left_out_and_one_point_is_a_curve() {
        assert_eq!(
            thin(&ask(CurveAxis::Plain, 4), &[1.0, f64::NAN, 3.0], &[5.0, 6.0, f64::NAN]),
            [[1.0, 5.0, 5.0, 5.0]]
        );
        assert!(thin_out(&ask(CurveAxis::Plain, 4), &column(&[1.0]), &column(&[f64::NAN])).is_none());
        let power = thin(&ask(CurveAxis::Logarithmic, 2), &[0.0, 1.0, 10.0, 100.0], &[9.0, 1.0, 2.0, 3.0]);
        assert_eq!(power.iter().map(|part| part[2]).collect::<Vec<_>>(), [1.0, 2.5], "zero has no logarithm");
    }

    #[test]
    fn a_folded_curve_has_the_epoch_in_its_middle() {
        let time: Vec<f64> = (0..1000).map(|at| f64::from(at) * 0.1).collect();
        let flux: Vec<f64> =
            time.iter().map(|at| if ((at - 3.0) / 7.0).rem_euclid(1.0) < 0.05 { 0.9 } else { 1.0 }).collect();
        let folded = AskCurve { within: Some([-0.2, 0.2]), ..ask(CurveAxis::Folded { period: 7.0, epoch: 3.0 }, 40) };
        let parts = thin(&folded, &time, &flux);
        let (first, last) = (parts[0], parts[parts.len() - 1]);
        assert!(first[0] >= -0.2 && last[0] <= 0.2);
        for [at, _, mean, _] in parts {
            assert!(
                (mean < 0.95) == (0.0..0.045).contains(&at) || (0.04..0.055).contains(&at) || at.abs() < 0.01,
                "{at} {mean}"
            );
        }
    }
}

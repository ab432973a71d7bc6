//! What of a star is drawn: its light curve, its power spectrum with what was measured in it, its folded transits.
//!
//! Every curve is thinned out by a store agent: what comes here is as long as a drawing is wide, however long the
//! observations were.

use std::collections::BTreeMap;
use std::path::PathBuf;

use domain::id::{Generation, ProductName, Quarter, StarId};
use schemars::JsonSchema;
use serde::Serialize;
use store::agent::{Agent, AskCurve, At, ColumnFacts, Curve, CurveAxis, Manifest, Scalar};
use store::paths;

use super::{FoundQuarter, OneGeneration};
use crate::operate::{Context, OperateError};

/// In how many parts the axis of a drawing is divided.
const PARTS: u32 = 900;

/// Where light curves are, the best first; and those in which transits still are.
const LIGHT_CURVES: [&str; 2] = ["IDP_SAS_VARLC", "DP1_LC_MERGED"];
const WITH_TRANSITS: [&str; 1] = ["DP1_LC_MERGED"];

/// Where power spectra are, the best first.
const SPECTRA: [&str; 2] = ["IDP_SAS_AARPSD", "IDP_SAS_VARPSD"];

/// How many large separations beside ν_max are drawn.
const ORDERS: f64 = 8.0;

/// What of a star is drawn.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StarCurves {
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// The generation.
    pub generation: Generation,
    /// The frequency of maximum power.
    pub numax: Option<Measured>,
    /// The large separation.
    pub separation: Option<Measured>,
    /// Brightness by time.
    pub light: Option<DrawnCurve>,
    /// Power by the logarithm of the frequency.
    pub spectrum: Option<DrawnCurve>,
    /// Power around the frequency of maximum power.
    pub oscillations: Option<DrawnCurve>,
    /// Brightness by phase around the transit, of the period in days.
    pub transit: Option<(f64, DrawnCurve)>,
}

/// A number that a module measured.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Measured {
    /// The number.
    pub value: f64,
    /// Its uncertainty.
    pub error: Option<f64>,
    /// Their unit.
    pub unit: String,
}

/// A curve, and the product that it is from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DrawnCurve {
    /// The product.
    pub product: ProductName,
    /// The curve.
    #[serde(flatten)]
    pub curve: Curve,
}

/// What of a generation is drawn; what is not there, or is no numbers, is left out.
pub async fn curves(context: &Context, asked: OneGeneration) -> Result<StarCurves, OperateError> {
    let found = FoundQuarter::find(context, asked.place()).await?;
    let mut agent = context.readers.lend().await?;
    let (generation, manifest) = found.read(context, &mut agent, asked.generation).await?;
    let file = context.store.at(paths::generation(found.star, found.quarter, generation));
    let mut opened = OpenGeneration { agent: &mut agent, manifest, file };
    let numax = opened.measured("DP3_SAS_NU_MAX").await?;
    let separation = opened.measured("DP3_SAS_DELTA_NU_AV").await?;
    let flux = Columns { along: "time", values: "flux" };
    let power = Columns { along: "frequency", values: "power" };
    let around = numax.as_ref().zip(separation.as_ref()).map(|(numax, separation)| {
        let half = ORDERS * separation.value;
        [(numax.value - half).max(0.0), numax.value + half]
    });
    Ok(StarCurves {
        star: found.star,
        quarter: found.quarter,
        generation,
        light: opened.first(&LIGHT_CURVES, &flux, CurveAxis::Plain, None).await?,
        // From 1 µHz on: below lies what filters left over.
        spectrum: opened.first(&SPECTRA, &power, CurveAxis::Logarithmic, Some([0.0, f64::MAX])).await?,
        oscillations: match around {
            Some(around) => opened.first(&SPECTRA, &power, CurveAxis::Plain, Some(around)).await?,
            None => None,
        },
        transit: opened.transit(&flux).await?,
        numax,
        separation,
    })
}

/// Names of the columns that are drawn.
struct Columns {
    along: &'static str,
    values: &'static str,
}

/// A generation under the eyes of an agent.
struct OpenGeneration<'a> {
    agent: &'a mut Agent,
    manifest: Manifest,
    file: PathBuf,
}

impl OpenGeneration<'_> {
    /// Where a product is, if it is there and has values.
    fn at(&self, name: &str) -> Option<(ProductName, At)> {
        let product: ProductName = name.parse().ok()?;
        let below = |group: &str| At { file: self.file.clone(), path: format!("/{group}/{name}") };
        let has_values = |entries: &BTreeMap<ProductName, store::agent::ProductEntry>| {
            entries.get(&product).is_some_and(|entry| entry.not_produced.is_none())
        };
        match (has_values(&self.manifest.products), has_values(&self.manifest.externals)) {
            (true, _) => Some((product, below("PRODUCTS"))),
            (false, true) => Some((product, below("EXTERNALS"))),
            (false, false) => None,
        }
    }

    async fn columns(&mut self, name: &str) -> Result<BTreeMap<String, ColumnFacts>, OperateError> {
        let Some((_, at)) = self.at(name) else { return Ok(BTreeMap::new()) };
        Ok(self.agent.columns(vec![at]).await?.pop().unwrap_or_default())
    }

    async fn measured(&mut self, name: &str) -> Result<Option<Measured>, OperateError> {
        let columns = self.columns(name).await?;
        let number = |column: &str| number(columns.get(column)?);
        Ok(number("value").filter(|value| *value > 0.0).map(|value| Measured {
            value,
            error: number("error").filter(|error| *error >= 0.0),
            unit: columns.get("value").and_then(|facts| facts.unit.clone()).unwrap_or_default(),
        }))
    }

    /// The curve of the first of these products that has it.
    async fn first(
        &mut self,
        products: &[&str],
        columns: &Columns,
        axis: CurveAxis,
        within: Option<[f64; 2]>,
    ) -> Result<Option<DrawnCurve>, OperateError> {
        for name in products {
            let Some((name, product)) = self.at(name) else { continue };
            let Columns { along, values } = columns;
            let ask = AskCurve {
                product,
                along: (*along).to_owned(),
                values: (*values).to_owned(),
                axis,
                parts: PARTS,
                within,
            };
            if let Some(curve) = self.agent.curve(ask).await? {
                return Ok(Some(DrawnCurve { product: name, curve }));
            }
        }
        Ok(None)
    }

    /// The light curve folded with the period of the planet that was found, around its transit.
    async fn transit(&mut self, columns: &Columns) -> Result<Option<(f64, DrawnCurve)>, OperateError> {
        let kit = self.columns("IDP_EAS_TRANSIT_REMOVAL_KIT").await?;
        let number = |column: &str| number(kit.get(column)?);
        let (Some(period), Some(epoch)) = (number("TCE/Period").filter(|period| *period > 0.0), number("Eclipse/t1"))
        else {
            return Ok(None);
        };
        let half = match (number("Eclipse/t0"), number("Eclipse/t2")) {
            (Some(begin), Some(end)) if end > begin => (2.5 * (end - begin) / period).min(0.5),
            _ => 0.1,
        };
        let axis = CurveAxis::Folded { period, epoch };
        let curve = self.first(&WITH_TRANSITS, columns, axis, Some([-half, half])).await?;
        Ok(curve.map(|curve| (period, curve)))
    }
}

/// The number in a column, or the first of several.
fn number(facts: &ColumnFacts) -> Option<f64> {
    let scalar: Option<&Scalar> = facts.value.as_ref().or_else(|| facts.first.first());
    scalar?.as_f64().filter(|number| number.is_finite())
}

//! The value of a condition over the products that are there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cel::common::ast::{CallExpr, Expr, operators};
use cel::{Context, ExecutionError, Value};

use super::compile::READ;
use super::{Expression, Flags, Read, Scalar, Term, Tree, What};
use crate::id::ProductName;
use crate::product::{ColumnKind, Source};

/// Most combinations of types that a term is tried on.
const MOST_EXAMPLES: usize = 4096;

/// What is known of a product.
#[derive(Debug, Clone, Copy)]
pub enum Known<'a> {
    /// It was not made, or not delivered.
    Absent,
    /// It was lost to a failure.
    Lost,
    /// It is there, with these scalar columns.
    Made(&'a BTreeMap<String, Scalar>),
}

/// Why a condition has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A product that decides it was lost to a failure.
    #[error("{0} was lost to a failure")]
    Lost(ProductName),
    /// It cannot be evaluated on what is there.
    #[error("{0}")]
    Broken(String),
}

impl Expression {
    /// Its value; `known` says what is known of a source.
    pub fn evaluate<'a>(&self, known: &dyn Fn(&Source) -> Known<'a>) -> Result<bool, EvaluationError> {
        self.value(&self.tree, known)
    }

    /// As [`Self::evaluate`]; where it has no value for want of a scalar, what there is in its place is said, as `others` has it in
    /// words for the columns of a source.
    pub fn evaluate_or_say<'a>(
        &self,
        known: &dyn Fn(&Source) -> Known<'a>,
        others: &dyn Fn(&Source) -> Option<&'a BTreeMap<String, String>>,
    ) -> Result<bool, EvaluationError> {
        self.evaluate(known).map_err(|error| match error {
            EvaluationError::Broken(what) => EvaluationError::Broken(what + &self.said_of(others)),
            lost @ EvaluationError::Lost(_) => lost,
        })
    }

    /// What there is in the place of scalars that it reads, as the end of a message.
    fn said_of<'a>(&self, others: &dyn Fn(&Source) -> Option<&'a BTreeMap<String, String>>) -> String {
        let sources: BTreeSet<&Source> = self.reads.iter().map(|read| &read.source).collect();
        let known = sources.into_iter().filter_map(|source| Some((source, others(source)?)));
        let words = known.filter(|(_, others)| !others.is_empty()).map(|(source, others)| {
            let others: Vec<String> = others.iter().map(|(column, words)| format!("`{column}` ({words})")).collect();
            format!("; {source} has {}", others.join(", "))
        });
        words.collect()
    }

    /// Its reads with their values, `None` for products that are not there: what of the products it depends on.
    pub fn values<'a>(&self, known: &dyn Fn(&Source) -> Known<'a>) -> Vec<(Read, Option<Scalar>)> {
        let value = |(at, read): (usize, &Read)| match known(&read.source) {
            Known::Made(columns) => self.scalar(at, columns).ok(),
            Known::Absent | Known::Lost => None,
        };
        self.reads.iter().enumerate().map(|(at, read)| (read.clone(), value((at, read)))).collect()
    }

    fn value<'a>(&self, tree: &Tree, known: &dyn Fn(&Source) -> Known<'a>) -> Result<bool, EvaluationError> {
        match tree {
            Tree::And(a, b) => both(self.value(a, known), self.value(b, known), false),
            Tree::Or(a, b) => both(self.value(a, known), self.value(b, known), true),
            Tree::Not(a) => self.value(a, known).map(|value| !value),
            Tree::Term(term) => self.term(term, known),
        }
    }

    fn term<'a>(&self, term: &Term, known: &dyn Fn(&Source) -> Known<'a>) -> Result<bool, EvaluationError> {
        let reads = || term.reads.iter().map(|&at| (at, known(&self.reads[at].source)));
        if let Some((at, _)) = reads().find(|(_, known)| matches!(known, Known::Lost)) {
            return Err(EvaluationError::Lost(self.reads[at].source.product.clone()));
        }
        let mut products = Vec::new();
        for (at, known) in reads() {
            match known {
                Known::Made(columns) => products.push((at, columns)),
                Known::Absent | Known::Lost => return Ok(false),
            }
        }
        let mut values = Vec::new();
        for (at, columns) in products {
            values.push((at, self.scalar(at, columns)?));
        }
        self.decide(term, values)
    }

    /// What a read sees in a product that is there.
    fn scalar(&self, at: usize, columns: &BTreeMap<String, Scalar>) -> Result<Scalar, EvaluationError> {
        let read = &self.reads[at];
        let product = &read.source.product;
        match &read.what {
            What::Made => Ok(Scalar::Bool(true)),
            What::Valid => Ok(Scalar::Bool(is_valid(columns.get("value")))),
            What::Any(known) => Ok(Scalar::Bool(flags(product, known, columns)?.contains(&true))),
            What::All(known) => Ok(Scalar::Bool(!flags(product, known, columns)?.contains(&false))),
            What::Column(column) => {
                let value = columns
                    .get(column)
                    .ok_or_else(|| EvaluationError::Broken(format!("{product} has no scalar column `{column}`")))?;
                typed(value, self.kinds[at]).ok_or_else(|| {
                    let kind = self.kinds[at].map_or_else(String::new, |kind| kind.to_string());
                    EvaluationError::Broken(format!("{read} is {value}, which is no {kind} as the data model says"))
                })
            }
        }
    }

    /// The value of a term without reads; `None` when it has none.
    pub(super) fn constant(&self, term: &Term) -> Option<bool> {
        self.decide(term, Vec::new()).ok()
    }

    /// Evaluates a term on examples of the types that its reads have; `Err` when none of them gives a boolean. A type that
    /// is not known may be any. A term that reads nothing has its value here.
    pub(super) fn try_types(&self, term: &Term) -> Result<(), String> {
        let examples: Vec<Vec<Scalar>> = term.reads.iter().map(|&at| examples(self.kinds[at])).collect();
        let all = examples.iter().map(Vec::len).product::<usize>();
        let mut first = None;
        for number in 0..all.min(MOST_EXAMPLES) {
            let mut rest = number;
            let choose = |(&at, of): (&usize, &Vec<Scalar>)| {
                let chosen = of[rest % of.len()].clone();
                rest /= of.len();
                (at, chosen)
            };
            let values = term.reads.iter().zip(&examples).map(choose).collect();
            match self.run(term, values) {
                Ok(value) if self.truth(term, &value).is_some() => return Ok(()),
                Ok(value) => first = first.or(Some(not_boolean(&value))),
                Err(error @ ExecutionError::UndeclaredReference(_)) => return Err(error.to_string()),
                Err(error) if !term.reads.is_empty() && depends_on_value(&error) => return Ok(()),
                Err(error) => first = first.or(Some(error.to_string())),
            }
        }
        first.filter(|_| all <= MOST_EXAMPLES).map_or(Ok(()), Err)
    }

    fn decide(&self, term: &Term, values: Vec<(usize, Scalar)>) -> Result<bool, EvaluationError> {
        match self.run(term, values) {
            Ok(value) => self.truth(term, &value).ok_or_else(|| EvaluationError::Broken(not_boolean(&value))),
            Err(error) => Err(EvaluationError::Broken(error.to_string())),
        }
    }

    fn run(&self, term: &Term, values: Vec<(usize, Scalar)>) -> Result<Value, ExecutionError> {
        let mut context = Context::default();
        let params = self.params.iter().map(|(name, value)| (name.clone(), param(value)));
        context.add_variable_from_value("params", params.collect::<HashMap<String, Value>>());
        for (at, value) in values {
            context.add_variable_from_value(format!("{READ}{at}"), cel_value(value));
        }
        equals_alike(&term.syntax.expr, &context)?;
        let result = Value::resolve(&term.syntax, &context);
        match &result {
            // `cel` refuses to order NaN; it is neither less nor greater than anything.
            Err(ExecutionError::NoSuchOverload(_)) if orders_nan(&term.syntax.expr, &context) => Ok(Value::Bool(false)),
            Ok(_) | Err(_) => result,
        }
    }

    /// A term's value as a boolean, if it is one.
    fn truth(&self, term: &Term, value: &Value) -> Option<bool> {
        if let Value::Bool(value) = value {
            return Some(*value);
        }
        // A flag of a product that the data model does not know, written as an 8-bit integer.
        let (Expr::Ident(_), [at]) = (&term.syntax.expr, term.reads.as_slice()) else { return None };
        let Value::Int(number @ (0 | 1)) = value else { return None };
        self.kinds[*at].is_none().then_some(*number == 1)
    }
}

/// A value of each type that a column of this kind may have.
fn examples(kind: Option<ColumnKind>) -> Vec<Scalar> {
    match kind {
        Some(ColumnKind::Bool) => vec![Scalar::Bool(true)],
        Some(ColumnKind::Int) => vec![Scalar::Int(1)],
        Some(ColumnKind::Float) => vec![Scalar::Float(1.0)],
        Some(ColumnKind::String) => vec![Scalar::Text("1".to_owned())],
        None => vec![Scalar::Bool(true), Scalar::Int(1), Scalar::Float(1.0), Scalar::Text("1".to_owned())],
    }
}

/// Whether other values of the same types may do.
fn depends_on_value(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_)
            | ExecutionError::Overflow(..)
            | ExecutionError::FunctionError { .. }
            | ExecutionError::IndexOutOfBounds(_)
            | ExecutionError::NoSuchKey(_)
    )
}

/// `&&` (absorbed by false) or `||` (absorbed by true): an error of one side does not matter where the other decides; of
/// two errors a loss is the one that is told.
fn both(
    a: Result<bool, EvaluationError>,
    b: Result<bool, EvaluationError>,
    absorbing: bool,
) -> Result<bool, EvaluationError> {
    if a == Ok(absorbing) || b == Ok(absorbing) {
        return Ok(absorbing);
    }
    match (a, b) {
        (Err(EvaluationError::Broken(_)), Err(lost @ EvaluationError::Lost(_))) => Err(lost),
        (a, b) => a.and(b),
    }
}

/// `Err` where a term asks whether values are equal that never can be: to `cel` a flag that is stored as 1 and `true` are
/// just different, and the module would be skipped for every star.
fn equals_alike(expr: &Expr, context: &Context<'_, '_>) -> Result<(), ExecutionError> {
    let Expr::Call(CallExpr { func_name, target: None, args }) = expr else { return Ok(()) };
    let [a, b] = args.as_slice() else { return Ok(()) };
    let sign = match func_name.as_str() {
        operators::EQUALS => "==",
        operators::NOT_EQUALS => "!=",
        operators::IN => "in",
        _ => return Ok(()),
    };
    let (a, b) = (Value::resolve(a, context)?, Value::resolve(b, context)?);
    let alike = match (sign, &b) {
        ("in", Value::List(values)) => values.is_empty() || values.iter().any(|value| are_alike(&a, value)),
        // Whether the right side may hold anything at all `cel` knows.
        ("in", _) => true,
        _ => are_alike(&a, &b),
    };
    if alike { Ok(()) } else { Err(ExecutionError::UnsupportedBinaryOperator(sign, a, b)) }
}

/// Whether two values may be equal by their types.
fn are_alike(a: &Value, b: &Value) -> bool {
    let is_number = |value: &Value| matches!(value, Value::Int(_) | Value::UInt(_) | Value::Float(_));
    std::mem::discriminant(a) == std::mem::discriminant(b) || is_number(a) && is_number(b)
}

fn orders_nan(expr: &Expr, context: &Context<'_, '_>) -> bool {
    const ORDERS: [&str; 4] = [operators::LESS, operators::LESS_EQUALS, operators::GREATER, operators::GREATER_EQUALS];
    let Expr::Call(CallExpr { func_name, target: None, args }) = expr else { return false };
    let number = |side| match Value::resolve(side, context) {
        Ok(Value::Float(number)) => Some(number),
        Ok(Value::Int(_) | Value::UInt(_)) => Some(0.0),
        _ => None,
    };
    let sides: Vec<Option<f64>> = args.iter().map(number).collect();
    ORDERS.contains(&func_name.as_str())
        && sides.iter().all(Option::is_some)
        && sides.into_iter().flatten().any(f64::is_nan)
}

fn not_boolean(value: &Value) -> String {
    format!("gives {value:?}, expected a boolean")
}

/// A column's value as the kind that the data model says, where nothing is lost by it.
fn typed(value: &Scalar, kind: Option<ColumnKind>) -> Option<Scalar> {
    #[expect(clippy::cast_precision_loss, reason = "the same conversion as CEL's own")]
    match (kind, value) {
        (None, _)
        | (Some(ColumnKind::Bool), Scalar::Bool(_))
        | (Some(ColumnKind::Int), Scalar::Int(_))
        | (Some(ColumnKind::Float), Scalar::Float(_))
        | (Some(ColumnKind::String), Scalar::Text(_)) => Some(value.clone()),
        (Some(ColumnKind::Bool), Scalar::Int(number @ (0 | 1))) => Some(Scalar::Bool(*number == 1)),
        (Some(ColumnKind::Float), Scalar::Int(number)) => Some(Scalar::Float(*number as f64)),
        (Some(_), _) => None,
    }
}

fn is_valid(value: Option<&Scalar>) -> bool {
    match value {
        Some(Scalar::Float(number)) => number.is_finite() && *number != -1.0,
        Some(Scalar::Int(number)) => *number != -1,
        Some(Scalar::Bool(_) | Scalar::Text(_)) | None => false,
    }
}

fn flags(
    product: &ProductName,
    known: &Flags,
    columns: &BTreeMap<String, Scalar>,
) -> Result<Vec<bool>, EvaluationError> {
    let mut flags = Vec::new();
    for (name, value) in columns {
        let is_known = known.as_ref().map(|known| known.contains(name));
        match (is_known, value) {
            (Some(false), _) => {}
            (_, Scalar::Bool(flag)) => flags.push(*flag),
            // The model says boolean, and some write them as 8-bit integers.
            (Some(true), Scalar::Int(number @ (0 | 1))) => flags.push(*number == 1),
            (Some(true), _) => {
                return Err(EvaluationError::Broken(format!("{product}.{name} is {value}, which is no bool")));
            }
            (None, Scalar::Int(_) | Scalar::Float(_) | Scalar::Text(_)) => {}
        }
    }
    if flags.is_empty() {
        return Err(EvaluationError::Broken(format!("{product} has no boolean columns")));
    }
    Ok(flags)
}

fn cel_value(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Int(value) => Value::Int(value),
        Scalar::Float(value) => Value::Float(value),
        Scalar::Text(value) => Value::from(value),
    }
}

/// A parameter as CEL sees it: whole numbers are integers, so that arithmetic with columns works.
fn param(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => {
            number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Int)
        }
        serde_json::Value::String(text) => Value::from(text.clone()),
        serde_json::Value::Array(values) => Value::from(values.iter().map(param).collect::<Vec<_>>()),
        serde_json::Value::Object(values) => {
            let values: HashMap<String, Value> =
                values.iter().map(|(name, value)| (name.clone(), param(value))).collect();
            Value::from(values)
        }
    }
}

//! Digests of products: SHA-256 over a canonical walk, so that equal values have equal digests in whatever file they lie.
//!
//! What enters, in this order, all numbers little-endian, lengths and counts as 8 bytes, `text` = length and bytes:
//!
//! - the product: `sas-digest-1\n`, then its object;
//! - a group: `G`, its attributes, count of names, and for each, sorted by bytes: text, object;
//! - a dataset: `D`, its attributes, its value;
//! - attributes: count, and for each, sorted by bytes: text, value;
//! - a value: type, extent, elements;
//! - a type: `i` `u` `f` (integer, unsigned, IEEE float) and size (1 byte); `b` boolean (an enum of FALSE and TRUE, of
//!   any size); `e` and an integer type, count, and members sorted by name: text, value (16 bytes); `t` bitfield and
//!   size; `s` text, of fixed or variable length; `c` record, count, and members in their order: text, type; `a` array,
//!   count and dimensions, type; `l` list, type;
//! - an extent: `N` none, `S` scalar, `A` count and dimensions;
//! - elements as `super::h5`'s canonical bytes: NaNs are all the same, text has no padding, byte order does not matter.
//!
//! Never layout, chunks, filters, times, padding or the order of creation, nor the attributes by which dimension scales
//! refer to each other. −0 and 0 differ; so do types of different
//! size. Limits are checked against declared extents before anything is read. The walk also collects what checks need.

mod canonical;

use std::collections::BTreeMap;

use canonical::{count, hash_shape, hash_type, text};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::budget::{OF_A_THING, spend};
use super::h5::{
    Attributed, Dataset, Group, H5Error, H5ErrorKind, LinkKind, OF_SCALES, Object, Shape, Type, Value, append,
};
use domain::expression::Scalar;
use domain::id::Digest;
use domain::product::Tolerance;

/// Filters whose output is allowed: deflate, shuffle, checksum.
const ALLOWED_FILTERS: [i32; 3] = [1, 2, 3];

/// Attribute of an empty group by which a module says that there is no such product, and why.
pub(super) const NOT_PRODUCED: &str = "NOT_PRODUCED";

/// How large a module's output may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLimits {
    /// Bytes of all values together, and of the file.
    pub bytes: u64,
    /// Groups, datasets and attributes.
    pub objects: u64,
    /// Levels of groups below a product.
    pub depth: u32,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { bytes: 2 << 30, objects: 100_000, depth: 16 }
    }
}

/// What the walk over one product found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Walked {
    pub(super) digest: Digest,
    /// Bytes of all values.
    pub(super) bytes: u64,
    /// Columns by name, nested ones with slashes; a product that is a dataset itself has the one column `value`.
    pub(super) columns: BTreeMap<String, DigestedColumn>,
    /// False when the product is a dataset itself.
    pub(super) is_group: bool,
    /// The reason, for an empty group that says so.
    pub(super) not_produced: Option<String>,
}

/// What the walk found out about a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DigestedColumn {
    pub(super) dtype: Type,
    pub(super) shape: Shape,
    pub(super) unit: Option<String>,
    /// The value of a column that has one.
    pub(super) scalar: Option<Scalar>,
}

/// Why a product cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProductProblem {
    /// It cannot be read.
    #[error("{at} cannot be read: {error}")]
    Unreadable { at: String, error: H5Error },
    /// Nothing is wrong with it, but it is of a type that is not read.
    #[error("{at} has a type that is not supported: {what}")]
    Unsupported { at: String, what: String },
    /// It holds something that is not allowed.
    #[error("{at} {what}")]
    Forbidden { at: String, what: String },
    /// It is larger than allowed.
    #[error("{at} {what}")]
    TooLarge { at: String, what: String },
}

/// Walks products of one file, and counts what they hold against the limits of the whole.
#[derive(Debug)]
pub(super) struct Walk {
    limits: OutputLimits,
    bytes: u64,
    /// Bytes of texts and lists of variable length.
    undeclared: u64,
    objects: u64,
    /// Bytes of what is told of columns: names, units, texts.
    said: usize,
    /// Columns whose numbers may differ by this are left out of digests.
    tolerance: Option<Tolerance>,
}

struct Product {
    hash: Sha256,
    columns: BTreeMap<String, DigestedColumn>,
}

impl Walk {
    pub(super) fn new(limits: OutputLimits) -> Self {
        Self { limits, bytes: 0, undeclared: 0, objects: 0, said: 0, tolerance: None }
    }

    /// The same for digests of all but the numbers that may differ: such a one says that everything else is equal.
    pub(super) fn but_for(self, tolerance: &Tolerance) -> Self {
        Self { tolerance: Some(tolerance.clone()), ..self }
    }

    /// Walks the product that `name` of `parent` is; `at` is its path, for messages.
    pub(super) fn product(&mut self, parent: &Group, name: &str, at: &str) -> Result<Walked, ProductProblem> {
        let before = self.bytes;
        let mut product = Product { hash: Sha256::new(), columns: BTreeMap::new() };
        product.hash.update(b"sas-digest-1\n");
        let object = parent.open(name).map_err(|error| unreadable(at, error))?;
        let (is_group, not_produced) = match &object {
            Object::Group(group) => (true, reason_for_nothing(group, at)?),
            Object::Dataset(_) | Object::Other => (false, None),
        };
        self.object(&mut product, object, Within { path: at, column: "", depth: 0 })?;
        Ok(Walked {
            digest: Digest::from_bytes(product.hash.finalize().into()),
            bytes: self.bytes - before,
            columns: product.columns,
            is_group,
            not_produced,
        })
    }

    fn object(&mut self, product: &mut Product, object: Object, place: Within<'_>) -> Result<(), ProductProblem> {
        self.count(place.path, 1)?;
        match object {
            Object::Group(group) => self.group(product, &group, place),
            Object::Dataset(dataset) => self.dataset(product, &dataset, place),
            Object::Other => Err(forbidden(place.path, "is neither a group nor a dataset")),
        }
    }

    fn group(&mut self, product: &mut Product, group: &Group, place: Within<'_>) -> Result<(), ProductProblem> {
        if place.depth >= self.limits.depth {
            let what = format!("is nested deeper than {} groups", self.limits.depth);
            return Err(ProductProblem::TooLarge { at: shortened(place.path), what });
        }
        product.hash.update(b"G");
        self.attributes(product, group, place.path)?;
        let broken = |error| unreadable(place.path, error);
        let names = group.len().map_err(broken)?;
        if names > self.limits.objects - self.objects {
            return Err(self.too_many(place.path));
        }
        let links = group.links(names).map_err(broken)?;
        count(&mut product.hash, links.len() as u64);
        for (name, kind) in links {
            let path = format!("{}/{name}", place.path);
            if kind != LinkKind::Hard {
                return Err(forbidden(&path, kind_in_words(kind)));
            }
            text(&mut product.hash, &name);
            let column = if place.column.is_empty() { name.clone() } else { format!("{}/{name}", place.column) };
            let object = group.open(&name).map_err(|error| unreadable(&path, error))?;
            self.object(product, object, Within { path: &path, column: &column, depth: place.depth + 1 })?;
        }
        Ok(())
    }

    fn dataset(&mut self, product: &mut Product, dataset: &Dataset, place: Within<'_>) -> Result<(), ProductProblem> {
        let path = place.path;
        let broken = |error| unreadable(path, error);
        check_storage(dataset, path)?;
        let (dtype, shape) = (dataset.dtype().map_err(broken)?, dataset.shape().map_err(broken)?);
        self.weigh(path, &dtype, &shape)?;
        product.hash.update(b"D");
        self.attributes(product, dataset, path)?;
        hash_type(&mut product.hash, &dtype);
        hash_shape(&mut product.hash, &shape);
        let column = if place.column.is_empty() { "value" } else { place.column };
        let (is_one, mut bytes) = (shape.is_one(), Vec::new());
        if !self.tolerance.as_ref().is_some_and(|tolerance| tolerates(tolerance, column, &dtype)) {
            dataset
                .canonical(&mut |block| {
                    product.hash.update(block);
                    self.weigh_undeclared(&dtype, block)?;
                    if is_one { append(&mut bytes, block) } else { Ok(()) }
                })
                .map_err(broken)?;
        }
        let value = Value { dtype, shape, bytes };
        let scalar = value.scalar().map(bounded);
        let unit = dataset.text_attribute("unit").map_err(broken)?.map(|unit| beginning(&unit).to_owned());
        self.said += column.len() + unit.as_ref().map_or(0, String::len);
        if let Some(Scalar::Text(text)) = &scalar {
            self.said += text.len();
        }
        if self.said > MOST_SAID {
            let what =
                format!("is one of so many columns that their names, units and texts make more than {MOST_SAID} bytes");
            return Err(ProductProblem::TooLarge { at: shortened(path), what });
        }
        let Value { dtype, shape, .. } = value;
        product.columns.insert(column.to_owned(), DigestedColumn { dtype, shape, unit, scalar });
        Ok(())
    }

    fn attributes(&mut self, product: &mut Product, of: &impl Attributed, path: &str) -> Result<(), ProductProblem> {
        let mut names = of.attribute_names().map_err(|error| unreadable(path, error))?;
        names.retain(|name| !OF_SCALES.contains(&name.as_str()));
        self.count(path, names.len() as u64)?;
        count(&mut product.hash, names.len() as u64);
        for name in names {
            let broken = |error| unreadable(&format!("attribute {name} of {path}"), error);
            let Some(Value { dtype, shape, bytes }) = of.attribute(&name).map_err(broken)? else { continue };
            self.weigh(path, &dtype, &shape)?;
            self.weigh_undeclared(&dtype, &bytes).map_err(broken)?;
            text(&mut product.hash, &name);
            hash_type(&mut product.hash, &dtype);
            hash_shape(&mut product.hash, &shape);
            product.hash.update(&bytes);
        }
        Ok(())
    }

    fn count(&mut self, path: &str, objects: u64) -> Result<(), ProductProblem> {
        self.objects = self.objects.saturating_add(objects);
        spend(objects.saturating_mul(OF_A_THING));
        if self.objects > self.limits.objects { Err(self.too_many(path)) } else { Ok(()) }
    }

    fn too_many(&self, path: &str) -> ProductProblem {
        let what = format!("is one of more than {} objects and attributes", self.limits.objects);
        ProductProblem::TooLarge { at: shortened(path), what }
    }

    fn weigh(&mut self, path: &str, dtype: &Type, shape: &Shape) -> Result<(), ProductProblem> {
        let bytes = declared(dtype, shape);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.bytes {
            let what = format!(
                "of shape {:?} and type {} makes more than the {} bytes of values that are allowed",
                shape.dims(),
                dtype.word(),
                self.limits.bytes
            );
            return Err(ProductProblem::TooLarge { at: shortened(path), what });
        }
        // Single bytes cost as much as numbers of eight.
        spend(bytes.max(shape.elements().unwrap_or(u64::MAX).saturating_mul(8)));
        Ok(())
    }

    /// Counts what was read of values that do not say how large they are; as often as they are read, wherever they lie.
    fn weigh_undeclared(&mut self, dtype: &Type, read: &[u8]) -> Result<(), H5Error> {
        if dtype.is_variable() {
            self.undeclared += read.len() as u64;
            spend(read.len() as u64);
        }
        if self.undeclared <= self.limits.bytes.saturating_sub(self.bytes) {
            return Ok(());
        }
        let reason =
            format!("texts and lists make more than the {} bytes of values that are allowed", self.limits.bytes);
        Err(H5Error::too_large("read values", reason))
    }
}

/// Whether the numbers of a column of this type may differ by anything.
pub(super) fn tolerates(tolerance: &Tolerance, column: &str, dtype: &Type) -> bool {
    let allowed = match dtype {
        Type::Float { .. } => tolerance.of(column),
        Type::Int { .. } => tolerance.of_integers(column),
        Type::Bool { .. }
        | Type::Enum { .. }
        | Type::Bitfield { .. }
        | Type::FixedText { .. }
        | Type::Text
        | Type::Compound { .. }
        | Type::Array { .. }
        | Type::List(_) => return false,
    };
    allowed.rtol > 0.0 || allowed.atol > 0.0
}

/// Bytes that values of this type and extent have in memory, besides those of text and lists of variable length.
fn declared(dtype: &Type, shape: &Shape) -> u64 {
    let bytes = shape.elements().and_then(|elements| elements.checked_mul(dtype.size() as u64));
    bytes.unwrap_or(u64::MAX)
}

/// Bytes of a text that conditions and messages know: what is longer is a text all the same, and differs from all that is shorter.
pub(super) const LONGEST_TEXT: usize = 4096;

/// Most bytes that are told of the columns of a file.
const MOST_SAID: usize = 32 << 20;

/// A value as conditions know it.
pub(super) fn bounded(value: Scalar) -> Scalar {
    match value {
        Scalar::Text(text) => Scalar::Text(beginning(&text).to_owned()),
        number @ (Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_)) => number,
    }
}

/// The beginning of a text, as long as is known of texts.
fn beginning(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct Within<'a> {
    path: &'a str,
    column: &'a str,
    depth: u32,
}

/// Why there is no such product, if a group says so; one that says so and has columns contradicts itself.
fn reason_for_nothing(group: &Group, at: &str) -> Result<Option<String>, ProductProblem> {
    let broken = |error| unreadable(at, error);
    let Some(value) = group.attribute(NOT_PRODUCED).map_err(broken)? else { return Ok(None) };
    let Some(reason) = value.as_text() else {
        return Err(forbidden(at, "has the attribute NOT_PRODUCED, but not as one text, which says why"));
    };
    if group.len().map_err(broken)? > 0 {
        return Err(forbidden(at, "says NOT_PRODUCED and has columns: expected one of both"));
    }
    Ok(Some(beginning(&reason).to_owned()))
}

fn check_storage(dataset: &Dataset, path: &str) -> Result<(), ProductProblem> {
    let storage = dataset.storage().map_err(|error| unreadable(path, error))?;
    if storage.is_virtual {
        return Err(forbidden(path, "is a virtual dataset"));
    }
    if storage.external_files > 0 {
        return Err(forbidden(path, "is stored in other files"));
    }
    match storage.filters.iter().find(|filter| !ALLOWED_FILTERS.contains(filter)) {
        Some(filter) => {
            let what = format!("uses filter {filter}, only deflate, shuffle and fletcher32 are allowed");
            Err(forbidden(path, &what))
        }
        None => Ok(()),
    }
}

fn kind_in_words(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Hard => "is a hard link",
        LinkKind::Soft => "is a soft link",
        LinkKind::External => "is an external link",
        LinkKind::UserDefined => "is a user-defined link",
    }
}

fn unreadable(at: &str, error: H5Error) -> ProductProblem {
    let at = shortened(at);
    match error.kind() {
        H5ErrorKind::Refused => ProductProblem::Unreadable { at, error },
        H5ErrorKind::Unsupported => ProductProblem::Unsupported { at, what: error.reason().to_owned() },
        H5ErrorKind::TooLarge => ProductProblem::TooLarge { at, what: format!("cannot be read: {}", error.reason()) },
    }
}

fn forbidden(at: &str, what: &str) -> ProductProblem {
    ProductProblem::Forbidden { at: shortened(at), what: what.to_owned() }
}

/// A path for a message: a hostile one may be very long.
fn shortened(path: &str) -> String {
    match path.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &path[..end]),
        None => path.to_owned(),
    }
}

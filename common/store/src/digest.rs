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

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::h5::{Attributed, Dataset, Group, H5Error, LinkKind, OF_SCALES, Object, Shape, Type, Value};
use domain::expression::Scalar;
use domain::id::Digest;

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
    objects: u64,
}

struct Product {
    hash: Sha256,
    columns: BTreeMap<String, DigestedColumn>,
}

impl Walk {
    pub(super) fn new(limits: OutputLimits) -> Self {
        Self { limits, bytes: 0, objects: 0 }
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
        let scalar = if shape == Shape::Scalar {
            let value = dataset.value(1).map_err(broken)?;
            product.hash.update(&value.bytes);
            value.first(1).into_iter().next()
        } else {
            dataset.canonical(&mut |block| product.hash.update(block)).map_err(broken)?;
            let value = shape.is_one().then(|| dataset.value(1)).transpose().map_err(broken)?;
            value.and_then(|value| value.first(1).into_iter().next())
        };
        let unit = dataset.text_attribute("unit").map_err(broken)?;
        let column = if place.column.is_empty() { "value" } else { place.column };
        product.columns.insert(column.to_owned(), DigestedColumn { dtype, shape, unit, scalar });
        Ok(())
    }

    fn attributes(&mut self, product: &mut Product, of: &impl Attributed, path: &str) -> Result<(), ProductProblem> {
        let mut names = of.attribute_names().map_err(|error| unreadable(path, error))?;
        names.retain(|name| !OF_SCALES.contains(&name.as_str()));
        self.count(path, names.len() as u64)?;
        count(&mut product.hash, names.len() as u64);
        for name in names {
            let value = of.attribute(&name).map_err(|error| unreadable(path, error))?;
            let Some(Value { dtype, shape, bytes }) = value else { continue };
            self.weigh(path, &dtype, &shape)?;
            text(&mut product.hash, &name);
            hash_type(&mut product.hash, &dtype);
            hash_shape(&mut product.hash, &shape);
            product.hash.update(&bytes);
        }
        Ok(())
    }

    fn count(&mut self, path: &str, objects: u64) -> Result<(), ProductProblem> {
        self.objects = self.objects.saturating_add(objects);
        if self.objects > self.limits.objects { Err(self.too_many(path)) } else { Ok(()) }
    }

    fn too_many(&self, path: &str) -> ProductProblem {
        let what = format!("is one of more than {} objects and attributes", self.limits.objects);
        ProductProblem::TooLarge { at: shortened(path), what }
    }

    fn weigh(&mut self, path: &str, dtype: &Type, shape: &Shape) -> Result<(), ProductProblem> {
        let bytes = shape.elements().and_then(|elements| elements.checked_mul(dtype.size() as u64));
        self.bytes = self.bytes.saturating_add(bytes.unwrap_or(u64::MAX));
        if self.bytes > self.limits.bytes {
            let what = format!(
                "of shape {:?} and type {} makes more than the {} bytes of values that are allowed",
                shape.dims(),
                dtype.word(),
                self.limits.bytes
            );
            return Err(ProductProblem::TooLarge { at: shortened(path), what });
        }
        Ok(())
    }
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
    Ok(Some(reason))
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

fn hash_type(hash: &mut Sha256, dtype: &Type) {
    match dtype {
        Type::Int { size, signed, .. } => hash.update([if *signed { b'i' } else { b'u' }, *size as u8]),
        Type::Float { size, .. } => hash.update([b'f', *size as u8]),
        Type::Bool { .. } => hash.update(b"b"),
        Type::Enum { size, signed, members, .. } => {
            hash.update([b'e', if *signed { b'i' } else { b'u' }, *size as u8]);
            count(hash, members.len() as u64);
            for (name, value) in members {
                text(hash, name);
                hash.update(value.to_le_bytes());
            }
        }
        Type::Bitfield { size, .. } => hash.update([b't', *size as u8]),
        Type::FixedText { .. } | Type::Text => hash.update(b"s"),
        Type::Compound { members, .. } => {
            hash.update(b"c");
            count(hash, members.len() as u64);
            for (name, _, member) in members {
                text(hash, name);
                hash_type(hash, member);
            }
        }
        Type::Array { dims, base } => {
            hash.update(b"a");
            count(hash, dims.len() as u64);
            dims.iter().for_each(|dim| count(hash, *dim));
            hash_type(hash, base);
        }
        Type::List(base) => {
            hash.update(b"l");
            hash_type(hash, base);
        }
    }
}

fn hash_shape(hash: &mut Sha256, shape: &Shape) {
    match shape {
        Shape::Null => hash.update(b"N"),
        Shape::Scalar => hash.update(b"S"),
        Shape::Array(dims) => {
            hash.update(b"A");
            count(hash, dims.len() as u64);
            dims.iter().for_each(|dim| count(hash, *dim));
        }
    }
}

fn count(hash: &mut Sha256, number: u64) {
    hash.update(number.to_le_bytes());
}

fn text(hash: &mut Sha256, text: &str) {
    count(hash, text.len() as u64);
    hash.update(text.as_bytes());
}

fn unreadable(at: &str, error: H5Error) -> ProductProblem {
    ProductProblem::Unreadable { at: shortened(at), error }
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

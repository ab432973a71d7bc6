//! Apache Parquet: columns in binary form, some thousand rows at a time. Missing is null, and in columns of text empty, for
//! astropy reads no text that is null.

use std::io::{self, Write};
use std::sync::Arc;

use domain::expression::Scalar;
use domain::product::ColumnKind;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::ecsv::header;
use super::{TableField, WriteRows};

/// Rows in memory at once.
const GROUP: usize = 2048;

/// Where astropy looks for units and descriptions.
const HEADER: &str = "table_meta_yaml";

pub(super) struct Parquet<'a> {
    writer: SerializedFileWriter<&'a mut (dyn Write + Send)>,
    kinds: Vec<ColumnKind>,
    /// Cells of rows that are not written yet, by column.
    cells: Vec<Vec<Option<Scalar>>>,
}

impl<'a> Parquet<'a> {
    pub(super) fn start(fields: &[TableField], about: &str, out: &'a mut (dyn Write + Send)) -> io::Result<Self> {
        let columns: Result<Vec<_>, _> = fields.iter().map(column).collect();
        let schema = columns.and_then(|columns| Type::group_type_builder("table").with_fields(columns).build());
        let told = vec![KeyValue::new(HEADER.to_owned(), header(fields, about))];
        let properties = WriterProperties::builder().set_key_value_metadata(Some(told)).build();
        let writer = schema.and_then(|schema| SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties)));
        Ok(Self {
            writer: writer.map_err(io::Error::other)?,
            kinds: fields.iter().map(|field| field.kind).collect(),
            cells: vec![Vec::new(); fields.len()],
        })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for (kind, cells) in self.kinds.iter().zip(&mut self.cells) {
            let cells = std::mem::take(cells);
            match kind {
                ColumnKind::Float => write::<DoubleType>(&mut group, &cells, Scalar::as_f64)?,
                ColumnKind::Int => write::<Int64Type>(&mut group, &cells, |cell| match cell {
                    Scalar::Int(value) => Some(*value),
                    Scalar::Bool(_) | Scalar::Float(_) | Scalar::Text(_) => None,
                })?,
                ColumnKind::Bool => write::<BoolType>(&mut group, &cells, |cell| match cell {
                    Scalar::Bool(value) => Some(*value),
                    Scalar::Int(_) | Scalar::Float(_) | Scalar::Text(_) => None,
                })?,
                ColumnKind::String => write::<ByteArrayType>(&mut group, &cells, |cell| match cell {
                    Scalar::Text(text) => Some(ByteArray::from(text.as_str())),
                    Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) => None,
                })?,
            }
        }
        group.close().map(drop)
    }
}

impl WriteRows for Parquet<'_> {
    fn row(&mut self, cells: &[Option<Scalar>]) -> io::Result<()> {
        for ((column, kind), cell) in self.cells.iter_mut().zip(&self.kinds).zip(cells) {
            let empty = || (*kind == ColumnKind::String).then(|| Scalar::Text(String::new()));
            column.push(cell.clone().or_else(empty));
        }
        if self.cells.first().is_some_and(|column| column.len() >= GROUP) {
            self.write_group().map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.cells.first().is_some_and(|column| !column.is_empty()) {
            self.write_group().map_err(io::Error::other)?;
        }
        self.writer.close().map(drop).map_err(io::Error::other)
    }
}

fn column(field: &TableField) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match field.kind {
        ColumnKind::Float => (Physical::DOUBLE, None),
        ColumnKind::Int => (Physical::INT64, None),
        ColumnKind::Bool => (Physical::BOOLEAN, None),
        ColumnKind::String => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let column = Type::primitive_type_builder(&field.name, physical).with_repetition(Repetition::OPTIONAL);
    column.with_logical_type(logical).build().map(Arc::new)
}

/// Writes the next column of a group; `value` is `None` for cells that are missing.
fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut (dyn Write + Send)>,
    cells: &[Option<Scalar>],
    value: impl Fn(&Scalar) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    let cells: Vec<Option<T::T>> = cells.iter().map(|cell| cell.as_ref().and_then(&value)).collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    column.close()
}

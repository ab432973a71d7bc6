//! Reads a data model: which columns the products have.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::definition::{Reader, syntax};
use super::place::Mistake;
use crate::product::DataModel;

impl DataModel {
    /// Reads a data model product by product; what has a wrong shape goes to the mistakes and is left out.
    pub(crate) fn read(text: &str, mistakes: &mut Vec<Mistake>) -> Self {
        let mut model = Self::default();
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            mistakes.extend(errors.iter().map(|error| syntax(text, error)));
            return model;
        }
        let mut reader = Reader { text, mistakes };
        for (section, products) in document.into_inner() {
            let at = section.span().start;
            match (section.get_ref().as_ref(), products.into_inner()) {
                ("products", DeValue::Table(products)) => {
                    products.into_iter().for_each(|(name, product)| model.add(&mut reader, name.get_ref(), product));
                }
                (name, _) => reader.wrong(at, format!("{name}: expected tables `[products.NAME.columns]` only")),
            }
        }
        model
    }

    fn add(&mut self, reader: &mut Reader<'_>, name: &str, product: Spanned<DeValue<'_>>) {
        let at = product.span().start;
        let DeValue::Table(fields) = product.into_inner() else {
            reader.wrong(at, format!("product {name}: expected a table `[products.{name:?}.columns]`"));
            return;
        };
        let columns = reader.fields(format!("product {name}: "), fields, &["columns"]);
        match name.parse() {
            Ok(name) => drop(self.products.insert(name, columns)),
            Err(error) => reader.wrong(at, format!("products: {error}")),
        }
    }
}

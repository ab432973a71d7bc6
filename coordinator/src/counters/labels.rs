//! Labels of metrics. What they say may come from outside: it is escaped, for one quotation mark would make all metrics
//! unreadable.

use std::fmt::{self, Write};

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// Names and texts.
pub(crate) type MetricLabels = Vec<(&'static str, LabelText)>;

/// The text of a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LabelText(String);

/// Labels with these names and texts.
pub(crate) fn labels<const N: usize>(named: [(&'static str, &str); N]) -> MetricLabels {
    named.map(|(name, text)| (name, LabelText(text.to_owned()))).into()
}

impl EncodeLabelValue for LabelText {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => encoder.write_str("\\\\")?,
                '"' => encoder.write_str("\\\"")?,
                '\n' => encoder.write_str("\\n")?,
                letter => encoder.write_char(letter)?,
            }
        }
        Ok(())
    }
}

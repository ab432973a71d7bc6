//! A condition as far as task states decide it, without the content of any product.
//!
//! The shape of an expression's `&&`, `||` and `!` over terms. A term's value is known only when a product that it
//! names is certainly absent (counts as false) or lost to a failure (an error, which the operators may absorb).

use crate::id::ModuleIndex;
use crate::run::{Row, TaskState};

/// The logical shape of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Formula {
    /// Both.
    And(Box<Formula>, Box<Formula>),
    /// Either.
    Or(Box<Formula>, Box<Formula>),
    /// The opposite.
    Not(Box<Formula>),
    /// A value that does not depend on products.
    Constant(bool),
    /// Something whose value is in products of these modules; with none, in externals or the quarter before.
    Term(Vec<ModuleIndex>),
}

/// What states say of a formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// Certainly true.
    True,
    /// Certainly false.
    False,
    /// Certainly an error: a product that decides it was lost.
    Lost,
    /// Only content tells.
    Unknown,
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl Formula {
    /// Its truth when the modules that it names are all settled as `row` says.
    pub fn truth(&self, row: &Row) -> Truth {
        match self {
            Self::Constant(value) => (*value).into(),
            Self::And(a, b) => a.truth(row).and(b.truth(row)),
            Self::Or(a, b) => a.truth(row).or(b.truth(row)),
            Self::Not(a) => a.truth(row).not(),
            Self::Term(producers) => {
                let states = || producers.iter().map(|&module| row.cell(module).state);
                if states().any(TaskState::is_lost) {
                    Truth::Lost
                } else if states().any(|state| state == TaskState::Skipped) {
                    Truth::False
                } else {
                    Truth::Unknown
                }
            }
        }
    }
}

impl Truth {
    /// `&&` that takes both sides alike: a false side absorbs an error, an unknown side might.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Lost, _) | (_, Self::Lost) => Self::Lost,
            (Self::True, Self::True) => Self::True,
        }
    }

    /// `||` that takes both sides alike: a true side absorbs an error, an unknown side might.
    pub fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    /// The opposite; an error stays one.
    #[expect(clippy::should_implement_trait, reason = "`and`, `or` and `not` read alike")]
    pub fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Lost => Self::Lost,
            Self::Unknown => Self::Unknown,
        }
    }
}

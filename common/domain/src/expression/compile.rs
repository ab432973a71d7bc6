//! From text to a tree of terms whose reads are known.
//!
//! Products are found in the syntax tree and replaced by identifiers `read0`, `read1`, …; a name that is computed cannot be
//! found and is refused. Where the data model knows the columns, names and types are checked here, once, and not on the
//! first of many stars.

use std::collections::{BTreeMap, BTreeSet};

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::{Expression, Flags, InvalidExpression, Read, Scope, Term, Tree, What};
use crate::id::ProductName;
use crate::product::{ColumnKind, Origin, ProductModel, Source};

/// Prefix of the identifiers that stand for reads.
pub(super) const READ: &str = "read";

/// Longest condition, in bytes: parsing and evaluation recurse.
const LONGEST: usize = 4096;

/// Deepest nesting of operators, for the same reason.
const DEEPEST: usize = 100;

/// Most terms in the condition of a `?:`, which stands in the tree twice.
const MOST_TERMS: usize = 32;

impl Expression {
    /// Compiles a condition; the errors say what is wrong and what would be right, all at once.
    pub fn compile(text: &str, scope: &Scope<'_>) -> Result<Self, Vec<InvalidExpression>> {
        let refuse = |reason: String| Err(vec![InvalidExpression(reason)]);
        if text.len() > LONGEST {
            return refuse(format!("is {} bytes long, at most {LONGEST} are allowed", text.len()));
        }
        let program = cel::Program::compile(text).map_err(|error| vec![no_cel(&error.to_string())])?;
        if !is_shallow(program.expression(), DEEPEST) {
            return refuse(format!("is nested deeper than {DEEPEST} operators"));
        }
        let mut compiler =
            Compiler { scope, reads: Vec::new(), kinds: Vec::new(), params: BTreeMap::new(), mistakes: Vec::new() };
        let tree = compiler.tree(program.expression());
        let Compiler { reads, kinds, params, mut mistakes, .. } = compiler;
        let expression = Self { text: text.to_owned(), tree, reads, kinds, params };
        if mistakes.is_empty() {
            expression.check_types(&expression.tree, &mut mistakes);
        }
        if mistakes.is_empty() { Ok(expression) } else { Err(mistakes) }
    }

    /// Tries each term on values of the types that its columns have.
    fn check_types(&self, tree: &Tree, mistakes: &mut Vec<InvalidExpression>) {
        match tree {
            Tree::And(a, b) | Tree::Or(a, b) => {
                self.check_types(a, mistakes);
                self.check_types(b, mistakes);
            }
            Tree::Not(a) => self.check_types(a, mistakes),
            Tree::Term(term) => {
                let names: Vec<String> = term.reads.iter().map(|&at| format!("`{}`", self.reads[at])).collect();
                let about = if names.is_empty() { String::new() } else { format!("{}: ", names.join(", ")) };
                let mistake = self.try_types(term).err().map(|reason| InvalidExpression(format!("{about}{reason}")));
                // The condition of a `?:` stands in the tree twice.
                mistakes.extend(mistake.filter(|mistake| !mistakes.contains(mistake)));
            }
        }
    }
}

/// Whether a syntax tree has at most `most` levels.
fn is_shallow(node: &IdedExpr, most: usize) -> bool {
    let Some(most) = most.checked_sub(1) else { return false };
    match &node.expr {
        Expr::Call(call) => call.target.iter().map(Box::as_ref).chain(&call.args).all(|inner| is_shallow(inner, most)),
        Expr::Select(select) => is_shallow(&select.operand, most),
        Expr::List(list) => list.elements.iter().all(|inner| is_shallow(inner, most)),
        // The others have nothing inside, or are refused whole.
        Expr::Ident(_)
        | Expr::Literal(_)
        | Expr::Comprehension(_)
        | Expr::Map(_)
        | Expr::Struct(_)
        | Expr::Unspecified => true,
    }
}

/// A syntax error without the list of all tokens that might follow and the picture of the place.
fn no_cel(error: &str) -> InvalidExpression {
    let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
    let error = error.split(" expecting {").next().unwrap_or_default().split(" | ").next().unwrap_or_default();
    let error = error.strip_prefix("ERROR: <input>:").unwrap_or(error);
    InvalidExpression(format!("not a CEL expression: {error}"))
}

impl Tree {
    fn terms(&self) -> usize {
        match self {
            Self::And(a, b) | Self::Or(a, b) => a.terms() + b.terms(),
            Self::Not(a) => a.terms(),
            Self::Term(_) => 1,
        }
    }
}

struct Compiler<'a> {
    scope: &'a Scope<'a>,
    reads: Vec<Read>,
    kinds: Vec<Option<ColumnKind>>,
    params: BTreeMap<String, serde_json::Value>,
    mistakes: Vec<InvalidExpression>,
}

impl Compiler<'_> {
    fn tree(&mut self, node: &IdedExpr) -> Tree {
        if let Expr::Call(CallExpr { func_name, target: None, args }) = &node.expr {
            match (func_name.as_str(), args.as_slice()) {
                (operators::LOGICAL_AND, [first, rest @ ..]) => return self.chain(first, rest, Tree::And),
                (operators::LOGICAL_OR, [first, rest @ ..]) => return self.chain(first, rest, Tree::Or),
                (operators::LOGICAL_NOT, [a]) => return Tree::Not(Box::new(self.tree(a))),
                // `c ? a : b` is `c && a || !c && b`: an error of the side that is not taken does not matter.
                (operators::CONDITIONAL, [condition, yes, no]) => {
                    let (condition, yes, no) = (self.tree(condition), self.tree(yes), self.tree(no));
                    if condition.terms() > MOST_TERMS {
                        self.refuse(format!("the condition of a `?:` has more than {MOST_TERMS} terms"));
                        return condition;
                    }
                    let otherwise = Tree::Not(Box::new(condition.clone()));
                    let yes = Tree::And(Box::new(condition), Box::new(yes));
                    return Tree::Or(Box::new(yes), Box::new(Tree::And(Box::new(otherwise), Box::new(no))));
                }
                _ => {}
            }
        }
        let mut syntax = node.clone();
        let mut reads = BTreeSet::new();
        self.replace(&mut syntax, &mut reads);
        Tree::Term(Term { reads: reads.into_iter().collect(), syntax })
    }

    fn chain(&mut self, first: &IdedExpr, rest: &[IdedExpr], join: fn(Box<Tree>, Box<Tree>) -> Tree) -> Tree {
        let first = self.tree(first);
        rest.iter().fold(first, |tree, next| join(Box::new(tree), Box::new(self.tree(next))))
    }

    fn refuse(&mut self, reason: impl Into<String>) {
        self.mistakes.push(InvalidExpression(reason.into()));
    }

    /// Replaces the products in a term by identifiers and notes them.
    fn replace(&mut self, node: &mut IdedExpr, reads: &mut BTreeSet<usize>) {
        match self.read(node) {
            Ok(Some((read, kind))) => {
                let at = self.reads.iter().position(|known| *known == read).unwrap_or_else(|| {
                    self.reads.push(read);
                    self.kinds.push(kind);
                    self.reads.len() - 1
                });
                reads.insert(at);
                node.expr = Expr::Ident(format!("{READ}{at}"));
                return;
            }
            Ok(None) => {}
            Err(mistake) => return self.mistakes.push(mistake),
        }
        if let Some(("params", [name, ..])) = path(node).as_ref().map(|(root, names)| (*root, names.as_slice())) {
            return self.note_param(name);
        }
        match &mut node.expr {
            Expr::Call(call) => {
                for inner in call.target.iter_mut().map(Box::as_mut).chain(&mut call.args) {
                    self.operand(inner, reads);
                }
            }
            Expr::Select(select) if select.test => {
                self.refuse("`has` is not allowed: what was not made counts as false, and `made(\"X\")` asks for it");
            }
            Expr::Select(select) => self.operand(&mut select.operand, reads),
            Expr::List(list) => {
                for inner in &mut list.elements {
                    self.operand(inner, reads);
                }
            }
            Expr::Ident(name) if name == "P" || name == "PREV" || name == "params" => {
                let reason =
                    format!("`{name}` must be followed by a literal name, as in `{name}.X` or `{name}[\"X\"]`");
                self.refuse(reason);
            }
            Expr::Ident(name) => {
                let reason = format!("unknown name `{name}`: expected P, PREV or params");
                self.refuse(reason);
            }
            Expr::Literal(_) => {}
            Expr::Comprehension(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.refuse("macros, maps and structures are not allowed in conditions");
            }
        }
    }

    /// The same below an operator or function, where a condition would lose what it says of products that are not there:
    /// they make the whole term false.
    fn operand(&mut self, node: &mut IdedExpr, reads: &mut BTreeSet<usize>) {
        match condition(node) {
            Some(word) => self.refuse(format!(
                "`{word}` gives a condition, which only `&&`, `||`, `!` and `?:` can take: write `!made(\"X\")`, not \
                 `made(\"X\") == false`"
            )),
            None => self.replace(node, reads),
        }
    }

    /// The read that a node is, if it is one, and the kind of its value, where it is known.
    fn read(&self, node: &IdedExpr) -> Result<Option<(Read, Option<ColumnKind>)>, InvalidExpression> {
        if let Expr::Call(CallExpr { func_name, target: None, args }) = &node.expr
            && matches!(func_name.as_str(), "made" | "valid" | "any" | "all")
        {
            return self.function(func_name, args).map(|read| Some((read, Some(ColumnKind::Bool))));
        }
        let Some((root, names)) = path(node) else { return Ok(None) };
        match (root, names.as_slice()) {
            ("P" | "PREV", [product]) => {
                Err(InvalidExpression(format!("`{product}` needs a column, as in `{root}[\"{product}\"][\"value\"]`")))
            }
            ("P" | "PREV", [product, column @ ..]) => {
                let (source, column) = (self.source(root, product)?, column.join("/"));
                let kind = self.column(&source, &column)?;
                Ok(Some((Read { source, what: What::Column(column) }, kind)))
            }
            _ => Ok(None),
        }
    }

    fn function(&self, name: &str, args: &[IdedExpr]) -> Result<Read, InvalidExpression> {
        let [IdedExpr { expr: Expr::Literal(LiteralValue::String(product)), .. }] = args else {
            return Err(InvalidExpression(format!("`{name}` takes one literal name, as in `{name}(\"X\")`")));
        };
        let source = self.source("P", product.inner())?;
        let what = match name {
            "made" => What::Made,
            "valid" => {
                self.column(&source, "value")?;
                What::Valid
            }
            "any" => What::Any(self.flags(&source)?),
            _ => What::All(self.flags(&source)?),
        };
        Ok(Read { source, what })
    }

    fn source(&self, root: &str, product: &str) -> Result<Source, InvalidExpression> {
        let product: ProductName = product.parse().map_err(|error| InvalidExpression(format!("{error}")))?;
        let product = self.scope.aliases.get(&product).cloned().unwrap_or(product);
        if root == "PREV" {
            return match (self.scope.previous)(&product) {
                true => Ok(Source { product, origin: Origin::Previous }),
                false => Err(InvalidExpression(format!(
                    "product `{product}` is not made by any module, so no quarter before has it"
                ))),
            };
        }
        match (self.scope.products)(&product) {
            Some(origin) => Ok(Source { product, origin }),
            None => Err(InvalidExpression(format!("product `{product}` is {}", self.scope.unknown))),
        }
    }

    /// What the data model knows of a product's columns; `None` when it knows none.
    fn model(&self, source: &Source) -> Option<&ProductModel> {
        self.scope.model.products.get(&source.product).filter(|model| !model.columns.is_empty())
    }

    /// The kind of a scalar column, `None` where the model does not know the product.
    fn column(&self, source: &Source, column: &str) -> Result<Option<ColumnKind>, InvalidExpression> {
        let Some(model) = self.model(source) else { return Ok(None) };
        let product = &source.product;
        match model.columns.get(column) {
            Some(known) if known.ndim == 0 => Ok(Some(known.kind)),
            Some(known) => Err(InvalidExpression(format!(
                "column `{column}` of product `{product}` has {} dimensions, only scalars are read",
                known.ndim
            ))),
            None => Err(InvalidExpression(format!(
                "product `{product}` has no column `{column}` in the data model, only [{}]",
                model.columns.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// The boolean columns of a product, `None` where the model does not know the product.
    fn flags(&self, source: &Source) -> Result<Flags, InvalidExpression> {
        let Some(model) = self.model(source) else { return Ok(None) };
        let flags = model.columns.iter().filter(|(_, column)| column.kind == ColumnKind::Bool && column.ndim == 0);
        let flags: BTreeSet<String> = flags.map(|(name, _)| name.clone()).collect();
        if flags.is_empty() {
            return Err(InvalidExpression(format!(
                "product `{}` has no boolean columns in the data model",
                source.product
            )));
        }
        Ok(Some(flags))
    }

    fn note_param(&mut self, name: &str) {
        match self.scope.params.get(name) {
            Some(value) => drop(self.params.insert(name.to_owned(), value.clone())),
            None => self.refuse(format!("`params.{name}` is not in [params]")),
        }
    }
}

/// The operator or function of a node whose value is a condition in itself.
fn condition(node: &IdedExpr) -> Option<&str> {
    let Expr::Call(CallExpr { func_name, target: None, .. }) = &node.expr else { return None };
    Some(match func_name.as_str() {
        operators::LOGICAL_AND => "&&",
        operators::LOGICAL_OR => "||",
        operators::LOGICAL_NOT => "!",
        operators::CONDITIONAL => "?:",
        operators::EQUALS => "==",
        operators::NOT_EQUALS => "!=",
        operators::LESS => "<",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::GREATER_EQUALS => ">=",
        operators::IN => "in",
        name @ ("made" | "valid" | "any" | "all") => name,
        _ => return None,
    })
}

/// `a.b["c"]` as its root identifier and the literal names after it.
fn path(node: &IdedExpr) -> Option<(&str, Vec<&str>)> {
    if let Expr::Ident(name) = &node.expr {
        return Some((name, Vec::new()));
    }
    let (operand, name): (&IdedExpr, &str) = if let Expr::Select(select) = &node.expr
        && !select.test
    {
        (&select.operand, &select.field)
    } else if let Expr::Call(CallExpr { func_name, target: None, args }) = &node.expr
        && func_name == operators::INDEX
        && let [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] = args.as_slice()
    {
        (operand, name.inner())
    } else {
        return None;
    };
    let (root, mut names) = path(operand)?;
    names.push(name);
    Some((root, names))
}

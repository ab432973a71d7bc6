"""Where a product of light comes from: attributes on it, and whether they fit the place where it was staged.

They say which product it is, of which star and quarter, and which module made it; externals have no module, and what is
the same for all stars has neither star nor quarter. Products that light did not write have none. Digests of products
include attributes, so nothing here depends on the attempt.
"""

from .contract import EXTERNALS, PREVIOUS

PRODUCT, STAR, QUARTER, MODULE = "LIGHT_PRODUCT", "LIGHT_STAR", "LIGHT_QUARTER", "LIGHT_MODULE"


def of(star, quarter, module=None):
    """The marks that all products of one output, or of one delivery, have in common."""
    marks = {STAR: star, QUARTER: int(quarter)}
    return marks if module is None else {**marks, MODULE: module}


def mark(node, product, common):
    """Puts its marks on a product."""
    for name, value in {PRODUCT: product, **common}.items():
        node.attrs[name] = value


def wrong(node, source, contract, star, quarter):
    """In which the marks of a staged product differ from what its place promises, a line each."""
    path = f"{source.root}/{source.product}"
    marks = {name: _plain(node.attrs[name]) for name in (PRODUCT, STAR, QUARTER, MODULE) if name in node.attrs}
    lines = []
    if contract.canonical(marks.get(PRODUCT, source.product)) != source.product:
        lines.append(f"{path} holds {marks[PRODUCT]}")
    if star and marks.get(STAR, star) != star:
        lines.append(f"{path} is of {marks[STAR]}, expected {star}")
    due = _quarter(source, quarter)
    if due is not None and marks.get(QUARTER, due) != due:
        lines.append(f"{path} is of quarter {marks[QUARTER]}, expected {due}")
    if MODULE in marks and source.root != EXTERNALS and not contract.is_made_by(source.product, marks[MODULE]):
        lines.append(f"{path} was made by {marks[MODULE]}, which does not declare it")
    return lines


def _quarter(source, quarter):
    """The quarter of which a product must be; None when the task does not say its own."""
    if not str(quarter).isdigit():
        return None
    return int(quarter) - 1 if source.root == PREVIOUS else int(quarter)


def _plain(value):
    """An attribute as text or number."""
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return value.item() if hasattr(value, "item") else value

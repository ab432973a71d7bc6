"""Walks over a staged product: where its links lead, whether all of it opens, and whether it holds anything.

Links by name alone are judged here, before they are followed: an external link must lead below `files/` of the input's
directory, a soft link below the group that it is in.
"""

import posixpath

import h5py

# More groups in one another than any product has that the platform accepts; one that contains itself ends here.
DEEPEST = 32


def wrong(group, name, path):
    """What is wrong with the product `name` of a group of an input.h5, a line each; `path` is how lines call it."""
    lines = []
    columns = list(_columns(group, name, path, "", 0, lines))
    if lines:
        return lines
    if "NOT_PRODUCED" in group[name].attrs:
        return [f"{path} was staged, but its module answered that there is none"]
    return [] if columns else [f"{path} was staged, but it is an empty group"]


def _columns(group, name, path, folder, depth, lines):
    """The datasets behind a link. `folder` is that of the file which has the link, as the input's directory sees it."""
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        file = posixpath.normpath(posixpath.join(folder, link.filename))
        if not file.startswith("files/") or ".." in link.filename.split("/"):
            lines.append(f"{path} leads to {link.filename!r}, expected a path below files/")
            return
        folder = posixpath.dirname(file)
    if isinstance(link, h5py.SoftLink) and (depth == 0 or link.path.startswith("/")):
        lines.append(f"{path} leads to {link.path!r}, expected the product itself")
        return
    try:
        node = group[name]
    except (KeyError, OSError) as error:
        lines.append(f"{path} cannot be opened: {error}")
        return
    if isinstance(link, h5py.SoftLink):
        return  # What it leads to has a link of its own.
    if isinstance(node, h5py.Dataset):
        if node.is_virtual or node.external:
            lines.append(f"{path} is stored in other files")
        yield node
    elif not isinstance(node, h5py.Group):
        lines.append(f"{path} is neither a group nor a dataset")
    elif depth == DEEPEST:
        lines.append(f"{path} is nested deeper than {DEEPEST} groups")
    else:
        for member in node:
            yield from _columns(node, member, f"{path}/{member}", folder, depth + 1, lines)

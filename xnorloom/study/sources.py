"""Which source files a result depends on, and a digest of what they say."""

import ast
import functools
import hashlib
from pathlib import Path

__all__ = ["digest", "source_files"]

_ROOT = Path(__file__).resolve().parents[2]


def source_files(*modules):
    """Files of some of our modules and of all that these import of ours, sorted.

    Parameters
    ----------
    *modules : str
        Full names. What a module imports inside a function counts, what it imports by a computed
        name does not.
    """
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        path = _file(waiting.pop())
        if path is not None and path not in found:
            found.add(path)
            waiting += _imports(path)
    return sorted(found)


@functools.cache
def digest(*modules):
    """Hash of the code of :func:`source_files`; comments, docstrings and layout do not count."""
    total = hashlib.sha256()
    for path in source_files(*modules):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) \
                    and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        total.update(f"{path.relative_to(_ROOT)}\n{ast.unparse(tree)}\n".encode())
    return total.hexdigest()


def _file(module):
    parts = module.split(".")
    if parts[0] != "xnorloom":
        return None
    path = _ROOT.joinpath(*parts)
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _imports(path):
    """Names that may be modules."""
    package = path.relative_to(_ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[:len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *([node.module] if node.module else [])))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)

"""Rewrites the generated parts of the documentation: tables, worked examples and pictures.

Run ``python -m docs.tools.generate`` from the root of the repository. In a page, what lies between
``<!-- generated: NAME -->`` and ``<!-- end -->`` is the block NAME; pictures are whole files.
"""

import re
from pathlib import Path

from . import area, cycles, example, pictures, schemes, tables

__all__ = ["BLOCKS", "DOCS", "generated"]

DOCS = Path(__file__).resolve().parent.parent
BLOCKS = {**tables.BLOCKS, **example.BLOCKS, **cycles.BLOCKS, **area.BLOCKS, **schemes.BLOCKS}
_BLOCK = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def generated():
    """What the files with generated parts should hold: a dictionary ``path -> text``.

    Raises
    ------
    KeyError
        If a page names a block that nobody makes.
    """
    made = {}

    def fill(match):
        name = match[2]
        if name not in made:
            made[name] = BLOCKS[name]()
        return f"{match[1]}{made[name]}\n{match[3]}"

    texts = {path: _BLOCK.sub(fill, path.read_text(encoding="utf-8"))
             for path in sorted(DOCS.glob("*.md"))}
    return texts | {DOCS / name: draw() for name, draw in pictures.PICTURES.items()}


def main():
    """Writes every file that is not as it should be."""
    for path, text in generated().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            temporary = path.with_name(f".{path.name}.new")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)


if __name__ == "__main__":
    main()

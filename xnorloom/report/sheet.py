"""A table that cuts no number, however narrow the terminal is."""

import textwrap

from rich import box
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

__all__ = ["Sheet"]

_LEAST_NAME = 16

_UNBOUNDED = 10_000


class Sheet:
    """Rows under headings. What is too wide for where it is printed gets its headings folded, then
    its texts; if that is not enough, every row becomes a paragraph of headings and values.

    Parameters
    ----------
    title : str
    *columns : str
        Headings. ``<`` in front makes a column of text, to the left and foldable between words;
        the others are numbers, to the right and always whole.
    """

    def __init__(self, title, *columns):
        self.title, self.caption = title, ""
        self._texts = [column.startswith("<") for column in columns]
        self._headings = [column.removeprefix("<") for column in columns]
        self._rows: list = []

    def row(self, *cells, style=None):
        """Adds a row of strings."""
        self._rows.append((cells, style))

    def section(self):
        """Sets off the rows that follow."""
        self._rows.append(None)

    def __rich_console__(self, console, options):
        yield Text(self.title, style="bold")
        for layout in self._layouts(options.max_width):
            table = self._table(*layout)
            unbounded = options.update(width=_UNBOUNDED)
            if Measurement.get(console, unbounded, table).maximum <= options.max_width:
                yield table
                break
        else:
            yield from self._paragraphs(options.max_width)
        yield Text(f"{self.caption}\n" if self.caption else "")

    def _layouts(self, room):
        """Columns, each a heading, whether it is text, and a width, and the gap between them: from
        the widest layout to the narrowest. A column without a value is left out."""
        columns = [[row[0][place] for row in self._rows if row]
                   for place in range(len(self._texts))]
        kept = [place for place, cells in enumerate(columns) if any(cells)]
        texts = [self._texts[place] for place in kept]
        headings = [self._headings[place] for place in kept]
        natural = [max(map(len, columns[place])) for place in kept]
        free = [None] * len(kept)
        yield list(zip(kept, headings, texts, free, strict=True)), 2
        headings = [textwrap.fill(heading, width, break_long_words=False)
                    for heading, width in zip(headings, natural, strict=True)]
        yield list(zip(kept, headings, texts, free, strict=True)), 2
        widths = [max(width, *map(len, heading.split()))
                  for heading, width in zip(headings, natural, strict=True)]
        left = room - sum(widths) - len(widths) + 1
        for place, text in enumerate(texts):
            if text and left < 0:
                words = [word for cell in (headings[place], *columns[kept[place]])
                         for word in cell.split()]
                # Only a name, in the first column, is broken within a word.
                least = min(max(map(len, words)), widths[place] if place else _LEAST_NAME)
                less = max(0, min(-left, widths[place] - least))
                widths[place] -= less
                left += less
        yield list(zip(kept, headings, texts, widths, strict=True)), 1

    def _table(self, columns, gap):
        table = Table(header_style="bold", pad_edge=False, show_edge=False, box=box.SIMPLE_HEAD,
                      padding=(0, gap - 1, 0, 0))
        for _place, heading, text, width in columns:
            table.add_column(heading, justify="left" if text else "right", width=width,
                             no_wrap=width is None or not text, overflow="fold")
        for row in self._rows:
            if row is None:
                table.add_section()
            else:
                cells, style = row
                table.add_row(*(cells[place] for place, *_ in columns), style=style)
        return table

    def _paragraphs(self, room):
        for cells, style in filter(None, self._rows):
            name, *values = cells
            pairs = [f"{heading} {value}" for heading, value
                     in zip(self._headings[1:], values, strict=True) if value]
            lines = [""]
            for pair in pairs:
                if lines[-1] and len(lines[-1]) + len(pair) + 5 > room:
                    lines.append("")
                lines[-1] += f"{', ' if lines[-1] else '  '}{pair}"
            yield Text("\n".join([name, *(line for line in lines if line)]), style=style or "")

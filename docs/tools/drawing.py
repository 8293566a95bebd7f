"""Drawings as SVG text, from a handful of primitives, legible on light and on dark pages."""

from xml.sax.saxutils import escape

__all__ = ["CARD", "COLOURS", "INK", "MUTED", "Drawing"]

CARD, INK, MUTED, EDGE = "#fbfbfc", "#24292f", "#6b7280", "#d0d7de"

COLOURS = ("#4c78a8", "#d97d26", "#4f9d69", "#a05195", "#c8504b", "#8c6d46")
"""Told apart by hue and by lightness; white text is legible on each."""

_FONT = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"


class Drawing:
    """A picture on a light card of its own.

    Parameters
    ----------
    width, height : int
        In pixels.
    title : str
        What it shows, for those who cannot see it.
    """

    def __init__(self, width, height, title):
        self.width, self.height, self.title = width, height, title
        self._parts, self._arrows = [], set()

    def box(self, x, y, width, height, *, fill="#ffffff", stroke=MUTED, lines=(), colour=INK,
            size=13, radius=5, dash=False, weight="normal"):
        """A rectangle with lines of text in its middle; the first one may be heavier."""
        dashed = ' stroke-dasharray="4 3"' if dash else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" '
            f'fill="{fill}" stroke="{stroke}"{dashed}/>')
        pitch = size * 1.3
        top = y + height / 2 - (len(lines) - 1) * pitch / 2 + size * 0.35
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + number * pitch, line, colour=colour,
                      size=size if number == 0 else size - 1.5, anchor="middle",
                      weight=weight if number == 0 else "normal")

    def text(self, x, y, line, *, size=13, colour=INK, anchor="start", weight="normal"):
        """One line of text; y is its base line."""
        heavy = f' font-weight="{weight}"' if weight != "normal" else ""
        self._parts.append(f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}" '
                           f'text-anchor="{anchor}"{heavy}>{escape(str(line))}</text>')

    def line(self, points, *, colour=MUTED, width=1.5, arrow=False, dash=False):
        """A line through points, with an arrow head at its end."""
        marks = ""
        if arrow:
            self._arrows.add(colour)
            marks += f' marker-end="url(#head-{colour[1:]})"'
        marks += ' stroke-dasharray="4 3"' if dash else ""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                           f'stroke-width="{width:g}"{marks}/>')

    def svg(self):
        """The picture as a file's text."""
        heads = "".join(
            f'<marker id="head-{colour[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{colour}"/></marker>'
            for colour in sorted(self._arrows))
        root = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" role="img" font-family="{_FONT}">')
        card = (f'<rect x="0.5" y="0.5" width="{self.width - 1}" height="{self.height - 1}" '
                f'rx="8" fill="{CARD}" stroke="{EDGE}"/>')
        return "\n".join([root, f"<title>{escape(self.title)}</title>", f"<defs>{heads}</defs>",
                          card, *self._parts, "</svg>", ""])

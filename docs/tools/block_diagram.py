"""The block diagram of the machine."""

from .drawing import COLOURS, MUTED, Drawing

__all__ = ["block_diagram"]

BLUE, ORANGE, GREEN, PURPLE, _RED, _BROWN = COLOURS
PALE_BLUE, PALE_ORANGE, PALE_GREEN, PALE_GREY = "#e3ecf5", "#fbe9d7", "#e2f1e7", "#eceff3"
COLUMNS, ROWS = (420, 496, 572, 648), (308, 354, 400, 446)


def block_diagram():
    """Text of ``machine.svg``."""
    d = Drawing(1010, 760, "Block diagram of the machine: host link and control above, activation "
                          "banks and rotator left of the array, weight banks above it, units that "
                          "scale and re-quantize, and the output, below it")
    _control(d)
    _operands(d)
    _array(d)
    _behind(d)
    return d.svg()


def _control(d):
    d.box(30, 24, 940, 50, fill=PALE_GREY, weight="bold", lines=(
        "host link: words in, words out",
        "frames, CRC, sections into all memories, results and reads back"))
    for x, width, lines in ((30, 170, ("program memory", "layer descriptors")),
                            (240, 170, ("sequencer", "one descriptor ahead")),
                            (450, 190, ("loop nest and gate", "one step per cycle, or a stall")),
                            (680, 110, ("tables", "terms, taps, pairs"))):
        d.box(x, 116, width, 48, fill=PALE_GREY, lines=lines)
    d.box(820, 116, 150, 48, fill=PALE_GREY, lines=("registers", "status, error, counters"))
    d.line([(115, 74), (115, 114)], arrow=True)
    d.line([(200, 140), (238, 140)], arrow=True)
    d.line([(410, 140), (448, 140)], arrow=True)
    d.line([(680, 140), (642, 140)], arrow=True)
    # Addresses leave the gate for both kinds of bank.
    d.line([(480, 164), (480, 190), (125, 190), (125, 306)], arrow=True, colour=BLUE)
    d.text(136, 208, "one address per bank", size=12, colour=BLUE)
    d.line([(545, 164), (545, 200), (450, 200), (450, 218)], arrow=True, colour=ORANGE)
    d.text(554, 194, "one address, passed from column to column", size=12, colour=ORANGE)


def _operands(d):
    for c, x in enumerate(COLUMNS):
        d.box(x, 220, 60, 44, fill=PALE_ORANGE, stroke=ORANGE, size=12,
              lines=("weights", f"bank {c}"))
        d.line([(x + 30, 264), (x + 30, ROWS[0] - 2)], arrow=True, colour=ORANGE)
    for r, y in enumerate(ROWS):
        d.box(60, y, 130, 36, fill=PALE_BLUE, stroke=BLUE, size=12,
              lines=(f"activations, bank {r}",))
        d.line([(190, y + 18), (258, y + 18)], arrow=True, colour=BLUE)
        d.line([(330, y + 18), (COLUMNS[0] - 2, y + 18)], arrow=True, colour=BLUE)
    d.box(260, ROWS[0] - 8, 70, 190, fill=PALE_BLUE, stroke=BLUE, lines=("rotator",))
    d.text(736, 238, "cols banks of", size=12, colour=MUTED)
    d.text(736, 254, "lanes bits, read once", size=12, colour=MUTED)
    d.text(736, 270, "per tile", size=12, colour=MUTED)
    d.text(60, 506, "rows banks of lanes bits;", size=12, colour=MUTED)
    d.text(60, 522, "no two pixels of a tile share one", size=12, colour=MUTED)


def _array(d):
    for r, y in enumerate(ROWS):
        for c, x in enumerate(COLUMNS):
            d.box(x, y, 60, 36, fill=PALE_GREEN, stroke=GREEN, size=12, lines=("PE",))
            if c + 1 < len(COLUMNS):
                d.line([(x + 60, y + 18), (COLUMNS[c + 1] - 1, y + 18)], arrow=True, colour=BLUE)
            if r + 1 < len(ROWS):
                d.line([(x + 22, y + 36), (x + 22, ROWS[r + 1] - 1)], arrow=True, colour=ORANGE)
                d.line([(x + 40, y + 36), (x + 40, ROWS[r + 1] - 1)], arrow=True, colour=GREEN)
    for y, line in ((322, "PE, every cycle: XOR, popcount,"), (338, "clear, double or accumulate;"),
                    (354, "a result register beside the count")):
        d.text(736, y, line, size=12)
    for y, colour, line in ((386, BLUE, "activations and flags, to the right"),
                            (406, ORANGE, "weights, downwards"),
                            (426, GREEN, "finished counts, downwards,")):
        d.line([(736, y - 4), (756, y - 4)], colour=colour, width=2.5)
        d.text(762, y, line, size=12)
    d.text(762, 442, "while the next pass runs", size=12)


def _behind(d):
    for x in COLUMNS:
        d.line([(x + 30, 482), (x + 30, 508)], arrow=True, colour=GREEN)
        d.box(x, 510, 60, 40, fill="#ffffff", stroke=PURPLE, size=12, lines=("scale,", "add"))
        d.line([(x + 30, 550), (x + 30, 576)], arrow=True, colour=PURPLE)
        d.box(x, 578, 60, 40, fill="#ffffff", stroke=PURPLE, size=12, lines=("re-", "quantize"))
        d.line([(x + 30, 618), (x + 30, 656)], arrow=True, colour=PURPLE)
    d.text(736, 524, "acc[row] += S * count, clamped", size=12)
    d.text(736, 540, "at zero before where a scale says so;", size=12)
    d.text(736, 556, "one multiplier per unit", size=12, colour=MUTED)
    d.text(736, 588, "code = thresholds at or below acc,", size=12)
    d.text(736, 604, "or shift, multiply, add, shift, clamp", size=12)
    d.text(736, 620, "one code per cycle", size=12, colour=MUTED)
    d.box(420, 658, 288, 40, lines=("collect, pool, write",), stroke=PURPLE)
    d.text(420, 720, "undoes the column skew; writes one plane of all pixels of a tile per cycle,",
           size=12, colour=MUTED)
    d.text(420, 736, "laid out for the layers that read it", size=12, colour=MUTED)
    d.line([(420, 678), (40, 678), (40, 326), (58, 326)], arrow=True, colour=PURPLE)
    d.text(60, 670, "codes as planes: no copy, no im2col", size=12, colour=PURPLE)
    d.line([(708, 636), (990, 636), (990, 50), (972, 50)], arrow=True, colour=PURPLE, dash=True)
    d.text(736, 652, "last layer: raw accumulators", size=12, colour=PURPLE)
    d.line([(678, 636), (708, 636)], colour=PURPLE, dash=True)

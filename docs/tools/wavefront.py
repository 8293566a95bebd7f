"""The systolic wavefront and the drain under the next pass, drawn from a simulation."""

from unittest import mock

from amaranth.sim import Simulator

from xnorloom.hw.array import systolic
from xnorloom.hw.array.element import ProcessingElement
from xnorloom.hw.spec.config import MachineConfig

from .drawing import COLOURS, MUTED, Drawing

__all__ = ["simulate_passes", "wavefront"]

CONFIG = MachineConfig(rows=4, cols=2, lanes=16, popcount_stages=1)
PASSES = (4, 5, 4)
CYCLES = 27


def simulate_passes():
    """Runs :data:`PASSES` through an array of 4 x 2 elements.

    The count of pass p in row r is ``4 * p + r + 1``, so that a count tells where it came from.

    Returns
    -------
    list of dict
        Of every cycle: ``elements``, a dictionary ``(row, column) -> (valid, last, result)``, row
        0 at the bottom, and ``units``, ``column -> (valid, count)``.
    """
    rows, cols = CONFIG.rows, CONFIG.cols
    built = []

    def build(config, **options):
        built.append(ProcessingElement(config, **options))
        return built[-1]

    array = systolic.SystolicArray(CONFIG)
    with mock.patch.object(systolic, "ProcessingElement", build):
        simulator = Simulator(array)
    elements = {divmod(number, cols): element for number, element in enumerate(built)}
    steps = [(number, step) for number, length in enumerate(PASSES) for step in range(length)]
    seen = []

    async def feed(ctx):
        for cycle in range(CYCLES):
            valid = cycle < len(steps)
            ctx.set(array.flags, {"valid": valid})
            if valid:
                number, step = steps[cycle]
                ctx.set(array.flags.clear, step == 0)
                ctx.set(array.flags.last, step == PASSES[number] - 1)
                for row in range(rows):
                    # All mismatches of a pass come with its first step.
                    ones = 0 if step else 4 * number + row + 1
                    ctx.set(array.activations[row], (1 << ones) - 1)
            # Sampled between the edges: what the registers hold in this cycle.
            seen.append({
                "elements": {place: (ctx.get(each.flags_o.valid), ctx.get(each.flags_o.last),
                                     ctx.get(each.result)) for place, each in elements.items()},
                "units": {c: (ctx.get(array.counts[c][0].valid),
                              ctx.get(array.counts[c][0].payload.count))
                          for c in range(cols)}})
            await ctx.tick()

    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.run()
    return seen


def wavefront():
    """Text of ``wavefront.svg``."""
    seen = simulate_passes()
    left, top, cell, height, gap = 150, 118, 27, 34, 6
    pitch = height + gap
    lines = [("element", row, col) for col in range(CONFIG.cols)
             for row in (*reversed(range(CONFIG.rows)), None)]
    d = Drawing(left + CYCLES * cell + 20, top + len(lines) * pitch + 82,
                "Three passes move through an array of four rows and two columns; each finished "
                "count moves down its column while the next pass is counted")
    d.text(20, 28, "Three passes of 4, 5 and 4 steps in 4 rows x 2 columns", size=15,
           weight="bold")
    for number in range(len(PASSES)):
        d.box(20 + 90 * number, 40, 14, 14, fill=COLOURS[number], stroke=COLOURS[number], radius=2)
        d.text(39 + 90 * number, 52, f"pass {number}", size=12)
    d.text(20, 76, "Upper bar: the step whose operands the element holds; L is the last step of "
                   "its pass. Lower bar: the count in its result register", size=12, colour=MUTED)
    d.text(20, 92, "(r2: it was counted in row 2).", size=12, colour=MUTED)
    for cycle in range(CYCLES):
        d.text(left + cycle * cell + cell / 2, top - 6, cycle, size=10, colour=MUTED,
               anchor="middle")
    d.text(left - 10, top - 6, "cycle", size=10, colour=MUTED, anchor="end")
    for number, (_kind, row, col) in enumerate(lines):
        y = top + number * pitch
        if row is None:
            _unit(d, seen, col, left, y, cell, height)
        else:
            _element(d, seen, row, col, left, y, cell)
    y = top + len(lines) * pitch + 22
    d.text(20, y, "Row 3 is the top row. An operand reaches row r after 3 - r cycles, column c "
                  "after c more; so does the end of a pass.", size=12)
    d.text(20, y + 20, "A count waits in its result register until the rows below have shifted; "
                       "the column delivers 4 counts in 4 cycles,", size=12)
    d.text(20, y + 38, "bottom row first. With passes of at least 4 steps the array never waits.",
           size=12)
    return d.svg()


def _element(d, seen, row, col, left, y, cell):
    d.text(left - 10, y + 16, f"element row {row}, col {col}", size=12, anchor="end")
    delivered = {state["units"][col][1]: cycle for cycle, state in enumerate(seen)
                 if state["units"][col][0]}
    number, begins = -1, True
    for cycle, state in enumerate(seen):
        valid, last, result = state["elements"][row, col]
        x = left + cycle * cell
        d.box(x, y, cell - 1, 16, fill="#eef0f3", stroke="none", radius=1)
        if valid:
            number += begins
            begins = bool(last)
            d.box(x, y, cell - 1, 16, fill=COLOURS[number], stroke="none", radius=1, size=10,
                  colour="#ffffff", lines=("L",) if last else ())
        d.box(x, y + 18, cell - 1, 14, fill="#eef0f3", stroke="none", radius=1)
        # A register keeps what the one below has taken over; from here it is `row` cycles down.
        if result and cycle <= delivered[result] - row:
            of_pass, of_row = divmod(result - 1, 4)
            d.box(x, y + 18, cell - 1, 14, fill=COLOURS[of_pass], stroke="none", radius=1,
                  size=9, colour="#ffffff", lines=(f"r{of_row}",))


def _unit(d, seen, col, left, y, cell, height):
    d.text(left - 10, y + height / 2 + 4, f"to the unit of col {col}", size=12, anchor="end",
           weight="bold")
    for cycle, state in enumerate(seen):
        valid, count = state["units"][col]
        x = left + cycle * cell
        if valid:
            of_pass, of_row = divmod(count - 1, 4)
            d.box(x, y + 6, cell - 1, 20, fill="#ffffff", stroke=COLOURS[of_pass], radius=3,
                  size=10, lines=(f"r{of_row}",))
    d.line([(left, y + height + 1), (left + len(seen) * cell, y + height + 1)], colour="#d0d7de",
           width=1)

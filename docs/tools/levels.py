"""What each paper's quantizer makes of weights: levels and thresholds over their histogram."""

import numpy as np

from .drawing import COLOURS, MUTED, Drawing

__all__ = ["PICTURES"]

_POINTS, _BINS = 4096, 63
_WIDTH, _HEIGHT, _GAP, _TOP = 400, 150, 36, 76
_PALE = "#d5dde6"


def _weights():
    """Weights of a logistic density, heavier in its tails than a normal one; the same every
    time."""
    p = (np.arange(_POINTS) + 0.5) / _POINTS
    weights = np.log(p / (1 - p))
    return weights / np.sqrt(np.mean(weights ** 2))


def _quantized(quantizer, weights):
    """Values of weights, as one output channel."""
    import torch

    return quantizer.planes(torch.from_numpy(weights).unsqueeze(0)).reconstruct().reshape(-1)


def _steps(weights, values):
    """Levels, and the weights where the next one begins; both rising."""
    order = np.argsort(weights, kind="stable")
    weights, values = weights[order], values[order]
    changes = np.flatnonzero(np.diff(values)) + 1
    return values[[0, *changes]], (weights[changes - 1] + weights[changes]) / 2


class _Panel:
    """A histogram in a frame of its own."""

    def __init__(self, drawing, column, row, reach, *, width=_WIDTH, height=_HEIGHT, top=_TOP):
        self.d, self.reach, self.width, self.height = drawing, reach, width, height
        self.left = 20 + column * (width + _GAP)
        self.base = top + row * (height + 62) + height

    def x(self, value):
        return round(self.left + (value / self.reach + 1) / 2 * self.width, 1)

    def title(self, text, note=""):
        self.d.text(self.left, self.base - self.height - 12, text, weight="bold")
        self.d.text(self.left + self.width, self.base - self.height - 12, note, size=12,
                    colour=MUTED, anchor="end")

    def bars(self, groups, colours=(_PALE,)):
        """Histograms of groups of weights, one on top of the other."""
        counts = [_histogram(group, self.reach) for group in groups]
        peak = np.sum(counts, axis=0).max()
        foot = np.zeros(_BINS)
        edges = np.linspace(-self.reach, self.reach, _BINS + 1)
        for group, colour in zip(counts, colours, strict=True):
            for number in np.flatnonzero(group):
                low, high = self.x(edges[number]), self.x(edges[number + 1])
                bottom, top = (self.base - round(tall / peak * (self.height - 14), 1)
                               for tall in (foot[number], foot[number] + group[number]))
                self.d.box(low + 0.5, top, high - low - 1, bottom - top, fill=colour,
                           stroke="none", radius=0)
            foot += group

    def axis(self):
        self.d.line([(self.left, self.base), (self.left + self.width, self.base)], width=1)
        for value in range(-int(self.reach), int(self.reach) + 1):
            self.d.line([(self.x(value), self.base), (self.x(value), self.base + 4)], width=1)
            self.d.text(self.x(value), self.base + 18, value, size=11, colour=MUTED,
                        anchor="middle")

    def level(self, value, colour=COLOURS[0]):
        x = self.x(value)
        self.d.line([(x, self.base), (x, self.base - self.height)], colour=colour, width=2)
        self.d.box(x - 4, self.base - 4, 8, 8, fill=colour, stroke=colour, radius=4)

    def threshold(self, value):
        x = self.x(value)
        self.d.line([(x, self.base), (x, self.base - self.height + 14)], colour=COLOURS[1],
                    width=1.2, dash=True)


def _histogram(weights, reach):
    return np.histogram(weights, _BINS, (-reach, reach))[0]


def _legend(d, text):
    d.text(20, 28, text, size=15, weight="bold")
    d.line([(20, 46), (44, 46)], colour=COLOURS[0], width=2)
    d.text(50, 50, "level", size=12)
    d.line([(100, 46), (124, 46)], colour=COLOURS[1], width=1.2, dash=True)
    d.text(130, 50, "threshold", size=12)


def _grid(title, heading, panels, reach=4.0):
    """Two panels a line, of quantizers by name."""
    weights, lines = _weights(), -(-len(panels) // 2)
    d = Drawing(2 * _WIDTH + _GAP + 40, _TOP + lines * (_HEIGHT + 62) - 8, title)
    _legend(d, heading)
    d.text(2 * _WIDTH + _GAP + 20, 50, "4,096 weights of a logistic density, in units of their "
                                       "root mean square", size=12, colour=MUTED, anchor="end")
    for number, (name, quantizer) in enumerate(panels.items()):
        values = _quantized(quantizer, weights)
        error = np.mean((weights - values) ** 2)
        panel = _Panel(d, number % 2, number // 2, reach, top=_TOP + 20)
        panel.title(name, f"squared error {error:.3f}")
        panel.bars([weights])
        levels, thresholds = _steps(weights, values)
        for value in thresholds:
            panel.threshold(value)
        for value in levels:
            if abs(value) <= reach:
                panel.level(value)
        panel.axis()
    return d.svg()


def lsbq():
    """Text of ``levels-lsbq.svg``."""
    from xnorloom.sw.quantizers.lsbq import LsbqWeight

    return _grid("Levels and thresholds of one plane, of the ternary optimum, of two greedy planes "
                 "and of the optimum of two planes", "LSBQ: one plane, ternary values, two planes",
                 {"ls1": LsbqWeight("ls1"), "ternary": LsbqWeight("ternary"),
                  "greedy-2": LsbqWeight("greedy-2"), "ls2": LsbqWeight("ls2")})


def sawb():
    """Text of ``levels-sawb.svg``."""
    from xnorloom.sw.quantizers.sawb import SawbWeight

    return _grid("Levels and thresholds of SAWB with two, three and four bits, and with a level "
                 "for zero", "SAWB: even steps up to a clip from two statistics",
                 {"2 bits": SawbWeight(2), "2 bits with zero": SawbWeight(2, zero_aligned=True),
                  "3 bits": SawbWeight(3), "4 bits": SawbWeight(4)})


def balanced():
    """Text of ``levels-balanced.svg``."""
    from xnorloom.sw.quantizers.balanced import BalancedWeight

    return _grid("Levels and thresholds of balanced quantization by three scales, and with three "
                 "bits", "Balanced: thresholds at means of means, levels at equal steps",
                 {"2 bits, scale max |w|": BalancedWeight(2, scale="max"),
                  "2 bits, scale 2.5 mean |w|": BalancedWeight(2, scale="mean"),
                  "2 bits, scale by least squares": BalancedWeight(2, scale="least-squares"),
                  "3 bits, scale by least squares": BalancedWeight(3, scale="least-squares")},
                 reach=6.0)


def gpfq():
    """Text of ``levels-gpfq.svg``: which weights take which level."""
    import torch

    from xnorloom.sw.quantizers.alphabet import Alphabet
    from xnorloom.sw.quantizers.gpfq import gpfq as solve
    from xnorloom.sw.quantizers.gram import GramSums

    rng, neurons, inputs, samples = np.random.default_rng(0), 32, 256, 64
    weights = rng.permutation(np.resize(_weights(), neurons * inputs)).reshape(neurons, inputs)
    data = rng.normal(size=(samples, inputs))
    sums = GramSums(inputs)
    sums.add(*[torch.from_numpy(data)] * 2)
    d = Drawing(2 * _WIDTH + _GAP + 40, _TOP + 2 * (_HEIGHT + 62) - 8,
                "Which weights take which level, by rounding and by GPFQ: GPFQ gives weights of "
                "one size different levels, to make up for errors before them")
    d.text(20, 28, "GPFQ: the level of a weight depends on the errors before it", size=15,
           weight="bold")
    d.text(20, 50, f"{neurons} neurons of {inputs} inputs, {samples} samples; the colour is the "
                   "level that a weight takes, the lines are the levels", size=12, colour=MUTED)
    for row, bits in enumerate((1, 2)):
        alphabet = Alphabet(bits)
        step = alphabet.step(2.0)
        followed = solve(torch.from_numpy(weights), sums.gram, sums.cross, alphabet, step).numpy()
        for column, (name, values) in enumerate((("rounding", alphabet.round(weights, step)),
                                                 ("GPFQ", followed))):
            error = (np.sum(((weights - values) @ data.T) ** 2)
                     / np.sum((weights @ data.T) ** 2))
            levels = np.unique(values)
            panel = _Panel(d, column, row, 4.0, top=_TOP + 20)
            panel.title(f"{name}, {len(levels)} levels", f"output's squared error {error:.3f}")
            panel.bars([weights[values == level] for level in levels], COLOURS[:len(levels)])
            for level, colour in zip(levels, COLOURS, strict=False):
                panel.level(level, colour)
            panel.axis()
    return d.svg()


def syq():
    """Text of ``levels-syq.svg``: a scale for every pixel of a kernel."""
    import torch

    from xnorloom.sw.quantizers.syq import SyqWeight

    # Pixels in the middle of a kernel tend to be larger.
    sizes = np.outer((0.6, 1.0, 0.7), (0.6, 1.0, 0.7))
    points = _weights()[::16]
    rng = np.random.default_rng(0)
    kernel = np.stack([rng.permutation(points) * size for size in sizes.ravel()])
    kernel = torch.from_numpy(kernel.reshape(3, 3, 16, 16).transpose(2, 3, 0, 1).copy())
    quantizer = SyqWeight(kernel, eta=0.05)
    values = quantizer.planes(kernel).reconstruct()
    cut = 0.05 * float(kernel.abs().max())
    width, height = 255, 96
    d = Drawing(3 * width + 2 * _GAP + 40, _TOP + 3 * (height + 62) - 2,
                "Ternary levels of nine kernel pixels: one threshold for the layer, a scale for "
                "each pixel")
    _legend(d, "SYQ: one threshold for a layer, one scale for every pixel of its kernels")
    for row, column in np.ndindex(3, 3):
        weights = kernel[:, :, row, column].numpy().ravel()
        panel = _Panel(d, column, row, 2.0, width=width, height=height, top=_TOP + 20)
        alpha = float(quantizer.alpha.detach()[3 * row + column])
        panel.title(f"pixel {row}, {column}", f"alpha {alpha:.2f}")
        panel.bars([weights])
        for value in (-cut, cut):
            panel.threshold(value)
        for value in np.unique(values[:, :, row, column]):
            panel.level(value)
        panel.axis()
    return d.svg()


PICTURES = {"levels-lsbq.svg": lsbq, "levels-sawb.svg": sawb, "levels-balanced.svg": balanced,
            "levels-gpfq.svg": gpfq, "levels-syq.svg": syq}
"""Name of a file -> function that returns its text."""

"""How fast the quantizers are, beside what a reader would write first, and beside sorting alone.

    python -m benchmarks.quantizers [--json out.json] [--repeats 7] [--only ls2,gpfq]

One thread; the least of several repeats, taken in turn. Every pair of results is compared: what is
timed gives the same.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from xnorloom.sw.quantizers.balanced import BalancedWeight, equalize
from xnorloom.sw.quantizers.gpfq import Alphabet, gpfq
from xnorloom.sw.quantizers.gram import GramSums
from xnorloom.sw.quantizers.least_squares import least_squares_scales, solve_scales
from xnorloom.sw.quantizers.sawb import IBM_COEFFICIENTS, SawbWeight

SIZES = (10 ** 5, 10 ** 6, 10 ** 7)
ROWS = (512, 4608)
LAYERS = ((32, 288), (64, 288), (64, 576), (128, 1152), (256, 2304), (512, 4608))
"""Outputs, and inputs times taps, of inner layers of our networks and of ResNet-18."""
SAWB_SIZE = 2_400_000
BALANCED_BITS = (2, 4, 8)
GPFQ_SHAPE = (512, 512, 1000)
REPEATS = 7
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}


# What a reader of the papers would write first.

def plain_two_planes(rows):
    """Scales of two planes for every row: sort, prefix sums, every split."""
    ordered = np.sort(np.abs(rows), axis=1).astype(np.float64)
    low_sum = np.cumsum(ordered, axis=1)
    total, low_sum = low_sum[:, -1:], low_sum[:, :-1]
    low_count = np.arange(1, rows.shape[1])
    high_count = rows.shape[1] - low_count
    gain = low_sum ** 2 / low_count + (total - low_sum) ** 2 / high_count
    best = gain.argmax(axis=1)[:, None]
    low = np.take_along_axis(low_sum, best, axis=1) / (best + 1)
    high = (total - np.take_along_axis(low_sum, best, axis=1)) / (rows.shape[1] - 1 - best)
    return np.concatenate([high + low, high - low], axis=1).T / 2


def plain_ternary(rows):
    """Two equal scales for every row: sort downwards, prefix sums, every split."""
    ordered = np.sort(np.abs(rows), axis=1)[:, ::-1].astype(np.float64)
    high_sum = np.cumsum(ordered, axis=1)
    best = (high_sum ** 2 / np.arange(1, rows.shape[1] + 1)).argmax(axis=1)[:, None]
    level = np.take_along_axis(high_sum, best, axis=1)[:, 0] / (best[:, 0] + 1)
    return np.stack([level, level]) / 2


def plain_balanced(values, bits):
    """Codes of recursive equalization by the mean, set by set."""
    codes = np.empty(values.shape, dtype=np.int64)

    def split(chosen, level, first):
        here = values[chosen]
        if level == 0:
            low = here.min()
            codes[chosen] = first - ((here == low) & (first > 0))
            return
        upper = here >= here.mean()
        for part, number in ((chosen[~upper], 0), (chosen[upper], 1)):
            if len(part):
                split(part, level - 1, first + (number << level - 1))

    split(np.arange(len(values)), bits, 0)
    return codes


def plain_gpfq(weight, analog, quantized, half, step):
    """GPFQ weight by weight, the error of every sample kept."""
    error = np.zeros((len(weight), len(analog)))
    result = np.empty_like(weight)
    for t in range(weight.shape[1]):
        x = np.ascontiguousarray(quantized[:, t])
        error += np.outer(weight[:, t], analog[:, t])
        index = np.floor(error @ x / (x @ x) / step + 0.5)
        result[:, t] = np.clip(index, -half, half) * step
        error -= np.outer(result[:, t], x)
    return result


def plain_sawb(weight, bits=2):
    """Values of SAWB in four lines of torch; autograd rounds straight through."""
    first, second = IBM_COEFFICIENTS[2 ** bits]
    alpha = (first * weight.square().mean().sqrt() + second * weight.abs().mean()).detach()
    code = (weight.clamp(-alpha, alpha) / alpha + 1) / 2 * (2 ** bits - 1)
    code = code + (code.round() - code).detach()
    return alpha * (2 * code / (2 ** bits - 1) - 1)


@dataclass(frozen=True)
class Case:
    """What is timed: ours, the same as a reader would write it, and perhaps a sort of the same
    values; ``baseline`` names what wrote it."""

    title: str
    ours: Callable
    plain: Callable
    sort: Callable | None = None
    baseline: str = "numpy"


def cases(sizes=SIZES, rows=ROWS, layers=LAYERS, balanced_size=SIZES[1], layer_size=SIZES[2],
          sawb_size=SAWB_SIZE, gpfq_shape=GPFQ_SHAPE):
    """All cases; each is made when it is its turn, as ten million values take room."""
    def least_squares(title, shape, method, plain):
        values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        tensor = torch.from_numpy(values)
        return Case(title, lambda: least_squares_scales(tensor, method).numpy(),
                    lambda: plain(values), lambda: np.sort(values, axis=1))

    for method, plain in (("ls2", plain_two_planes), ("ternary", plain_ternary)):
        for size in sizes:
            yield least_squares(f"{method}, {size:,} values", (1, size), method, plain)
        yield least_squares(f"{method}, rows {rows[0]:,} x {rows[1]:,}", rows, method, plain)
    for shape in layers:
        for method, plain in (("ls2", plain_two_planes), ("ternary", plain_ternary)):
            yield _layer_case(f"{method} layer, {shape[0]:,} x {shape[1]:,}", shape, method, plain)
    yield _sawb_case(sawb_size)
    for bits in BALANCED_BITS:
        yield _balanced_layer_case(layer_size, bits)
    for bits in BALANCED_BITS:
        values = np.random.default_rng(1).normal(size=balanced_size)
        yield Case(f"balanced, {bits} bits, {balanced_size:,} values",
                   lambda values=values, bits=bits: equalize(torch.from_numpy(values), bits)
                   .codes.numpy(),
                   lambda values=values, bits=bits: plain_balanced(values, bits))
    yield _gpfq_case(*gpfq_shape)


def _layer_case(title, shape, method, plain):
    """Scales as a layer's forward pass finds them, beside torch's sort of the same rows."""
    tensor = torch.from_numpy(np.random.default_rng(3).normal(size=shape).astype(np.float32))
    return Case(title, lambda: solve_scales(tensor, method).numpy(),
                lambda: plain(tensor.numpy()), lambda: tensor.sort(dim=1).values)


def _sawb_case(size):
    weight = torch.from_numpy(np.random.default_rng(4).normal(size=(size // 9, 1, 3, 3))
                              .astype(np.float32)).requires_grad_()
    upstream, quantizer = torch.ones_like(weight), SawbWeight(2)

    def work(function):
        weight.grad = None
        function(weight).backward(upstream)
        return weight.grad.numpy()

    return Case(f"SAWB forward and backward, {size:,} weights", lambda: work(quantizer),
                lambda: work(plain_sawb), baseline="torch")


def _balanced_layer_case(size, bits):
    """A layer's values, beside its codes alone."""
    values = np.random.default_rng(5).normal(size=(size // 10, 10)).astype(np.float32)
    weight, quantizer = torch.from_numpy(values), BalancedWeight(bits, scale="max")
    top, largest = np.float32(2 ** bits - 1), np.abs(values).max()

    def plain():
        codes = plain_balanced(values.astype(np.float64).ravel(), bits).reshape(values.shape)
        return codes * (2 * largest / top) - largest

    return Case(f"balanced layer, {bits} bits, {size:,} weights", lambda: quantizer(weight).numpy(),
                plain)


def _gpfq_case(neurons, inputs, samples):
    rng = np.random.default_rng(2)
    weight = rng.uniform(-1, 1, (neurons, inputs))
    analog = rng.normal(size=(samples, inputs))
    quantized = analog + 0.1 * rng.normal(size=analog.shape)
    alphabet = Alphabet(bits=3)
    step = alphabet.step(1.0)

    def ours():
        sums = GramSums(inputs)
        sums.add(torch.from_numpy(analog), torch.from_numpy(quantized))
        return gpfq(torch.from_numpy(weight), sums.gram, sums.cross, alphabet, step).numpy()

    return Case(f"GPFQ, {neurons:,} neurons, {inputs:,} inputs, {samples:,} samples", ours,
                lambda: plain_gpfq(weight, analog, quantized, alphabet.half, step))


def measure(case, repeats=REPEATS):
    """Seconds of a case.

    Returns
    -------
    dict
        ``title``, ``baseline``, ``ours``, ``plain`` and perhaps ``sort``.

    Raises
    ------
    SystemExit
        If ours and plain give different results.
    """
    works = {name: work for name in ("ours", "plain", "sort") if (work := getattr(case, name))}
    best, results = dict.fromkeys(works, float("inf")), {}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            results[name] = work()
            best[name] = min(best[name], time.perf_counter() - start)
    # Where splits are equally good to rounding, the scales of either are right.
    if not np.allclose(results["ours"], results["plain"], rtol=1e-5, atol=1e-6):
        raise SystemExit(f"{case.title}: results must be the same, but are not")
    return {"title": case.title, "baseline": case.baseline, **best}


def report(figures):
    """The figures as a table of text."""
    width = max(len(row["title"]) for row in figures)
    heads = (f"{'ours':>11}", f"{'plain':>11}", f"{'sort':>11}", f"{'plain/ours':>13}",
             f"{'sort/ours':>12}")
    lines = [f"{'seconds':{width}}" + "".join(heads)]
    for row in figures:
        sort = row.get("sort")
        lines.append(f"{row['title']:{width}}{row['ours']:11.5f}{row['plain']:11.5f}"
                     + (f"{sort:11.5f}" if sort else " " * 11)
                     + f"{row['plain'] / row['ours']:13.2f}"
                     + (f"{sort / row['ours']:12.2f}" if sort else ""))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", default="", help="beginnings of titles, by comma")
    options = parser.parse_args()
    if not ONE_THREAD.items() <= os.environ.items():
        # Libraries read these when they are loaded: begin anew.
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.quantizers", *sys.argv[1:]],
                  os.environ | ONE_THREAD)
    wanted = tuple(options.only.lower().split(","))
    figures = [measure(case, options.repeats) for case in cases()
               if case.title.lower().startswith(wanted)]
    print(report(figures))
    if options.json:
        partial = options.json.with_name(f".{options.json.name}.part")
        partial.write_text(json.dumps({"seconds": figures, "cores": os.cpu_count(),
                                       "numpy": np.__version__, "torch": torch.__version__},
                                      indent=2) + "\n")
        partial.replace(options.json)


if __name__ == "__main__":
    main()

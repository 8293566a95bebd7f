"""Scales of planes: the exact optimum on every kind of row, without sorting it."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xnorloom.sw.quantizers import clustering
from xnorloom.sw.quantizers.least_squares import METHODS, least_squares_scales, residual_signs
from xnorloom.sw.training.train import Recipe, train


def error(row, scales):
    """Squared error of the row at the signs that the encoder gives it."""
    row, scales = torch.from_numpy(row.astype(np.float64)), torch.as_tensor(scales)
    bits = residual_signs(row, scales)
    values = (torch.where(bits, 1.0, -1.0) * scales[:, None]).sum(dim=0)
    return float(((row - values) ** 2).sum())


def solve(rows, method):
    return least_squares_scales(torch.from_numpy(np.asarray(rows)), method).numpy()


def scatter(part):
    return ((part - part.mean()) ** 2).sum() if len(part) else 0.0


def optimum(row, method):
    """The least squared error over all splits of the sorted magnitudes, each computed by itself."""
    ordered = np.sort(np.abs(row)).astype(np.float64)
    low = scatter if method == "ls2" else np.square
    return min(np.sum(low(ordered[:cut])) + scatter(ordered[cut:]) for cut in range(len(ordered)))


def scanned(row, method):
    """The same for long rows: the split is found by prefix sums, in extended precision."""
    ordered = np.sort(np.abs(row)).astype(np.longdouble)
    origin = ordered[0] if method == "ls2" else 0
    below = np.concatenate([[0], np.cumsum(ordered - origin)])
    count = np.arange(len(ordered))
    gain = (below[-1] - below[:-1]) ** 2 / (len(ordered) - count)
    if method == "ls2":
        gain += below[:-1] ** 2 / np.maximum(count, 1)
    cut = int(gain.argmax())
    low = scatter(ordered[:cut]) if method == "ls2" else (ordered[:cut] ** 2).sum()
    return float(low + scatter(ordered[cut:]))


RNG = np.random.default_rng(0)

KINDS = {
    "gauss": lambda n: RNG.normal(size=n),
    "laplace": lambda n: RNG.laplace(size=n),
    "uniform": lambda n: RNG.uniform(-1, 1, size=n),
    "relu": lambda n: np.maximum(RNG.normal(size=n), 0),
    "lognormal": lambda n: np.exp(2 * RNG.normal(size=n)),
    "cauchy": lambda n: RNG.standard_cauchy(size=n),
    "integers": lambda n: RNG.integers(-4, 5, size=n).astype(float),
    "one outlier": lambda n: np.append(RNG.normal(size=n - 1), 1000.0),
    "one zero": lambda n: np.append(10 + RNG.normal(size=n - 1), 0.0),
    "tight": lambda n: 1 + 1e-5 * RNG.normal(size=n),
    "tight and far": lambda n: np.where(RNG.random(n) < 0.3, 1, 1e4) + 1e-5 * RNG.normal(size=n),
    "three levels": lambda n: RNG.choice([1.0, 2, 5], size=n) + 0.01 * RNG.normal(size=n),
    "sparse": lambda n: RNG.normal(size=n) * (RNG.random(n) < 0.05),
    "pareto": lambda n: RNG.pareto(1.1, size=n),
    "small": lambda n: 1e-30 * RNG.normal(size=n),
}


@pytest.mark.parametrize("method", ["ls2", "ternary"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_the_optimum_of_long_rows(kind, dtype, method):
    for count, size in ((3, 20), (3, 700), (40, 2000), (2, 70_000)):
        rows = np.stack([KINDS[kind](size) for _ in range(count)]).astype(dtype)
        scales = solve(rows, method)
        for row, found in zip(rows, scales.T, strict=True):
            energy = float((row.astype(np.float64) ** 2).sum())
            np.testing.assert_allclose(error(row, found), scanned(row, method), rtol=1e-9,
                                       atol=1e-26 * energy)


@st.composite
def short_rows(draw):
    """A few rows with ties, zeros, clusters and outliers."""
    magnitude = st.one_of(
        st.sampled_from([0.0, 1.0, 1.0 + 2 ** -20, 2.0, 3.0, 9.0, 1e-6, 1e6]),
        st.floats(0, 10, width=32, allow_subnormal=False),
        st.floats(0, 2 ** -10, width=32, allow_subnormal=False).map(lambda small: 1 + small))
    size = draw(st.integers(1, 60))
    rows = draw(st.lists(st.lists(magnitude, min_size=size, max_size=size), min_size=1, max_size=3))
    signs = np.random.default_rng(draw(st.integers(0, 99))).choice([-1.0, 1.0], (len(rows), size))
    return np.array(rows) * signs


@pytest.mark.parametrize("method", ["ls2", "ternary"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(rows=short_rows())
def test_the_optimum_of_short_rows(dtype, method, rows):
    rows = rows.astype(dtype)
    scales = solve(rows, method)
    assert (scales >= 0).all() and (scales[0] >= scales[1]).all()
    for row, found in zip(rows, scales.T, strict=True):
        energy = float((row.astype(np.float64) ** 2).sum())
        np.testing.assert_allclose(error(row, found), optimum(row, method), rtol=1e-9,
                                   atol=1e-26 * energy)


def assert_order(rows):
    errors = {method: [error(row, scales) for row, scales in
                       zip(rows, solve(rows, method).T, strict=True)] for method in METHODS}
    rounding = 1e-12 * (rows.astype(np.float64) ** 2).sum(axis=1)
    assert errors["ls1"] == errors["greedy-1"]
    for better, worse in (("ls2", "ternary"), ("ls2", "greedy-2"), *itertools.pairwise(
            f"greedy-{planes}" for planes in range(8, 0, -1))):
        assert (np.array(errors[better]) <= errors[worse] + rounding).all(), (better, worse)


@given(rows=short_rows())
def test_the_order_of_the_methods(rows):
    assert_order(rows)


def test_the_order_of_the_methods_on_trained_weights():
    model = train("cnn", data="digits", recipe=Recipe(float_epochs=1)).model
    weights = [each for each in model.parameters() if each.dim() > 1]
    assert len(weights) == 4
    for weight in weights:
        assert_order(weight.detach().flatten(1).numpy())


def test_no_other_signs_and_scales_do_better():
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=4)))
    for _ in range(5):
        x = RNG.normal(size=4)
        best = np.inf
        for first, second in itertools.product(signs, repeat=2):
            plane = np.stack([first, second], axis=1)
            fitted = plane @ np.linalg.lstsq(plane, x, rcond=None)[0]
            best = min(best, ((x - fitted) ** 2).sum())
        assert error(x, solve(x[None], "ls2")[:, 0]) == pytest.approx(best, rel=1e-9, abs=1e-12)


def test_no_other_ternary_values_do_better():
    codes = np.array(list(itertools.product([-1.0, 0.0, 1.0], repeat=6)))
    codes = codes[codes.any(axis=1)]
    for _ in range(5):
        x = RNG.normal(size=6)
        level = np.maximum(codes @ x / (codes ** 2).sum(axis=1), 0)
        best = ((x - codes * level[:, None]) ** 2).sum(axis=1).min()
        assert error(x, solve(x[None], "ternary")[:, 0]) == pytest.approx(best, rel=1e-9)


DEGENERATE = {
    "zeros": ([0.0] * 7, [0, 0], [0, 0]),
    "equal": ([-0.1, 0.1, 0.1], [0.1, 0], [0.05, 0.05]),
    "one": ([-2.5], [2.5, 0], [1.25, 1.25]),
    "one zero": ([0.0], [0, 0], [0, 0]),
    "two": ([1.0, -4.0], [2.5, 1.5], [2, 2]),
    "one low": ([0.0, 5, 5, -5, 5], [2.5, 2.5], [2.5, 2.5]),
    "one high": ([1.0] * 30 + [1001], [501, 500], [500.5, 500.5]),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_rows(name, dtype):
    row, two, ternary = (torch.tensor(each, dtype=torch.float64) for each in DEGENERATE[name])
    row = row.to(dtype)[None]
    assert torch.allclose(least_squares_scales(row, "ls2")[:, 0], two, rtol=1e-2)
    assert torch.allclose(least_squares_scales(row, "ternary")[:, 0], ternary, rtol=1e-2)
    for method in METHODS:
        assert torch.equal(least_squares_scales(row, method),
                           least_squares_scales(row.double(), method))


def test_equal_magnitudes_are_exact():
    scales = least_squares_scales(torch.tensor([[0.1, -0.1, 0.1] * 1000]), "ls2")[:, 0]
    assert scales.tolist() == [float(torch.tensor(0.1)), 0.0]


def test_squares_of_float32_do_not_overflow():
    row = torch.tensor([[3e38, -3e38, 1e38]])
    expected = {"ls2": [2e38, 1e38], "ternary": [1.5e38, 1.5e38], "ls1": [7e38 / 3]}
    for method, scales in expected.items():
        assert least_squares_scales(row, method)[:, 0].tolist() == pytest.approx(scales, rel=1e-6)


@pytest.mark.parametrize("power", [-900, 900])
@pytest.mark.parametrize("method", METHODS)
def test_scales_grow_with_the_row_to_the_ends_of_float64(method, power):
    rows = np.stack([KINDS["gauss"](50), KINDS["integers"](50)])
    factor = np.ldexp(1.0, [[power], [0]])
    np.testing.assert_array_equal(solve(rows * factor, method), solve(rows, method) * factor[:, 0])


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_solved_each_for_itself(method):
    rows = np.stack([KINDS[kind](900) for kind in KINDS])
    together = solve(rows, method)
    for row, found in zip(rows, together.T, strict=True):
        np.testing.assert_allclose(solve(row[None], method)[:, 0], found, rtol=1e-13, atol=1e-45)
    across = torch.from_numpy(np.ascontiguousarray(rows.T)).T
    np.testing.assert_array_equal(least_squares_scales(across, method), together)


@pytest.mark.parametrize("kind", ["gauss", "laplace", "relu", "cauchy", "one outlier", "tight"])
def test_only_a_few_elements_are_sorted(kind, monkeypatch):
    seen = []

    def between(*args, original=clustering._Bins.between):
        seen.append(original(*args))
        return seen[-1]

    monkeypatch.setattr(clustering._Bins, "between", between)
    rows = KINDS[kind](300_000).astype(np.float32)[None]
    for method in ("ls2", "ternary"):
        solve(rows, method)
    assert sum(len(each) for each in seen) < 0.02 * rows.size


def test_greedy_planes_fit_what_is_left():
    rows = RNG.normal(size=(3, 11))
    residual, expected = rows, []
    for _ in range(4):
        expected.append(np.abs(residual).mean(axis=1))
        residual = residual - expected[-1][:, None] * np.where(residual >= 0, 1, -1)
        np.testing.assert_allclose(solve(rows, f"greedy-{len(expected)}"), expected, rtol=1e-14)


QUANTILES = (np.arange(200_000) + 0.5) / 200_000
DENSITIES = {
    "gauss": torch.special.ndtri(torch.from_numpy(QUANTILES)).numpy(),
    "laplace": -np.sign(QUANTILES - 0.5) * np.log1p(-2 * np.abs(QUANTILES - 0.5)),
    "uniform": QUANTILES - 0.5,
    "logistic": np.log(QUANTILES / (1 - QUANTILES)),
}
"""Quantiles of four densities."""


@pytest.mark.parametrize("density, greedy, two, two_error, level, ternary_error", [
    ("gauss", (.36338, .13045, .05839, .03290), (.9816, .5288), .11748, 1.2240, .19017),
    ("laplace", (.50000, .22933, .14255, .09512), (1.1269, .7071), .17619, 1.4142, .26424),
    ("uniform", (.25000, .06250, .01563, .00391), (.8660, .4330), .06250, 1.1547, .11111),
    ("logistic", (.41584, .17367, .09442, .06092), (1.0476, .5906), .14723, 1.2621, .23073)])
def test_constants_of_densities(density, greedy, two, two_error, level, ternary_error):
    x = DENSITIES[density] / np.sqrt(np.mean(DENSITIES[density] ** 2))
    scales = {method: solve(x[None], method)[:, 0] for method in METHODS}
    np.testing.assert_allclose(scales["ls2"], two, atol=3e-4)
    np.testing.assert_allclose(scales["ternary"], [level / 2] * 2, atol=3e-4)
    errors = {method: error(x, found) / len(x) for method, found in scales.items()}
    for planes, expected in enumerate(greedy, start=1):
        assert errors[f"greedy-{planes}"] == pytest.approx(expected, abs=5e-5)
    assert errors["ls2"] == pytest.approx(two_error, abs=5e-5)
    assert errors["ternary"] == pytest.approx(ternary_error, abs=5e-5)


@given(scales=st.lists(st.floats(0, 5), min_size=1, max_size=5),
       x=st.lists(st.floats(-20, 20), min_size=2, max_size=40))
def test_signs_rise_with_the_value_whatever_the_scales(scales, x):
    bits = residual_signs(torch.tensor(x).sort().values, torch.tensor(scales))
    codes = (bits.T.long() * 2 ** torch.arange(len(scales) - 1, -1, -1)).sum(dim=1)
    assert (codes.diff() >= 0).all()


def test_a_residual_of_zero_is_positive():
    x = torch.tensor([-0.0, 0.0, 2.0, -2.0, 1.5, -2.5])
    bits = residual_signs(x, torch.tensor([2.0, 0.5]))
    assert bits.int().tolist() == [[1, 1, 1, 0, 1, 0], [0, 0, 1, 1, 0, 0]]
    assert residual_signs(torch.tensor([-0.0]), torch.zeros(3)).all()


EMPTY = "Rows must have shape (rows, n) and not be empty, but have shape "


@pytest.mark.parametrize("rows, message", [
    (torch.zeros(2, 0), EMPTY + "(2, 0)"),
    (torch.zeros(0, 2), EMPTY + "(0, 2)"),
    (torch.zeros(3), EMPTY + "(3,)"),
    (torch.tensor([[1.0, float("nan")]]), "Rows must be finite, not nan"),
    (torch.tensor([[1.0, 2.0], [float("-inf"), 0.0]]), "Rows must be finite, not inf"),
])
@pytest.mark.parametrize("method", ["ls1", "ls2", "ternary", "greedy-2"])
def test_bad_rows(method, rows, message):
    with pytest.raises(ValueError) as caught:
        least_squares_scales(rows, method)
    assert str(caught.value) == message


def test_unknown_method():
    with pytest.raises(ValueError, match="^Least-squares method must be a registered name, not "
                                         "'ls3', did you mean 'ls2'\\?$"):
        least_squares_scales(torch.zeros(1, 2), "ls3")

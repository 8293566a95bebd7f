import copy
import pickle

import numpy as np
import pytest
import torch

from xnorloom.study.decay import decay_slope, error_decay
from xnorloom.sw.bitplanes import BitPlanes
from xnorloom.sw.quantizers.alphabet import Alphabet
from xnorloom.sw.quantizers.clipped import ClippedActivation
from xnorloom.sw.quantizers.gpfq import GpfqConfig, GpfqWeight, gpfq, radius
from xnorloom.sw.quantizers.gram import GramSums

ALPHABETS = [Alphabet(1), Alphabet(2), Alphabet(4), Alphabet(7), Alphabet(1, midrise=True),
             Alphabet(3, midrise=True), Alphabet(8, midrise=True),
             Alphabet(3, sparsity="soft", threshold=0.07),
             Alphabet(1, sparsity="hard", threshold=0.1),
             Alphabet(5, sparsity="hard", threshold=0.03)]


def alphabets():
    return pytest.mark.parametrize("alphabet", ALPHABETS, ids=str)


def random_case(seed=0, neurons=7, inputs=150, samples=60):
    """Weights, analog inputs and quantized inputs; no rounding argument of such data is a tie."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, inputs, generator=generator, dtype=torch.float64).abs()
    xt = x + 0.1 * torch.randn(samples, inputs, generator=generator, dtype=torch.float64)
    w = torch.randn(neurons, inputs, generator=generator, dtype=torch.float64) / 3
    return w, x, xt


def sums_of(x, xt, groups=1):
    sums = GramSums(x.shape[1] // groups, groups)
    sums.add(x, xt)
    return sums


def solve(w, x, xt, alphabet, step, generator=None):
    sums = sums_of(x, xt, x.shape[1] // w.shape[1])
    return gpfq(w, sums.gram, sums.cross, alphabet, step, generator)


def stepwise(w, x, xt, alphabet, step, generator=None):
    """The paper's recursion over samples, without any Gram matrix."""
    w, x, xt = w.numpy(), x.numpy(), xt.numpy()
    u, q = np.zeros((len(w), len(x))), np.zeros_like(w)
    for t in range(w.shape[1]):
        u += w[:, t:t + 1] * x[:, t]
        norm = xt[:, t] @ xt[:, t]
        z = u @ xt[:, t] / norm if norm else np.zeros(len(w))
        draw = 0.5 if generator is None else generator.random(len(w))
        q[:, t] = alphabet.round(z, step, draw)
        u -= q[:, t:t + 1] * xt[:, t]
    return torch.from_numpy(q)


def squared_error(w, q, x, xt):
    return (x @ w.T - xt @ q.T).square().sum()


@pytest.mark.parametrize("alphabet, wanted", [
    (Alphabet(2), [-1, -1, -1, -0.5, 0, 0, 0, 0.5, 0.5, 1, 1]),
    (Alphabet(2, midrise=True),
     [-0.75, -0.75, -0.75, -0.25, -0.25, -0.25, 0.25, 0.25, 0.75, 0.75, 0.75]),
    (Alphabet(2, sparsity="soft", threshold=0.25), [-1, -1, -0.5, 0, 0, 0, 0, 0, 0.5, 0.5, 1]),
    (Alphabet(2, sparsity="hard", threshold=0.25),
     [-1.25, -1.25, -0.75, -0.25, 0, 0, 0, 0, 0.75, 0.75, 1.25]),
], ids=str)
def test_rounding_is_the_papers(alphabet, wanted):
    # Ties go up, on both sides of zero.
    z = np.array([-9.0, -1.25, -0.76, -0.3, -0.25, -0.2, 0.0, 0.25, 0.5, 0.75, 9.0])
    np.testing.assert_array_equal(alphabet.round(z, 0.5), wanted)


@pytest.mark.parametrize("alphabet, levels", [
    (Alphabet(3), (0.3, 0.6)),
    (Alphabet(3, midrise=True), (0.15, 0.45)),
    (Alphabet(3, sparsity="soft", threshold=0.1), (0.0, 0.3)),
    (Alphabet(3, sparsity="hard", threshold=0.1), (0.1, 0.4)),
], ids=str)
@pytest.mark.parametrize("sign", [1, -1])
def test_stochastic_rounding_keeps_the_mean(alphabet, levels, sign):
    draws = np.random.default_rng(1).random(20000)
    rounded = sign * alphabet.round(np.full(len(draws), sign * 0.39), 0.3, draws)
    np.testing.assert_allclose(np.unique(rounded), levels, atol=1e-12)
    shrunk = 0.29 if alphabet.sparsity == "soft" else 0.39
    assert rounded.mean() == pytest.approx(shrunk, abs=5 * 0.15 / len(draws) ** 0.5)


@alphabets()
def test_levels_are_their_own_nearest_and_fit_eight_planes(alphabet):
    step = 0.3
    reach = np.linspace(-9, 9, 20001) * step * alphabet.half / 8
    levels = np.unique(alphabet.round(reach, step).round(12))
    assert len(levels) == alphabet.levels
    codes = alphabet.codes(torch.from_numpy(levels), step)
    bits, scales = alphabet.planes(codes.reshape(1, -1, 1, 1), step)
    assert len(bits) <= 8
    again = BitPlanes(bits.numpy(), scales.numpy()).reconstruct().ravel()
    np.testing.assert_allclose(again, levels, atol=1e-12)
    between = (levels[1:] + levels[:-1]) / 2
    for shift, wanted in ((-1e-6, codes[:-1]), (1e-6, codes[1:])):
        assert torch.equal(alphabet.codes(torch.from_numpy(between + shift), step), wanted)


def test_steps_reach_the_radius():
    w = torch.tensor([[0.1, -0.4, 0.2, 0.3], [0.8, 0.0, 0.1, -0.2]])
    assert radius(w) == pytest.approx(0.6)
    assert radius(w, 0.5) == pytest.approx((0.25 + 0.15) / 2)
    assert Alphabet(3).step(0.6) == Alphabet(3, midrise=True).step(0.6) == pytest.approx(0.15)
    hard = Alphabet(3, sparsity="hard", threshold=0.2)
    assert hard.round(np.array([9.0]), hard.step(0.6))[0] == pytest.approx(0.6)
    assert hard.step(0.0) == 0.0


@alphabets()
@pytest.mark.parametrize("inputs", [1, 63, 64, 150])
def test_gram_form_is_the_recursion(alphabet, inputs):
    for seed in range(3):
        case = random_case(seed, inputs=inputs)
        step = alphabet.step(0.8)
        assert torch.equal(solve(*case, alphabet, step), stepwise(*case, alphabet, step))
        mine, papers = (follow(*case, alphabet, step, np.random.default_rng(seed))
                        for follow in (solve, stepwise))
        assert torch.equal(mine, papers)


def test_groups_are_independent():
    w, x, xt = random_case(neurons=6, inputs=60)
    got = solve(w[:, :20], x, xt, Alphabet(2), 0.3)
    for group in range(3):
        rows, columns = slice(2 * group, 2 * group + 2), slice(20 * group, 20 * group + 20)
        alone = solve(w[rows, :20], x[:, columns], xt[:, columns], Alphabet(2), 0.3)
        assert torch.equal(got[rows], alone)


@pytest.mark.parametrize("alphabet, wanted", [(Alphabet(2), 0.0),
                                              (Alphabet(2, midrise=True), 0.15)], ids=str)
def test_an_input_that_is_never_seen_has_the_argument_zero(alphabet, wanted):
    w, x, xt = random_case()
    xt[:, [0, 70]] = 0
    got = solve(w, x, xt, alphabet, 0.3)
    assert (got[:, [0, 70]] == wanted).all() and torch.equal(got, stepwise(w, x, xt, alphabet, 0.3))


@alphabets()
def test_error_is_below_plain_rounding(alphabet):
    w, x, xt = random_case(inputs=300)
    step = alphabet.step(radius(w))
    plain = torch.from_numpy(alphabet.round(w.numpy(), step))
    mine = solve(w, x, xt, alphabet, step)
    assert squared_error(w, mine, x, xt) < squared_error(w, plain, x, xt)


@pytest.mark.parametrize("sparsity", ["soft", "hard"])
def test_sparsity_makes_zeros(sparsity):
    case = random_case(inputs=300)
    zeros = [(solve(*case, alphabet, 0.1) == 0).double().mean()
             for alphabet in (Alphabet(4), *(Alphabet(4, sparsity=sparsity, threshold=each)
                                             for each in (0.1, 0.3)))]
    assert zeros[0] < zeros[1] < zeros[2]


def test_sums_do_not_depend_on_batches():
    w, x, xt = random_case(inputs=24)
    whole, parts = sums_of(x, xt, 2), GramSums(12, 2)
    for rows, rows_t in zip(x.split(7), xt.split(7), strict=True):
        parts.add(rows, rows_t)
    assert parts.samples == whole.samples == len(x)
    for name in ("gram", "cross"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-12,
                                   atol=1e-12)
    torch.testing.assert_close(whole.gram[1], xt[:, 12:].T @ xt[:, 12:])
    torch.testing.assert_close(whole.cross[0], xt[:, :12].T @ x[:, :12])


def test_sums_tell_the_mean_and_the_square_of_the_error():
    w, x, xt = random_case(neurons=6, inputs=12)
    q = solve(w, x, xt, Alphabet(2), 0.3)
    sums = sums_of(x, xt)
    torch.testing.assert_close(sums.mean_error(w, q), (x @ w.T - xt @ q.T).mean(dim=0))
    energy = float((x @ w.T).square().sum())
    assert sums.squared_error(w, q, energy) == pytest.approx(float(squared_error(w, q, x, xt)))


def test_nothing_of_a_sample_is_kept():
    sums, sizes = GramSums(10), []
    for _ in range(3):
        sums.add(torch.ones(1000, 10), torch.ones(1000, 10))
        sizes.append(len(pickle.dumps(sums)))
    assert sizes[0] == sizes[2] < 1000 * 10


def test_error_falls_as_one_over_the_weights():
    samples = 32
    rows = error_decay([128, 256, 512, 1024], samples, bits=2)
    assert decay_slope(rows) == pytest.approx(-1.0, abs=0.1)
    for row in rows:
        assert row.gpfq * row.inputs / samples == pytest.approx(row.msq, rel=0.25)


def quantizers():
    return pytest.mark.parametrize("config", [
        GpfqConfig(), GpfqConfig(weight_bits=3, midrise=True, percentile=0.9, scalar=1.3),
        GpfqConfig(sparsity="soft", threshold=0.1), GpfqConfig(sparsity="hard", threshold=0.1),
        GpfqConfig(stochastic=True, seed=3)], ids=str)


@quantizers()
def test_a_solved_weight_stays_as_it_is(config):
    w, x, xt = random_case(neurons=4, inputs=90)
    kernel = w.float().reshape(4, 10, 3, 3)
    quantizer = config.weight_quantizer(kernel)
    solved = quantizer.solve(kernel, sums_of(x, xt))
    assert solved.shape == kernel.shape and solved.dtype == torch.float32
    assert torch.equal(quantizer(solved), solved) and len(solved.unique()) > 4
    wanted = quantizer.alphabet.step(config.scalar * radius(kernel.flatten(1), config.percentile))
    assert float(quantizer.step) == pytest.approx(wanted)
    assert torch.equal(quantizer.solve(kernel, sums_of(x, xt)), solved)
    fresh = config.weight_quantizer(kernel)
    fresh.load_state_dict(quantizer.state_dict())
    assert torch.equal(fresh(solved), solved)
    wide = copy.deepcopy(quantizer).double()(solved.double())
    torch.testing.assert_close(wide.float(), solved, rtol=1e-6, atol=0)


@quantizers()
def test_before_that_it_is_plain_rounding(config):
    kernel = random_case(neurons=4, inputs=90)[0].float().reshape(4, 10, 3, 3).requires_grad_()
    quantizer = config.weight_quantizer(kernel)
    step = quantizer.alphabet.step(config.scalar * radius(kernel.flatten(1), config.percentile))
    rounded = quantizer(kernel)
    inside = kernel.abs() < config.scalar * radius(kernel.flatten(1), config.percentile)
    limit = max(step, config.threshold if config.sparsity == "hard" else 0) / 2
    assert ((rounded - kernel).abs()[inside] <= limit * (1 + 1e-5)).all()
    rounded.sum().backward()
    assert (kernel.grad == 1).all()


@quantizers()
def test_zero_weights_stay_zero(config):
    w, x, xt = random_case(neurons=4, inputs=9)
    quantizer = config.weight_quantizer(w)
    assert (quantizer(torch.zeros_like(w)) == 0).all()
    assert (quantizer.solve(torch.zeros_like(w), sums_of(x, xt)) == 0).all()


def test_seeds_of_stochastic_rounding():
    w, x, xt = random_case()
    first, same, other = (GpfqWeight(Alphabet(4), seed=seed).solve(w, sums_of(x, xt))
                          for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_clip_of_least_squared_error(bits):
    values = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    quantizer = ClippedActivation(bits)
    quantizer.calibrate(lambda: iter(values.split(700)))

    def error(alpha):
        quantizer.alpha.data.fill_(alpha)
        return float((quantizer(values) - values.relu()).detach().square().sum())

    chosen = float(quantizer.alpha.detach())
    assert 0.5 < chosen < 3.5
    assert error(chosen) <= 1.002 * min(map(error, np.linspace(0.3, 4, 400)))


def test_activations_that_never_fire_keep_their_clip():
    quantizer = ClippedActivation(4)
    before = quantizer.alpha.clone()
    quantizer.calibrate(lambda: iter([-torch.rand(5), torch.zeros(3)]))
    assert torch.equal(quantizer.alpha, before)


@pytest.mark.parametrize("make, message", [
    (lambda: Alphabet(8), "Alphabet bits must be an integer from 1 to 7, not 8"),
    (lambda: Alphabet(9, midrise=True), "Alphabet bits must be an integer from 1 to 8, not 9"),
    (lambda: Alphabet(6, sparsity="hard", threshold=0.1),
     "Alphabet bits must be an integer from 1 to 5, not 6"),
    (lambda: Alphabet(2, sparsity="L1"),
     "Alphabet sparsity must be None, 'soft' or 'hard', not 'L1'"),
    (lambda: Alphabet(2, True, "soft", 0.1),
     "Alphabet sparsity must be None with midrise levels, which have no zero, not 'soft'"),
    (lambda: Alphabet(2, sparsity="soft"),
     "Alphabet threshold must be positive and finite with sparsity 'soft', not 0.0"),
    (lambda: Alphabet(2, threshold=0.5),
     "Alphabet threshold must be 0 with sparsity None, not 0.5"),
    (lambda: Alphabet(2, sparsity="hard", threshold=0.5).step(0.25),
     "Alphabet threshold must be below the largest level 0.25, not 0.5"),
    (lambda: GpfqWeight(Alphabet(2), scalar=0),
     "GpfqWeight scalar must be positive and finite, not 0"),
    (lambda: GpfqWeight(Alphabet(2), percentile=1.5),
     "GpfqWeight percentile must be above 0 and at most 1, not 1.5"),
    (lambda: gpfq(torch.zeros(2, 3), torch.zeros(3, 3), torch.zeros(2, 3, 3), Alphabet(2), 1.0),
     "gpfq gram and cross must have shape (groups, 3, 3), not (3, 3) and (2, 3, 3)"),
    (lambda: gpfq(torch.zeros(3, 3), *torch.zeros(2, 2, 3, 3), Alphabet(2), 1.0),
     "gpfq weight must have a multiple of 2 neurons, one part a group, not 3"),
    (lambda: GramSums(3).add(torch.zeros(5, 3), torch.zeros(4, 3)),
     "GramSums quantized samples must have shape (5, 3), not (4, 3)"),
    (lambda: GramSums(3).add(torch.full((5, 3), torch.nan), torch.zeros(5, 3)),
     "GramSums samples must be finite"),
])
def test_bad_input(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message

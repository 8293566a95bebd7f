import numpy as np
import pytest
import torch

from xnorloom.sw.quantizers.pact import PactActivation
from xnorloom.sw.quantizers.pixels import PixelQuantizer
from xnorloom.sw.training.fit import fit


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("alpha", [0.7, 1.0, 6.0])
def test_output_is_that_of_the_formula(bits, alpha):
    quantizer = PactActivation(bits, alpha)
    x = torch.linspace(-1, 9, 1001)
    top = 2 ** bits - 1
    alpha = float(quantizer.alpha.detach())
    wanted = np.rint(np.clip(x.double().numpy(), 0, alpha) * top / alpha) * alpha / top
    # A value within rounding of a tie may fall on either side.
    tie = np.abs(np.clip(x.double().numpy(), 0, alpha) * top / alpha % 1 - 0.5) < 1e-5
    np.testing.assert_allclose(quantizer(x).detach().numpy()[~tie], wanted[~tie], rtol=1e-6)


def test_half_goes_to_the_even_code():
    quantizer = PactActivation(2, 6.0)
    assert quantizer.encode(torch.tensor([1.0, 3.0, 5.0])).tolist() == [0, 2, 2]


def test_gradients_split_at_alpha():
    quantizer = PactActivation(2, 6.0)
    x = torch.tensor([-1.0, 0.0, 3.0, 6.0, 8.0], requires_grad=True)
    quantizer(x).backward(torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]))
    assert x.grad.tolist() == [0.0, 2.0, 4.0, 0.0, 0.0]
    assert float(quantizer.alpha.grad) == 24.0


def test_gradients_of_pact_plus():
    quantizer = PactActivation(2, 6.0, plus=True)
    x = torch.tensor([-1.0, 0.0, 2.5, 4.75, 6.0, 8.0], requires_grad=True)
    quantizer(x).backward(torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]))
    assert x.grad.tolist() == [0.0, 0.0, 4.0, 8.0, 0.0, 0.0]
    # Codes 1.25 and 2.375 before rounding: alpha gets a third of the two errors.
    assert quantizer.alpha.grad.item() == pytest.approx(48 - (4 * 0.25 + 8 * 0.375) / 3, rel=1e-6)


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_gradients_are_those_of_a_straight_through_rounding(bits, plus):
    generator = torch.Generator().manual_seed(bits)
    x, g = 6 * torch.randn(400, generator=generator), torch.randn(400, generator=generator)
    x.requires_grad_()
    alpha = torch.tensor(5.0, requires_grad=True)
    step = alpha / (2 ** bits - 1)
    clipped = torch.minimum(x.relu(), alpha)
    code = clipped / (step if plus else step.detach())
    rounded = code + (code.round() - code).detach()
    (rounded * (step if plus else step.detach())).backward(g)
    quantizer, inputs = PactActivation(bits, 5.0, plus=plus), x.detach().requires_grad_()
    quantizer(inputs).backward(g)
    torch.testing.assert_close(inputs.grad, x.grad)
    torch.testing.assert_close(quantizer.alpha.grad, alpha.grad, rtol=1e-4, atol=1e-4)


def test_plus_changes_gradients_only():
    x = torch.linspace(-1, 7, 500)
    assert torch.equal(PactActivation(2, 5.0)(x), PactActivation(2, 5.0, plus=True)(x))


@pytest.mark.parametrize("plus", [False, True])
def test_alpha_grows_to_hold_its_input_and_decay_pulls_it_down(plus):
    x = torch.rand(200, generator=torch.Generator().manual_seed(0))
    levels = []
    for decay in (0.0, 0.1):
        quantizer = PactActivation(4, 0.25, decay, plus=plus)
        optimizer = torch.optim.SGD(quantizer.parameters(), 1.0, weight_decay=quantizer.clip_decay)
        for _ in range(100):
            optimizer.zero_grad()
            (quantizer(x) - x).square().mean().backward()
            optimizer.step()
        levels.append(quantizer.alpha.item())
    assert 0.9 < levels[0] < 1.1
    assert 0.25 < levels[1] < levels[0] - 0.1


@pytest.mark.parametrize("bits", range(1, 9))
def test_codebook_is_what_forward_puts_out(bits):
    quantizer = PactActivation(bits, 3.3)
    book = quantizer.codebook()
    levels = book.reconstruct()
    assert levels[0] == 0 and (np.diff(levels) > 0).all()
    assert levels[-1] == pytest.approx(float(quantizer.alpha.detach()), rel=1e-12)
    assert book.offset == pytest.approx(book.scales.sum(), rel=1e-15)
    assert quantizer.pad_code == 0 and quantizer.pad_value() == 0.0
    x = torch.linspace(-1, 5, 601)
    np.testing.assert_allclose(quantizer(x).detach(), levels[quantizer.encode(x)], rtol=1e-6)
    np.testing.assert_allclose(quantizer.levels(), levels, rtol=1e-6)


def test_alpha_past_zero_leaves_the_code_defined():
    quantizer = PactActivation(2, 1.0)
    with torch.no_grad():
        quantizer.alpha.fill_(-3.0)
    assert quantizer.encode(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0, 0, 3]


def test_pixels_are_rounded_half_to_even_and_clipped():
    quantizer = PixelQuantizer(5, 1 / 16)
    x = torch.tensor([-1.0, 0.0, 1 / 32, 3 / 32, 1.0, 7.0])
    assert quantizer.encode(x).tolist() == [0, 0, 0, 2, 16, 31]
    assert quantizer(x).tolist() == [0.0, 0.0, 0.0, 0.125, 1.0, 31 / 16]
    np.testing.assert_array_equal(quantizer.codebook().reconstruct(), np.arange(32) / 16)


@pytest.mark.parametrize("make, message", [
    (lambda: PactActivation(0), "PactActivation bits must be an integer from 1 to 8, not 0"),
    (lambda: PactActivation(2, -1.0), "PactActivation alpha must be positive and finite, not -1.0"),
    (lambda: PactActivation(2, clip_decay=-1e-4),
     "PactActivation clip_decay must be 0 or more and finite, not -0.0001"),
    (lambda: PixelQuantizer(9), "PixelQuantizer bits must be an integer from 1 to 8, not 9"),
    (lambda: PixelQuantizer(8, 0), "PixelQuantizer step must be positive and finite, not 0"),
])
def test_options_out_of_range(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message


def learned(start, clip_decay=1e-3, plus=False):
    """Clipping level after a small training in which nothing else says how large values are."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 12)).astype(np.float32)
    labels = (np.maximum(x @ rng.normal(size=(12, 16)), 0) @ rng.normal(size=(16, 3))).argmax(1)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(12, 16),
                                PactActivation(2, start, clip_decay, plus=plus),
                                torch.nn.Linear(16, 3))
    fit(model, (x, labels), epochs=30, batch=16)
    return model[1].alpha.item()


def test_alpha_ends_where_it_belongs_wherever_it_starts():
    levels = [learned(start) for start in (2.0, 4.0, 8.0, 16.0)]
    assert max(levels) < 1.1 * min(levels)


def test_the_strength_of_the_decay_is_what_alpha_feels():
    weak, strong = learned(4.0, 1e-4), learned(4.0, 1e-2)
    assert strong < 0.7 * weak and strong < 0.8 * learned(4.0) < weak
    assert learned(16.0, 0.0) > 14

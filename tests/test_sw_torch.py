"""Every quantizer is a torch module like any other: any float type and device, compiled, exported,
batched, checkpointed."""

import copy

import pytest
import torch
from torch import nn
from torch.func import grad, vmap
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from xnorloom.sw.passes.quantize import quantize_
from xnorloom.sw.quantizers import SCHEMES
from xnorloom.sw.quantizers.balanced import BalancedWeight
from xnorloom.sw.quantizers.clipped import ClippedActivation
from xnorloom.sw.quantizers.gpfq import GpfqConfig
from xnorloom.sw.quantizers.least_squares import METHODS
from xnorloom.sw.quantizers.lsbq import AVERAGES, LsbqActivation, LsbqWeight
from xnorloom.sw.quantizers.pact import PactActivation
from xnorloom.sw.quantizers.pixels import NormedPixels, PixelQuantizer
from xnorloom.sw.quantizers.sawb import SawbWeight
from xnorloom.sw.quantizers.split import scan_levels, split_levels
from xnorloom.sw.quantizers.symmetric import SymmetricActivation
from xnorloom.sw.quantizers.syq import SyqWeight
from xnorloom.sw.quantizers.uniform import fixed_point, unit_interval

# Torch's own tracing instantiates what it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be")


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


WEIGHT = normal(6, 4, 3, 3)

WEIGHTS = {
    **{f"scheme {name}": lambda name=name: SCHEMES[name].weight_quantizer(WEIGHT)
       for name in SCHEMES},
    **{f"lsbq {method}": lambda method=method: LsbqWeight(method)
       for method in ("ls1", "ls2", "ternary", "greedy-3")},
    "sawb edges": lambda: SawbWeight(8),
    "sawb of one bit": lambda: SawbWeight(1),
    "sawb of channels": lambda: SawbWeight(3, per_channel=True, plus=True),
    "sawb with zero": lambda: SawbWeight(4, zero_aligned=True),
    **{f"balanced {threshold} {scale} {gradient}": lambda threshold=threshold, scale=scale,
       gradient=gradient: BalancedWeight(3, threshold, scale, gradient)
       for threshold in ("mean", "median") for scale in ("max", "mean", "least-squares")
       for gradient in ("identity", "rounding")},
    **{f"gpfq {options}": lambda options=options: GpfqConfig(**options).weight_quantizer(WEIGHT)
       for options in ({"midrise": True}, {"sparsity": "soft", "threshold": 0.1},
                       {"sparsity": "hard", "threshold": 0.1}, {"percentile": 0.9})},
    "syq binary rows": lambda: SyqWeight(WEIGHT, "row", "binary"),
}

INPUT = 1.5 * normal(5, 3, 4, 6, seed=1)


def seen(quantizer):
    """After a batch in training, so that it has all scales."""
    quantizer(INPUT + 0.25)
    return quantizer


ACTIVATIONS = {
    **{f"lsbq {method} {averages}": lambda method=method, averages=averages:
       LsbqActivation(method, averages=averages)
       for method in ("ls1", "ls2", "ternary", "greedy-3") for averages in AVERAGES},
    "pact": lambda: PactActivation(2, 1.3),
    "pact plus": lambda: PactActivation(8, 1.3, plus=True),
    "clipped": lambda: ClippedActivation(4),
    "unit interval": lambda: unit_interval(4, half="down"),
    "fixed point": lambda: fixed_point(4, 2, signed=True),
    "symmetric": lambda: SymmetricActivation(3),
    "pixels": lambda: PixelQuantizer(5, 1 / 16),
    "normed pixels": lambda: NormedPixels(8),
}

every_weight = pytest.mark.parametrize("kind", WEIGHTS)
every_activation = pytest.mark.parametrize("kind", ACTIVATIONS)
every_mode = pytest.mark.parametrize("training", [False, True], ids=["evaluated", "trained"])
halves = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


def weights(kind):
    return WEIGHTS[kind]()


def activation(kind, training=False):
    return seen(ACTIVATIONS[kind]()).train(training)


def results(quantizer, x):
    """Output, and the gradients of x and of all parameters."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    out = quantizer(x)
    upstream = normal(*out.shape, seed=2).to(device=x.device, dtype=out.dtype)
    out.backward(upstream)
    grads = [x.grad, *(each.grad for each in quantizer.parameters())]
    return [out.detach(), *(each.clone() for each in grads if each is not None)]


def assert_same(found, wanted, **tolerance):
    assert len(found) == len(wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, check_device=False, **tolerance)


# Number types.

def assert_rounded(quantizer, x):
    """Values in the number type of x are those of float32, rounded."""
    out = quantizer(x)
    assert out.dtype == x.dtype
    assert torch.equal(out, quantizer(x.float()).to(x.dtype))


@halves
@every_weight
def test_half_precision_weights_are_those_of_float32_rounded(kind, dtype):
    assert_rounded(weights(kind), WEIGHT.to(dtype))


@halves
@every_activation
def test_half_precision_activations_are_those_of_float32_rounded(kind, dtype):
    assert_rounded(activation(kind), INPUT.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("kind", [*WEIGHTS, *ACTIVATIONS])
def test_modules_of_other_types_train(kind, dtype):
    quantizer = (weights(kind) if kind in WEIGHTS else activation(kind, True)).to(dtype)
    x = WEIGHT if kind in WEIGHTS else INPUT
    wanted = results(copy.deepcopy(quantizer).float(), x.to(dtype).float())
    found = results(quantizer, x.to(dtype))
    assert all(each.dtype == dtype for each in found)
    # A number near a threshold may fall on its other side.
    close = torch.isclose(found[0].float(), wanted[0], rtol=0.02, atol=0.02)
    assert close.float().mean() > 0.97
    assert all(torch.isfinite(each).all() for each in found)


@halves
def test_bits_of_a_code_do_not_suffer_from_half_precision(dtype):
    x = torch.linspace(-1.3, 1.3, 8000).to(dtype)
    for quantizer in (PactActivation(8, 1.3), SymmetricActivation(8), unit_interval(8)):
        quantizer(x)
        assert torch.equal(quantizer.encode(x), quantizer.encode(x.float()))


# Devices.

@every_weight
def test_weights_on_meta(kind):
    quantizer = weights(kind).to("meta")
    out = quantizer(torch.empty(WEIGHT.shape, device="meta", requires_grad=True))
    out.sum().backward()
    assert out.device.type == "meta" and out.shape == WEIGHT.shape
    assert repr(quantizer)


@every_mode
@every_activation
def test_activations_on_meta(kind, training):
    quantizer = activation(kind, training).to("meta")
    out = quantizer(torch.empty(INPUT.shape, device="meta", requires_grad=True))
    out.sum().backward()
    assert out.device.type == "meta" and out.shape == INPUT.shape
    assert repr(quantizer)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("kind", [*WEIGHTS, *ACTIVATIONS])
def test_cuda_gives_what_the_cpu_gives(kind):
    quantizer, x = ((weights(kind), WEIGHT) if kind in WEIGHTS
                    else (activation(kind, True), INPUT))
    there = copy.deepcopy(quantizer).cuda()
    for mine, theirs in zip(results(there, x.cuda()), results(quantizer, x), strict=True):
        assert mine.device.type == "cuda"
        close = torch.isclose(mine.cpu(), theirs, rtol=1e-4, atol=1e-5)
        assert close.float().mean() > 0.99


# Graphs.

@every_weight
def test_weights_compile_to_one_graph(kind):
    torch._dynamo.reset()
    quantizer = weights(kind)
    compiled = torch.compile(copy.deepcopy(quantizer), fullgraph=True, backend="aot_eager")
    assert_same(results(compiled, WEIGHT), results(quantizer, WEIGHT))


@every_mode
@every_activation
def test_activations_compile_to_one_graph(kind, training):
    torch._dynamo.reset()
    quantizer = activation(kind, training)
    twin = copy.deepcopy(quantizer)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    assert_same(results(compiled, INPUT), results(quantizer, INPUT))
    assert_same(list(twin.state_dict().values()), list(quantizer.state_dict().values()))


@every_mode
@pytest.mark.parametrize("kind", ["symmetric", "normed pixels", "lsbq ls2 train_and_eval"])
def test_a_first_batch_may_be_compiled(kind, training):
    torch._dynamo.reset()
    quantizer = ACTIVATIONS[kind]()
    twin = copy.deepcopy(quantizer)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(INPUT), quantizer(INPUT))
    assert_same(list(twin.state_dict().values()), list(quantizer.state_dict().values()))


@pytest.mark.parametrize("kind", [*WEIGHTS, *ACTIVATIONS])
def test_quantizers_are_exported(kind):
    quantizer, x = ((weights(kind), WEIGHT) if kind in WEIGHTS
                    else (activation(kind), INPUT))
    exported = torch.export.export(quantizer.eval(), (x,))
    torch.testing.assert_close(exported.module()(2 * x), quantizer(2 * x))


@pytest.mark.parametrize("kind", [*WEIGHTS, *ACTIVATIONS])
def test_gradients_of_every_sample_at_once(kind):
    quantizer, x = ((weights(kind), WEIGHT) if kind in WEIGHTS
                    else (activation(kind), INPUT[:, None]))
    batch = torch.stack([x, 2 * x, -x])

    def loss(each):
        return (quantizer(each) * torch.linspace(0, 1, x.shape[-1])).sum()

    together = vmap(grad(loss))(batch)
    alone = torch.stack([grad(loss)(each) for each in batch])
    torch.testing.assert_close(together, alone)
    own = batch.clone().requires_grad_()
    sum(loss(each) for each in own).backward()
    torch.testing.assert_close(together, own.grad)


@pytest.mark.parametrize("kind", ["pact", "pact plus", "symmetric"])
def test_gradients_of_a_clip_for_every_sample(kind):
    quantizer = activation(kind)
    parameters = dict(quantizer.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(quantizer, parameters, (x,)).square().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(parameters, INPUT)["alpha"]
    for each, wanted in zip(INPUT, found, strict=True):
        quantizer.zero_grad()
        quantizer(each).square().sum().backward()
        torch.testing.assert_close(quantizer.alpha.grad, wanted)


# Modules.

@pytest.mark.parametrize("kind", [*WEIGHTS, *ACTIVATIONS])
def test_states_and_copies_give_the_same(kind):
    made = WEIGHTS.get(kind) or ACTIVATIONS[kind]
    quantizer, x = (made(), WEIGHT) if kind in WEIGHTS else (activation(kind), INPUT)
    loaded = made().eval()
    loaded.load_state_dict(quantizer.state_dict())
    out = quantizer.eval()(x)
    assert torch.equal(loaded(x), out) and torch.equal(copy.deepcopy(quantizer)(x), out)


@pytest.mark.parametrize("kind", [*WEIGHTS, *ACTIVATIONS])
def test_channels_stay_last(kind):
    quantizer, x = ((weights(kind), WEIGHT) if kind in WEIGHTS
                    else (activation(kind), INPUT))
    wanted = results(copy.deepcopy(quantizer), x)
    found = results(quantizer, x.to(memory_format=torch.channels_last))
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    assert found[1].is_contiguous(memory_format=torch.channels_last)
    assert_same(found, wanted, check_stride=False)


@pytest.mark.parametrize("kind", [*WEIGHTS, *ACTIVATIONS])
def test_nan_comes_through(kind):
    quantizer, x = ((weights(kind), WEIGHT.clone()) if kind in WEIGHTS
                    else (activation(kind), INPUT.clone()))
    x[1, 2, 0, 1] = torch.nan
    out = quantizer(x)
    assert out[1, 2, 0, 1].isnan()
    if kind in ACTIVATIONS and not kind.endswith(" off"):
        assert int(out.isnan().sum()) == 1


@pytest.mark.parametrize("averages", AVERAGES)
@pytest.mark.parametrize("method", METHODS)
def test_nan_in_training_reaches_the_loss_and_raises_nothing(method, averages):
    x = INPUT.clone()
    x[0, 0, 0, 0] = torch.nan
    assert LsbqActivation(method, averages=averages)(x).isnan().any()


@pytest.mark.parametrize("reentrant", [False, True])
@every_activation
def test_checkpointing_counts_a_batch_once(kind, reentrant):
    quantizer = activation(kind, True)
    twin, upstream = copy.deepcopy(quantizer), normal(*INPUT.shape, seed=2)
    mine, theirs = (INPUT.clone().requires_grad_() for _ in range(2))
    quantizer(mine).backward(upstream)
    checkpoint(twin, theirs, use_reentrant=reentrant).backward(upstream)
    assert torch.equal(mine.grad, theirs.grad)
    assert_same(list(twin.state_dict().values()), list(quantizer.state_dict().values()))


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, 3), nn.Conv1d(4, 6, 3), nn.Linear(4, 6)],
                         ids=lambda layer: type(layer).__name__)
def test_quantizers_parametrize_layers_of_torch(layer):
    for make in (lambda: SawbWeight(2), lambda: LsbqWeight("ls2"), lambda: BalancedWeight(2),
                 lambda: SyqWeight(layer.weight, "layer")):
        twin = copy.deepcopy(layer)
        quantizer = make()
        parametrize.register_parametrization(twin, "weight", quantizer)
        assert torch.equal(twin.weight, quantizer(layer.weight))
        twin.weight.sum().backward()
        assert twin.parametrizations.weight.original.grad.any()


@pytest.mark.parametrize("quantizer", [SawbWeight(2), LsbqWeight(), BalancedWeight()])
@pytest.mark.parametrize("weight, message", [
    (torch.ones(3, 4, dtype=torch.int32), "weight must be of floating point, not torch.int32"),
    (torch.ones(3), "weight must have 2 dimensions (linear), 3 or 4 (convolution), not shape (3,)"),
])
def test_weights_that_are_none(quantizer, weight, message):
    for call in (quantizer, quantizer.planes):
        with pytest.raises(ValueError) as caught:
            call(weight)
        assert str(caught.value) == message


# The operator that all of this rests on for two planes.

@pytest.mark.parametrize("ternary", [False, True])
def test_a_scan_in_torch_splits_where_bins_do(ternary):
    rng = torch.Generator().manual_seed(0)
    for size in (1, 2, 7, 500, 5000):
        rows = torch.randn(4, size, generator=rng).abs()
        rows[1] = 0.3
        rows[2] = rows[2].round()
        found, wanted = split_levels(rows, ternary), scan_levels(rows, ternary)
        torch.testing.assert_close(found[int(ternary):], wanted[int(ternary):], rtol=1e-9, atol=0)


@pytest.mark.parametrize("ternary", [False, True])
def test_the_operator_keeps_the_rules_of_torch(ternary):
    operator = torch.ops.xnorloom.split_levels.default
    torch.library.opcheck(operator, (INPUT.flatten(1).abs(), ternary))


@pytest.mark.parametrize("scheme", ["lsbq-w1g3", "pact-sawb-w2a2"])
@every_mode
def test_a_network_is_one_graph(scheme, training):
    torch._dynamo.reset()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                        nn.MaxPool2d(2), nn.Conv2d(4, 3, 3, padding=1), nn.Tanh(), nn.Flatten(),
                        nn.Linear(18, 2))
    model = quantize_(net, scheme, in_shape=INPUT.shape[1:])
    x = INPUT.abs().clamp_max(1)
    model(x)
    model.train(training)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
    assert_same(results(compiled, x), results(model, x), rtol=1e-4, atol=1e-4)
    exported = torch.export.export(model.eval(), (x,))
    torch.testing.assert_close(exported.module()(x), model(x))

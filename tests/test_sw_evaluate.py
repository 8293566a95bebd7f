"""The integer evaluation against the definition of a layer, written out pixel by pixel."""

import numpy as np
import pytest

from xnorloom.sw.bitplanes import group_count, group_index
from xnorloom.sw.graph.evaluate import evaluate
from xnorloom.sw.graph.head import Head
from xnorloom.sw.graph.network import (
    CodeFormat,
    Encoder,
    Layer,
    Network,
    Pool,
    Rescale,
    Staircase,
    Term,
    binary_table,
)


def term(rng, source, outputs, inputs, kernel=(3, 3), planes=(2, 2), blocks=1, border=False,
         **options):
    grouping = options.get("grouping", "layer")
    weights = rng.integers(0, 2, (planes[1], outputs, inputs // blocks, *kernel)).astype(np.uint8)
    scales = rng.integers(-99, 99, (outputs, group_count(grouping, kernel), *planes))
    edges = rng.integers(-200, 200, (outputs, *kernel)) if border else None
    return Term(source, weights, scales, blocks=blocks, border=edges, **options)


def layer(rng, name, size, *terms, requantize=None, pool=None, planes=2):
    outputs = len(terms[0].scales)
    if requantize is None and planes:
        requantize = Staircase(np.sort(rng.integers(-3000, 3000, (outputs, 3)), axis=1))
    form = None
    if planes:
        bits = planes if pool is None else pool.bits(planes)
        form = CodeFormat(binary_table(bits) if bits != 2
                          else np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.uint8))
    return Layer(name, terms, rng.integers(-500, 500, outputs), 0, size, requantize, pool, form)


def value(at, code, table, term, out_map, n, m, y, x):
    """What a term adds to one accumulator, tap by tap."""
    total, (top, _, left, _) = 0, term.padding
    taps = group_index(term.grouping, term.kernel)
    inputs = term.weights.shape[2]
    first = m // (len(term.scales) // term.blocks) * inputs
    for ky, kx in np.ndindex(*term.kernel):
        line = y * term.stride[0] + ky * term.dilation[0] - top
        column = x * term.stride[1] + kx * term.dilation[1] - left
        inside = 0 <= line < at.shape[2] and 0 <= column < at.shape[3]
        if not inside and term.border is not None:
            total += int(term.border[m, ky, kx])
            continue
        for channel in range(inputs):
            bits = table[at[n, first + channel, line, column] if inside else term.pad_code]
            for i, j in np.ndindex(*term.scales.shape[2:]):
                differ = bits[i] != term.weights[j, m, channel, ky, kx]
                total += int(term.scales[m, taps[ky, kx], i, j]) * int(differ)
    return total


def by_hand(network, codes):
    maps, formats, found = {"input": codes}, {"input": network.input_format}, {}
    for each in network.layers:
        acc = np.zeros((len(codes), each.outputs, *each.map), dtype=np.int64)
        for n, m, y, x in np.ndindex(*acc.shape):
            total = int(each.biases[m])
            for part in each.terms:
                total = max(total, 0) if part.relu else total
                total += value(maps[part.source], None, formats[part.source].table, part,
                               each.map, n, m, y, x)
            acc[n, m, y, x] = code(each.requantize, total, m)
        found[each.name] = maps[each.name] = pooled(each.pool, acc)
        formats[each.name] = each.format
    return found


def code(requantize, total, m):
    if requantize is None:
        return total
    if isinstance(requantize, Staircase):
        return sum(total >= threshold for threshold in requantize.thresholds[m])
    product = total // 2 ** requantize.shift * int(requantize.multipliers[m])
    scaled = (product + int(requantize.addends[m])) // 2 ** requantize.down
    return min(max(scaled, 0), 2 ** requantize.bits - 1)


def pooled(pool, codes):
    if pool is None:
        return codes
    result = np.zeros((*codes.shape[:2], *pool.out_map(*codes.shape[2:])), dtype=np.int64)
    for n, m, y, x in np.ndindex(*result.shape):
        inside = [codes[n, m, line, column]
                  for dy, dx in np.ndindex(*pool.window)
                  if 0 <= (line := y * pool.stride[0] + dy - pool.padding[0]) < codes.shape[2]
                  and 0 <= (column := x * pool.stride[1] + dx - pool.padding[2]) < codes.shape[3]]
        result[n, m, y, x] = max(inside) if pool.kind == "max" else sum(inside)
    return result


def plain(rng):
    return [layer(rng, "a", (6, 5), term(rng, "input", 4, 3, padding=(1, 1, 1, 1))),
            layer(rng, "b", (1, 1), term(rng, "a", 3, 4, kernel=(6, 5), planes=(2, 3)), planes=0)]


def branches(rng):
    first = layer(rng, "a", (6, 5), term(rng, "input", 4, 3, padding=(2, 0, 1, 1), pad_code=2))
    shortcut = term(rng, "a", 4, 4, kernel=(1, 1), planes=(2, 1), blocks=4, relu=True)
    second = layer(rng, "b", (6, 5), term(rng, "a", 4, 4, padding=(1, 1, 1, 1), border=True,
                                          grouping="row"), shortcut)
    joined = [term(rng, name, 2, 4, kernel=(2, 2), stride=(2, 1), dilation=(2, 1), blocks=2,
                   grouping="pixel") for name in ("a", "b")]
    return [first, second, layer(rng, "c", (2, 4), *joined, planes=0)]


def pools(rng):
    wide = Rescale(rng.integers(1, 99, 4), rng.integers(0, 30000, 4), 3, 9, 6)
    return [layer(rng, "a", (6, 5), term(rng, "input", 4, 3, padding=(1, 1, 1, 1)),
                  pool=Pool("max", (3, 2), (2, 1), (1, 1, 0, 1))),
            layer(rng, "b", (3, 5), term(rng, "a", 4, 4, kernel=(1, 1)),
                  pool=Pool("sum", (3, 5), (3, 5))),
            layer(rng, "c", (1, 1), term(rng, "b", 4, 4, kernel=(1, 1), planes=(6, 1)),
                  requantize=wide, planes=6)]


@pytest.mark.parametrize("make", [plain, branches, pools])
@pytest.mark.parametrize("seed", range(2))
def test_results_are_those_of_the_definition(make, seed):
    rng = np.random.default_rng(seed)
    network = Network("n", tuple(make(rng)), (3, 6, 5), CodeFormat(binary_table(2)), Encoder(1.0))
    codes = rng.integers(0, 4, (3, 3, 6, 5))
    expected, found = by_hand(network, codes), evaluate(network, codes)
    assert list(found) == [each.name for each in network.layers]
    for name, values in found.items():
        assert values.dtype == np.int64
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
    assert len(np.unique(found["c" if make is pools else "b"])) > 1


def test_a_head_does_its_steps_in_order():
    head = Head((("affine", {"gain": (2.0, -1.0), "shift": (0.0, 0.5)}), ("relu", {})), (2, 3))
    values = np.array([[1.0, -1.0, 0.0], [2.0, -2.0, 0.25]]).reshape(1, 2, 1, 3)
    np.testing.assert_array_equal(head.apply(values), [[[2, 0, 0], [0, 2.5, 0.25]]])
    assert Head.of(head.data()) == head


@pytest.mark.parametrize("data, message", [
    ({"steps": [["sqrt", {}]], "shape": [2]}, ("^Head step must be one of affine, clamp, .*, not "
                                              "'sqrt'$")),
    ({"steps": 3}, "^Head must have steps and a shape, not .'steps': 3.$"),
    ({"steps": [["relu", {}]], "shape": "x"}, "^Head must have steps and a shape, not "),
])
def test_heads_of_strangers(data, message):
    with pytest.raises(ValueError, match=message):
        Head.of(data)

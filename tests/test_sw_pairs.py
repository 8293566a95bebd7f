"""Which layers take two pixels a cycle, and what the compiler does for it."""

import dataclasses

import numpy as np
import pytest

from tests.networks import layer, small_network
from tests.test_sw_compiler import NONE, runs_exactly
from tests.test_sw_image_check import refused, with_record
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.descriptor import DESCRIPTOR
from xnorloom.hw.spec.latency import in_pixel_pairs
from xnorloom.hw.spec.memory import Memory
from xnorloom.sw.graph.network import Pool
from xnorloom.sw.machine.estimate import estimate_cycles
from xnorloom.sw.passes.compiler import compile_network

TWO = MachineConfig(rows=4, cols=4, lanes=16, units=2)
ONE = dataclasses.replace(TWO, units=1)


def _point(name="a", source="input", size=(6, 6), **options):
    """A layer of few steps: a 1 x 1 convolution."""
    options = {"kernel": (1, 1), "padding": NONE, "activation_planes": 1, "code_bits": 1, **options}
    return layer(name, source, (16, *size), 16, **options)


def _network(*layers):
    return small_network(*layers, in_shape=(16, *layers[0].map), planes=1)


def _fields(network, config=TWO, **options):
    return runs_exactly(network, config, batch=1, **options).descriptors()[0]


@pytest.mark.parametrize("units", [2, 4])
def test_a_tile_takes_half_its_rows(units):
    config, network = dataclasses.replace(TWO, units=units), _network(_point())
    fields = _fields(network, config)
    assert (fields["pixel_pairs"], fields["tile_cycles"]) == (1, 2)
    cycles = [estimate_cycles(compile_network(network, each, batch=1)) for each in (ONE, config)]
    tiles = 9 * 4
    # A drain that is shorter saves some, too, but once.
    assert tiles * 2 <= cycles[0] - cycles[1] <= tiles * 2 + 6


def test_what_the_writer_needs_counts():
    fields = _fields(_network(_point(code_bits=3)))
    assert (fields["pixel_pairs"], fields["tile_cycles"]) == (1, 3)


@pytest.mark.parametrize("config", [ONE, MachineConfig(rows=6, cols=4, lanes=16, units=3)])
def test_machines_of_one_pixel_a_cycle(config):
    fields = _fields(_network(_point()), config)
    assert (fields["pixel_pairs"], fields["tile_cycles"]) == (0, config.rows)


@pytest.mark.parametrize("first, more", [
    (_point(pool=Pool("max", (2, 2), (2, 2))), ()), (_point(pool=Pool("sum", (1, 1), (1, 1))), ()),
    (_point(code_bits=None), ()), (_point(kernel=(3, 3), padding=(1, 1, 1, 1),
                                          border=np.ones((16, 3, 3), dtype=np.int64)), ()),
    (_point(), (_point("b", "a", stride=(2, 2)),)), (_point(), (_point("b", "a", stride=(1, 3)),)),
], ids=["max", "sum", "raw", "borders", "strided reader", "reader of every third column"])
def test_layers_that_stay_at_one_pixel_a_cycle(first, more):
    fields = _fields(_network(first, *more))
    assert fields["pixel_pairs"] == 0
    assert fields["tile_cycles"] >= TWO.rows


def test_a_reader_of_every_second_line_is_no_obstacle():
    fields = _fields(_network(_point(), _point("b", "a", stride=(2, 1))))
    assert (fields["pixel_pairs"], fields["out_stride_y"]) == (1, 2)


def test_lines_are_made_even_where_it_helps():
    network = _network(_point(size=(5, 5)))
    fields = _fields(network)
    # 8 tiles of 2 cycles, not 7 of 4, nor 10 of 2.
    assert (fields["pixel_pairs"], fields["walk"], fields["pixel_tiles"]) == (1, 6, 8)
    assert _fields(network, ONE)["walk"] == 5
    # What has more steps than pixels gains nothing.
    slow = _network(layer("a", in_shape=(16, 5, 5), outputs=16, activation_planes=1, code_bits=1))
    assert (_fields(slow)["pixel_pairs"], _fields(slow)["walk"]) == (0, 5)
    assert _fields(_network(_point(size=(5, 7)), _point("b", "a", size=(5, 7))))["walk"] == 8


def test_lines_stay_odd_where_memory_is_short():
    network = _network(_point(size=(9, 5)))
    tight = compile_network(network, ONE, batch=1).metadata["usage"]["activations"]
    config = dataclasses.replace(TWO, activation_depth=tight)
    assert compile_network(network, TWO, batch=1).metadata["usage"]["activations"] > tight
    fields = _fields(network, config)
    assert (fields["pixel_pairs"], fields["walk"]) == (0, 5)


def test_an_even_batch_makes_any_line_even():
    image = runs_exactly(_network(_point(size=(3, 3))), TWO, batch=2)
    fields = image.descriptors()[0]
    assert (fields["pixel_pairs"], fields["walk"]) == (1, 6)


def test_the_rule():
    good = {"raw": False, "bordered": False, "pooled": False, "turns": 1, "walk": 6, "stride_x": 1}
    assert in_pixel_pairs(TWO, **good)
    for wrong in ({"raw": True}, {"bordered": True}, {"pooled": True}, {"turns": 2}, {"walk": 7},
                  {"stride_x": 2}):
        assert not in_pixel_pairs(TWO, **{**good, **wrong})
    assert not in_pixel_pairs(ONE, **good)


@pytest.mark.parametrize("config, network, number, fields, message", [
    (TWO, _network(_point()), 0, {"pixel_pairs": 0}, "pixel_pairs must be 1, not 0"),
    (TWO, _network(_point()), 0, {"tile_cycles": 4}, "tile_cycles must be 2, not 4"),
    (TWO, _network(_point(code_bits=None)), 0, {"pixel_pairs": 1}, "pixel_pairs must be 0, not 1"),
    (TWO, _network(_point(), _point("b", "a", stride=(2, 2))), 0, {"pixel_pairs": 1},
     "pixel_pairs must be 0, not 1"),
    (ONE, _network(_point()), 0, {"pixel_pairs": 1}, "pixel_pairs must be 0, not 1")])
def test_a_file_that_contradicts_is_refused(config, network, number, fields, message):
    image = compile_network(network, config, batch=1)
    refused(with_record(image, Memory.PROGRAM, DESCRIPTOR, number, **fields),
            f"^Image layer 'a' field {message}$")

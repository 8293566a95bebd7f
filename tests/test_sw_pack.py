"""Memory contents against loops over single bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.descriptor import DESCRIPTOR, descriptor_limits
from xnorloom.sw.machine.layout import MapLayout, bits_to_words, decode_planes, words_to_bits
from xnorloom.sw.machine.pack import (
    heap_order,
    pack_biases,
    pack_records,
    pack_scales,
    pack_thresholds,
    pack_weights,
    to_unsigned,
)

CONFIG = MachineConfig(rows=3, cols=3, lanes=36, acc_bits=20, scale_bits=7)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=70))
def test_bits_become_words_low_bit_first(bits):
    words = bits_to_words(np.array(bits))
    value = sum(int(word) << 32 * index for index, word in enumerate(words))
    assert value == sum(bit << index for index, bit in enumerate(bits))
    assert words_to_bits(words, len(bits)).tolist() == bits


def test_weights_lie_by_column_tile_plane_tap_and_word():
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 2, (2, 5, 40, 2, 3)).astype(np.uint8)
    banks = pack_weights(weights, CONFIG)
    planes, outputs, inputs, height, width = weights.shape
    words = 2
    assert banks.shape == (3, 2 * planes * height * width * words, 2)
    for channel in range(6):
        for plane in range(planes):
            for tap in range(height * width):
                for word in range(words):
                    address = (channel // 3 * planes + plane) * height * width + tap
                    address = address * words + word
                    bits = words_to_bits(banks[channel % 3, address], 64)
                    expected = np.zeros(64, dtype=np.uint8)
                    if channel < outputs:
                        part = weights[plane, channel, word * 36:(word + 1) * 36,
                                       tap // width, tap % width]
                        expected[:len(part)] = part
                    np.testing.assert_array_equal(bits, expected)


def test_scales_and_biases_lie_by_column_tile():
    scales = np.arange(-10, 10).reshape(5, 2, 2)
    banks = pack_scales(scales, CONFIG)
    assert banks.shape == (3, 8, 1)
    assert banks[1, 4:, 0].tolist() == to_unsigned(scales[4], 7).ravel().tolist()
    assert not banks[2, 4:].any()
    banks = pack_biases(np.array([-1, 2, 3, 4, 5]), CONFIG)
    assert banks[:, :, 0].tolist() == [[0xFFFFF, 4], [2, 5], [3, 0]]


@pytest.mark.parametrize("code_bits", [1, 2, 3, 4])
def test_heap_search_counts_thresholds(code_bits):
    rng = np.random.default_rng(code_bits)
    thresholds = np.sort(rng.integers(-20, 20, (200, (1 << code_bits) - 1)), axis=1)
    heap = np.zeros((200, 1 << code_bits), dtype=np.int64)
    heap[:, 1:] = thresholds[:, heap_order(code_bits)]
    values = rng.integers(-22, 22, 200)
    node = np.ones(200, dtype=np.int64)
    for _ in range(code_bits):
        node = 2 * node + (values >= heap[np.arange(200), node])
    np.testing.assert_array_equal(node - (1 << code_bits),
                                  (values[:, None] >= thresholds).sum(axis=1))


def test_thresholds_are_clipped_and_absent_channels_never_reach_theirs():
    top = (1 << 19) - 1
    banks = pack_thresholds(np.array([[-1 << 40, 3, 1 << 40]] * 4), CONFIG)
    assert banks[0, :, 0].tolist() == [0, 3, 1 << 19, top, 0, 3, 1 << 19, top]
    assert banks[2, 4:, 0].tolist() == [0, top, top, top]


def test_records_refuse_what_the_machine_refuses():
    with pytest.raises(ValueError, match=r"descriptor field 'tag' must be from 213 to 213, not 0"):
        pack_records(DESCRIPTOR, [{}], descriptor_limits(CONFIG))


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7),
       st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))
def test_maps_survive_their_layout(images, planes, channels, height, width, sy, sx, rows):
    layout = MapLayout(rows, 5, images, channels, height, width, planes, sy, sx,
                       -(-height // sy), -(-width // sx) + 1)
    rng = np.random.default_rng(height)
    table = (rng.permutation(1 << planes)[:, None] >> np.arange(planes) & 1).astype(np.uint8)
    codes = rng.integers(0, 1 << planes, (images, channels, height, width))
    banks = layout.pack(codes, table)
    np.testing.assert_array_equal(decode_planes(layout.unpack(banks), table), codes)
    bank, address = layout.places()
    pixels = set(zip(bank.ravel().tolist(), address.ravel().tolist(), strict=True))
    assert len(pixels) == bank.size
    assert address.max() + layout.tile_words <= layout.bank_words


def test_layout_puts_a_pixel_where_the_descriptor_page_says():
    layout = MapLayout(rows=4, lanes=8, images=2, channels=20, height=5, width=7, planes=2,
                       stride_y=2, stride_x=3, pitch_y=3, pitch_x=4)
    image, y, x = 1, 3, 5
    m = (image * 3 + y // 2) * 4 + x // 3
    slots, tile_words = 6, 6
    bank, address = layout.places()
    assert bank[image, y, x] == m % 4
    assert address[image, y, x] == ((y % 2) * 3 + x % 3) * slots * tile_words + m // 4 * tile_words


def test_unknown_planes_are_an_error():
    with pytest.raises(ValueError, match="belong to no code"):
        decode_planes(np.array([[[[[1]]], [[[0]]]]]), np.array([[0, 0], [0, 1], [1, 1], [1, 1]]))

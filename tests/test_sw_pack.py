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
    pack_parameters,
    pack_records,
    pack_scales,
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
    assert banks.shape == (3, 2, planes * height * width * words, 2)
    for channel in range(6):
        for plane in range(planes):
            for tap in range(height * width):
                for word in range(words):
                    address = (plane * height * width + tap) * words + word
                    bits = words_to_bits(banks[channel % 3, channel // 3, address], 64)
                    expected = np.zeros(64, dtype=np.uint8)
                    if channel < outputs:
                        part = weights[plane, channel, word * 36:(word + 1) * 36,
                                       tap // width, tap % width]
                        expected[:len(part)] = part
                    np.testing.assert_array_equal(bits, expected)


def test_scales_lie_by_column_tile_with_a_bit_for_relu():
    scales = np.arange(-10, 10).reshape(5, 4)
    banks = pack_scales(scales, [False, True, False, False], CONFIG)
    assert banks.shape == (3, 8, 1)
    relu = np.array([0, 1 << 7, 0, 0])
    assert banks[1, 4:, 0].tolist() == (to_unsigned(scales[4], 7) | relu).tolist()
    # A channel that is absent weighs nothing.
    assert (banks[2, 4:, 0] & 0x7F == 0).all()


def test_biases_lie_by_column_tile_and_class():
    banks = pack_parameters(np.array([[-1], [2], [3], [4], [5]]), CONFIG)
    assert banks[..., 0].tolist() == [[[0xFFFFF], [4]], [[2], [5]], [[3], [0]]]
    classes = np.arange(5 * 16).reshape(5, 16)
    banks = pack_parameters(classes, CONFIG)
    assert banks.shape == (3, 2, 16, 1)
    assert banks[1, 1, :, 0].tolist() == classes[4].tolist()


def test_an_addend_follows_the_bias():
    banks = pack_parameters(np.full((4, 1), 7), CONFIG, addends=np.array([-5, 6, 7, 8]))
    assert banks[0, 0, :, 0].tolist() == [7, 0xFFFFB]
    assert banks[0, 1, :, 0].tolist() == [7, 8]
    assert not banks[1, 1].any()


def test_a_multiplier_follows_the_scales_of_its_tile():
    banks = pack_scales(np.arange(-8, 0).reshape(4, 2), [True, True], CONFIG,
                        multipliers=np.array([-1, 2, 3, 4]))
    assert banks[0, :, 0].tolist() == [0xF8, 0xF9, 0x7F, 0xFE, 0xFF, 4]
    assert banks[1, 2:, 0].tolist() == [2, 0, 0, 0]


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
    banks = pack_parameters(np.zeros((4, 1), dtype=int), CONFIG,
                            thresholds=np.array([[-1 << 40, 3, 1 << 40]] * 4))
    assert banks[0, :, :, 0].tolist() == [[0, 3, 1 << 19, top]] * 2
    assert banks[2, 1, :, 0].tolist() == [0, top, top, top]


def test_records_refuse_what_the_machine_refuses():
    with pytest.raises(ValueError, match=r"descriptor field 'tag' must be from 213 to 213, not 0"):
        pack_records(DESCRIPTOR, [{}], descriptor_limits(CONFIG))


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 7), st.integers(1, 7),
       st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.data())
def test_maps_survive_their_layout(images, planes, channels, height, width, sy, sx, rows, data):
    banks_y, banks_x = (data.draw(st.integers(0, rows - 1)) for _ in range(2))
    layout = MapLayout(rows, 5, images, channels, height, width, planes, sy, sx,
                       -(-width // sx) + 1, banks_y, banks_x)
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
                       stride_y=2, stride_x=3, pitch_x=4, phase_y_banks=1, phase_x_banks=2)
    image, y, x = 1, 3, 5
    m = (y // 2 * 4 + x // 3) * 2 + image + y % 2 * 1 + x % 3 * 2
    # The last pixel of the last phase that there is: (2 * 4 + 2) * 2 + 1 + 1 + 4.
    slots, tile_words = 27 // 4 + 1, 6
    bank, address = layout.places()
    assert bank[image, y, x] == m % 4
    assert address[image, y, x] == ((y % 2) * 3 + x % 3) * slots * tile_words + m // 4 * tile_words


def test_output_fields_walk_to_every_pixel():
    """As a machine walks: image, phase, column, phase, line, every step with its banks."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows = int(rng.integers(1, 6))
        layout = MapLayout(rows, 8, *(int(n) for n in rng.integers(1, 7, 4)), 2,
                           *(int(n) for n in rng.integers(1, 4, 2)), 8,
                           *(int(n) for n in rng.integers(0, rows, 2)))
        fields = layout.output_fields(5, np.eye(4)[:, :2])
        bank, address = layout.places()
        for image, y, x in np.ndindex(bank.shape):
            banks, words = image, fields["out_base"]
            for name, count in (("phase_x", x % layout.stride_x), ("phase_y", y % layout.stride_y),
                                ("column", x // layout.stride_x), ("line", y // layout.stride_y)):
                banks += count * fields[f"out_{name}_banks"]
                words += count * fields.get(f"out_{name}_words", fields.get(f"out_{name}"))
            assert banks % rows == bank[image, y, x]
            assert words + banks // rows * layout.tile_words == 5 + address[image, y, x]


def test_unknown_planes_are_an_error():
    with pytest.raises(ValueError, match="belong to no code"):
        decode_planes(np.array([[[[[1]]], [[[0]]]]]), np.array([[0, 0], [0, 1], [1, 1], [1, 1]]))

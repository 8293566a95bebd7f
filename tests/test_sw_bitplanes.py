"""BitPlanes: reconstruction, groupings and refusals."""

import numpy as np
import pytest

from xnorloom.sw.bitplanes import BitPlanes, group_count, group_index


def test_groupings_map_taps_to_groups():
    assert [group_count(name, (2, 3)) for name in ("layer", "row", "pixel")] == [1, 2, 6]
    assert group_index("layer", (2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert group_index("row", (2, 3)).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert group_index("pixel", (2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="not 'column'"):
        group_count("column", (2, 3))


def test_code_book_reconstructs_unsigned_codes():
    codes = np.arange(8)
    planes = (codes >> np.arange(3)[:, None] & 1).astype(np.uint8)
    step = 0.25
    book = BitPlanes(planes, step * 2.0 ** (np.arange(3) - 1)[:, None, None], step * 7 / 2)
    np.testing.assert_array_equal(book.reconstruct(), codes * step)
    assert (book.count, book.shape) == (3, (8,))


@pytest.mark.parametrize("grouping", ["layer", "row", "pixel"])
@pytest.mark.parametrize("channels", [1, 4])
def test_weight_reconstructs_as_sum_of_signs(grouping, channels):
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 2, (2, 4, 3, 2, 3)).astype(np.uint8)
    scales = rng.standard_normal((2, channels, group_count(grouping, (2, 3))))
    value = BitPlanes(planes, scales, 0.5, grouping).reconstruct()
    groups = group_index(grouping, (2, 3))
    for m, c, y, x in np.ndindex(4, 3, 2, 3):
        expected = 0.5 + sum(scales[k, m % channels, groups[y, x]] * (1 if planes[k, m, c, y, x]
                                                                    else -1) for k in range(2))
        assert value[m, c, y, x] == pytest.approx(expected)


@pytest.mark.parametrize(("planes", "scales", "offset", "message"), [
    (np.full((1, 4), 2), np.ones((1, 1, 1)), 0, "must be bits"),
    (np.zeros((1, 4, 4)), np.ones((1, 1, 1)), 0, "must be bits"),
    (np.zeros((2, 4)), np.ones((1, 1, 1)), 0, r"must have shape \(2, channels, groups\)"),
    (np.zeros((1, 4)), np.full((1, 1, 1), np.nan), 0, "must be finite"),
    (np.zeros((1, 4)), np.ones((1, 1, 1)), np.inf, "must be finite"),
    (np.zeros((1, 4, 2, 1, 1)), np.ones((1, 3, 1)), 0, "1 or 4 channels and 1 groups"),
])
def test_contradictions_are_refused(planes, scales, offset, message):
    with pytest.raises(ValueError, match=message):
        BitPlanes(planes, scales, offset)

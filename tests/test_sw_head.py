"""What the host does behind the machine: its steps in order, and heads of strangers."""

import numpy as np
import pytest

from xnorloom.sw.graph.head import Head


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

"""Random float networks of all operators: branches, shortcuts, concatenations, pools."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

KINDS = ("map", "signal", "map", "vector", "map")
"""What networks read, maps most of the time."""

FUNCTIONS = {
    "relu": F.relu, "relu6": F.relu6, "hardtanh": F.hardtanh, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "leaky": lambda x: F.leaky_relu(x, 0.2),
    "clamp": lambda x: x.clamp(-0.5, 1.5), "module": None, "prelu": None}


class RandomNet(nn.Module):
    """A program of steps: each a function or module, and the values it reads."""

    def __init__(self, seed, kind="map"):
        super().__init__()
        self.rng, self.kind = np.random.default_rng(seed), kind
        self.steps, self.shapes, self.joined = [], [], set()
        channels = int(self.rng.integers(1, 4))
        self.in_shape = {"map": (channels, *map(int, self.rng.integers(6, 9, 2))),
                         "signal": (channels, 30),
                         "vector": (int(self.rng.integers(1, 40)),)}[kind]
        self.shapes.append(self.in_shape)
        first = self.norm(0) if self.rng.integers(6) == 0 else 0
        if kind == "vector":
            self.linears(first)
            return
        last = self.conv(first)
        for _ in range(int(self.rng.integers(2, 8))):
            last = self.grow(last)
        self.end(last)

    def pick(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def add(self, step, *inputs):
        if isinstance(step, nn.Module):
            name = f"m{len(self.steps)}"
            self.add_module(name, step)
            step = name
        self.steps.append((step, inputs))
        shapes = [torch.zeros(2, *self.shapes[each]) for each in inputs]
        self.eval()
        with torch.no_grad():
            found = self.call(step, shapes)
        self.shapes.append(tuple(found.shape[1:]))
        return len(self.shapes) - 1

    def call(self, step, values):
        return (getattr(self, step) if isinstance(step, str) else step)(*values)

    def conv(self, source, outputs=None, like=None):
        shape = self.shapes[source]
        kind = nn.Conv1d if self.kind == "signal" else nn.Conv2d
        axes = len(shape) - 1
        if like is not None:
            return self.add(kind(shape[0], like[0], 1, bias=bool(self.rng.integers(2))), source)
        groups = 1 if source in self.joined else self.pick(
            1, 1, shape[0], 2 if shape[0] % 2 == 0 else 1)
        outputs = outputs or groups * int(self.rng.integers(1, max(2, 8 // groups)))
        kernel = tuple(min(int(self.rng.integers(1, 4)), size) for size in shape[1:])
        dilation = tuple(self.pick(1, 1, 2) if (taps - 1) * 2 < size else 1
                         for taps, size in zip(kernel, shape[1:]))
        # Torch itself warns where the padding of "same" is not even.
        same = bool(self.rng.integers(4) == 0) and all(taps % 2 for taps in kernel)
        stride = 1 if same else tuple(self.pick(1, 1, 2) for _ in range(axes))
        padding = "same" if same else tuple(self.pick(0, 1) for _ in range(axes))
        if not same and self.rng.integers(4) == 0:
            frame = tuple(int(each) for each in self.rng.integers(0, 3, 2 * axes))
            source = self.add(lambda x: F.pad(x, frame), source)
        return self.add(kind(shape[0], outputs, kernel, stride, padding, dilation, groups,
                             bias=bool(self.rng.integers(2))), source)

    def norm(self, source):
        shape = self.shapes[source]
        norm = (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(shape[0])
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias, std=0.3)
        return self.add(norm, source)

    def function(self, source):
        name = self.pick(*FUNCTIONS)
        if name == "module":
            return self.add(nn.ReLU(inplace=bool(self.rng.integers(2))), source)
        if name == "prelu":
            return self.add(nn.PReLU(self.shapes[source][0]), source)
        return self.add(FUNCTIONS[name], source)

    def pool(self, source):
        shape = self.shapes[source]
        if min(shape[1:]) < 2:
            return source
        axes = len(shape) - 1
        window = tuple(min(self.pick(2, 2, 3), size) for size in shape[1:])
        if self.rng.integers(3) == 0:
            return self.average(source, window)
        stride = tuple(self.pick(1, 2) for _ in window)
        padding = tuple(self.pick(0, taps // 2) for taps in window)
        largest = F.max_pool1d if axes == 1 else F.max_pool2d
        return self.add(lambda x: largest(x, window, stride, padding), source)

    def average(self, source, window):
        axes, shape = len(window), self.shapes[source]
        if self.rng.integers(3) == 0:
            kept = tuple(self.pick(1, *(n for n in (2, 3) if size % n == 0))
                         for size in shape[1:])
            return self.add((nn.AdaptiveAvgPool1d if axes == 1 else nn.AdaptiveAvgPool2d)(kept),
                            source)
        average = F.avg_pool1d if axes == 1 else F.avg_pool2d
        if self.rng.integers(2):
            window = tuple(max(n for n in range(1, taps + 1) if size % n == 0)
                           for taps, size in zip(window, shape[1:]))
        stride, padding = window, (0,) * axes
        if self.rng.integers(3) == 0:
            stride = tuple(self.pick(1, 2) for _ in window)
            padding = tuple(self.pick(0, taps // 2) for taps in window)
        return self.add(lambda x: average(x, window, stride, padding), source)

    def linears(self, last):
        """Up to three linear layers, blocks and shortcuts over vectors."""
        for _ in range(int(self.rng.integers(1, 4))):
            width = self.pick(3, 8, 17)
            own = self.add(nn.Linear(self.shapes[last][0], width, bias=bool(self.rng.integers(2))),
                           last)
            if self.rng.integers(2):
                own = self.norm(own)
            own = self.function(own)
            if self.shapes[own] == self.shapes[last] and self.rng.integers(2):
                own = self.add(lambda x, y: x + y, own, last)
            last = own
        self.add(nn.Linear(self.shapes[last][0], 5), last)

    def grow(self, last):
        kind = self.pick("conv", "conv", "block", "norm", "function", "pool", "residual", "cat",
                         "drop")
        if kind == "conv":
            return self.conv(last)
        if kind == "block":
            return self.function(self.norm(self.conv(last)))
        if kind == "norm":
            return last if last in self.joined else self.norm(last)
        if kind == "function":
            return self.function(last)
        if kind == "pool":
            return self.pool(last)
        if kind == "drop":
            return self.add(nn.Dropout(0.1), last)
        if kind == "residual":
            return self.residual(last)
        parts = [self.conv(last, like=self.shapes[last]), last]
        if self.rng.integers(2):
            parts.append(self.function(self.conv(last, like=(3,))))
        joined = self.add(lambda *x: torch.cat(x, 1), *parts)
        self.joined.add(joined)
        return self.conv(joined)

    def residual(self, last):
        shape = self.shapes[last]
        own = self.conv(self.function(self.norm(self.conv(last, like=shape))), like=shape)
        if self.rng.integers(2):
            own = self.norm(own)
        if self.rng.integers(3) == 0:
            own = self.add(F.relu, own)
        other = last if self.rng.integers(3) and last not in self.joined else self.conv(
            last, like=shape)
        pair = (own, other) if self.rng.integers(2) else (other, own)
        found = self.add(lambda x, y: x + y, *pair)
        return self.add(F.relu, found) if self.rng.integers(2) else found

    def end(self, last):
        how = self.pick("flatten", "mean", "conv", "bare")
        if how == "flatten":
            last = self.add(lambda x: x.flatten(1), last)
        elif how == "mean":
            axes = tuple(range(2, len(self.shapes[last]) + 1))
            last = self.add(lambda x: x.mean(axes), last)
        elif how == "conv":
            last = self.conv(last)
        if how in ("flatten", "mean") and self.rng.integers(3) == 0:
            self.linears(last)
            return
        if how in ("flatten", "mean"):
            last = self.add(nn.Linear(self.shapes[last][0], 5), last)
        if self.rng.integers(3) == 0 and last not in self.joined:
            last = self.norm(last)
        if self.rng.integers(3) == 0:
            last = self.function(last)
        if last not in self.joined:
            self.finish(last)

    def finish(self, last):
        """What only the host does, at the network's end."""
        if self.rng.integers(4) == 0:
            last = self.add(lambda x: x.flatten(1), last)
        if self.rng.integers(4) == 0:
            self.add(self.pick(nn.Softmax, nn.LogSoftmax)(1), last)

    def forward(self, x):
        values = [x]
        for step, inputs in self.steps:
            values.append(self.call(step, [values[each] for each in inputs]))
        return values[-1]


def random_net(seed, kind="map"):
    """A random float network with an ``in_shape`` over a ``map``, ``signal`` or ``vector``, the
    same every time for the same seed."""
    torch.manual_seed(seed)
    return RandomNet(seed, kind)

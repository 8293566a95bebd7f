"""Networks, as ordinary torch models that then pass through quantize_."""

import math
from collections import OrderedDict

from torch import nn

from .. import data as datasets
from ..passes.quantize import quantize_
from ..quantizers.registry import look_up

__all__ = ["NETS", "build", "cnn", "cnv", "mlp", "mobilenet", "prepare", "resnet", "resnet18",
           "vgg"]


def mlp(info, width=128):
    """Two hidden linear layers; batch norm and ReLU after each.

    Parameters
    ----------
    info : sw.data.DataInfo
        Gives the input's shape and the number of classes.
    width : int
        Units of a hidden layer.
    """
    return nn.Sequential(OrderedDict(
        flatten=nn.Flatten(),
        linear1=nn.Linear(math.prod(info.in_shape), width, bias=False),
        norm1=nn.BatchNorm1d(width),
        act1=nn.ReLU(),
        linear2=nn.Linear(width, width, bias=False),
        norm2=nn.BatchNorm1d(width),
        act2=nn.ReLU(),
        linear3=nn.Linear(width, info.classes),
    ))


def cnn(info, width=32):
    """Three convolutions, the second strided, and a linear layer; batch norm and ReLU between.

    Parameters
    ----------
    info : sw.data.DataInfo
    width : int
        Channels of the first convolution, half of those of the others.
    """
    channels, height, width_pixels = info.in_shape
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(channels, width, 3, padding=1, bias=False),
        norm1=nn.BatchNorm2d(width),
        act1=nn.ReLU(),
        conv2=nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
        norm2=nn.BatchNorm2d(2 * width),
        act2=nn.ReLU(),
        conv3=nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False),
        norm3=nn.BatchNorm2d(2 * width),
        act3=nn.ReLU(),
        flatten=nn.Flatten(),
        linear=nn.Linear(2 * width * ((height + 1) // 2) * ((width_pixels + 1) // 2),
                         info.classes),
    ))


def vgg(info, width=128):
    """Six convolutions of 3 x 3 in pairs, a max pool after each pair, and a linear layer: the
    VGG-small that low-bit papers report on CIFAR-10.

    Parameters
    ----------
    info : sw.data.DataInfo
        Images of at least 8 x 8 pixels.
    width : int
        Channels of the first pair; each pair has twice as many as the one before.
    """
    channels, height, width_pixels = info.in_shape
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, 7):
        outputs = width << (number - 1) // 2
        _add_convolution(layers, number, channels, outputs, padding=1)
        if number % 2 == 0:
            layers[f"pool{number // 2}"] = nn.MaxPool2d(2)
        channels = outputs
    layers["flatten"] = nn.Flatten()
    layers["linear"] = nn.Linear(channels * (height // 8) * (width_pixels // 8), info.classes)
    return nn.Sequential(layers)


def cnv(info, width=64):
    """FINN's CNV: six convolutions of 3 x 3 without padding, a max pool after the second and the
    fourth, and three linear layers.

    Images smaller than 32 x 32 are padded where nothing would be left of them.

    Parameters
    ----------
    info : sw.data.DataInfo
        Images of at least 4 x 4 pixels.
    width : int
        Channels of the first pair; each pair has twice as many as the one before, and the hidden
        linear layers have eight times as many units.
    """
    channels, *size = info.in_shape
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, 7):
        outputs = width << (number - 1) // 2
        # Unpadded from here on, every convolution takes two pixels, and a pool halves.
        kept = size
        for later in range(number, 7):
            kept = [(side - 2) // (2 if later in (2, 4) else 1) for side in kept]
        padding = 0 if min(kept) > 0 else 1
        _add_convolution(layers, number, channels, outputs, padding=padding)
        size = [side + 2 * padding - 2 for side in size]
        if number in (2, 4):
            layers[f"pool{number // 2}"] = nn.MaxPool2d(2)
            size = [side // 2 for side in size]
        channels = outputs
    layers["flatten"] = nn.Flatten()
    inputs = channels * math.prod(size)
    for number in (1, 2):
        layers[f"linear{number}"] = nn.Linear(inputs, 8 * width, bias=False)
        layers[f"norm{number + 6}"] = nn.BatchNorm1d(8 * width)
        layers[f"act{number + 6}"] = nn.ReLU()
        inputs = 8 * width
    layers["linear3"] = nn.Linear(inputs, info.classes)
    return nn.Sequential(layers)


class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3 and a shortcut, added before the last ReLU.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    stride : int
        Of the first convolution; with it, or with more channels, the shortcut is a 1 x 1
        convolution, else nothing.
    """

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        # A quantizer has scales of its own: every use of an activation is a module of its own.
        self.act2 = nn.ReLU()
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        """The block's output."""
        y = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet18(info, width=64):
    """ResNet-18 as it is built for CIFAR: a 3 x 3 convolution without pooling, four stages of two
    basic blocks, a global average and a linear layer.

    Parameters
    ----------
    info : sw.data.DataInfo
    width : int
        Channels of the first stage; each stage has twice as many as the one before.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    _add_convolution(layers, 1, info.in_shape[0], width, padding=1)
    inputs = width
    for stage in range(4):
        outputs = width << stage
        layers[f"stage{stage + 1}"] = nn.Sequential(
            BasicBlock(inputs, outputs, 1 if stage == 0 else 2), BasicBlock(outputs, outputs, 1))
        inputs = outputs
    return _averaged(layers, "pool", inputs, info)


def resnet(info, width=16, blocks=1):
    """A small residual network: three stages of basic blocks, a max pool before the second, stride
    2 in the third, a global average and a linear layer.

    Parameters
    ----------
    info : sw.data.DataInfo
        Images of at least 4 x 4 pixels.
    width : int
        Channels of the first stage; each stage has twice as many as the one before.
    blocks : int
        Of every stage.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    _add_convolution(layers, 1, info.in_shape[0], width, padding=1)
    inputs = width
    for stage in range(3):
        outputs = width << stage
        first = BasicBlock(inputs, outputs, 2 if stage == 2 else 1)
        layers[f"stage{stage + 1}"] = nn.Sequential(
            first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))
        if stage == 0:
            layers["pool1"] = nn.MaxPool2d(2)
        inputs = outputs
    return _averaged(layers, "pool2", inputs, info)


def mobilenet(info, width=16):
    """A small MobileNet: a convolution, four depthwise separable ones, the second and the fourth
    strided, a global average and a linear layer.

    Parameters
    ----------
    info : sw.data.DataInfo
    width : int
        Channels of the first convolution; those behind it have 2, 4, 4 and 8 times as many.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()

    _add_convolution(layers, 1, info.in_shape[0], width, padding=1)
    inputs = width
    for number, factor in enumerate((2, 4, 4, 8), 2):
        _add_convolution(layers, f"{number}d", inputs, inputs, stride=1 + (number % 2), padding=1,
                         groups=inputs)
        _add_convolution(layers, f"{number}p", inputs, factor * width, kernel=1)
        inputs = factor * width
    return _averaged(layers, "pool", inputs, info)


def _add_convolution(layers, name, inputs, outputs, *, kernel=3, **options):
    """Adds a convolution without a bias, its batch norm and a ReLU, under names that end alike."""
    layers[f"conv{name}"] = nn.Conv2d(inputs, outputs, kernel, bias=False, **options)
    layers[f"norm{name}"] = nn.BatchNorm2d(outputs)
    layers[f"act{name}"] = nn.ReLU()


def _averaged(layers, pool, channels, info):
    """The network that ends in a global average, under the name ``pool``, and a linear layer."""
    layers[pool] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["linear"] = nn.Linear(channels, info.classes)
    return nn.Sequential(layers)


NETS = {"mlp": mlp, "cnn": cnn, "cnv": cnv, "vgg": vgg, "resnet": resnet, "resnet18": resnet18,
        "mobilenet": mobilenet}
"""Networks by name: functions of a :class:`sw.data.DataInfo`."""


def build(net, scheme=None, data="digits"):
    """Builds an untrained network.

    Parameters
    ----------
    net : str
        One of :data:`NETS`.
    scheme : str, SchemeConfig, mapping of patterns to these, or None
        How to quantize it; None leaves it in floating point.
    data : str or DataInfo
        Data set whose shape, classes and pixels it is for.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    about = datasets.info(data)
    model = look_up(NETS, net, "Net")(about)
    return model if scheme is None else prepare(model, scheme, about)


def prepare(model, scheme, data="digits"):
    """Quantizes a float network of :func:`build` for the pixels of its data set: use what it
    returns.

    Raises
    ------
    ValueError
        If a name is unknown or a layer cannot be quantized.
    """
    about = datasets.info(data)
    # Whether a machine can run it is asked by who trains it, and need not be asked again.
    return quantize_(model, scheme, in_shape=about.in_shape, input_bits=about.input_bits,
                     input_step=about.input_step, torch_only=True)

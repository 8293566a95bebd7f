"""Augmentation: what is done to training images anew in every epoch."""

import torch
import torch.nn.functional as F

__all__ = ["AUGMENTATIONS", "MIN_SIDE", "shift"]

MIN_SIDE = 4
"""Pixels of a side below which a shift by one would take a good part of an image away."""


def shift(images, generator):
    """Half of the images moved by up to one pixel each way, zeros coming in.

    Vectors, signals and images with a side below :data:`MIN_SIDE` stay as they are.

    Parameters
    ----------
    images : tensor, shape ``(n, channels, height, width)``; any other is no image
    generator : torch.Generator

    Returns
    -------
    tensor of the same shape
        Contiguous where images are moved.
    """
    if images.dim() != 4 or min(images.shape[2:]) < MIN_SIDE:
        return images
    count, _, height, width = images.shape
    padded = F.pad(images, (1, 1, 1, 1))
    moves = torch.randint(0, 3, (count, 2), generator=generator)
    moves[torch.rand(count, generator=generator) < 0.5] = 1
    lines = moves[:, :1] + torch.arange(height)
    columns = moves[:, 1:] + torch.arange(width)
    index = torch.arange(count)[:, None, None]
    moved = padded[index, :, lines[:, :, None], columns[:, None, :]]
    # In the order a data loader gives: a model may well call ``view`` on what it is handed.
    return moved.permute(0, 3, 1, 2).contiguous()


AUGMENTATIONS = {"shift": shift}
"""Augmentations by name: functions of a batch of images and a generator."""

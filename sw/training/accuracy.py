"""How often a network is right."""

import torch

__all__ = ["accuracy"]


@torch.no_grad()
def accuracy(model, images, labels, batch=256):
    """Share of images whose largest output is their label, 0 to 1.

    ``images`` and ``labels`` are arrays; the model is evaluated as it is, set it to ``eval``
    before. """
    hits = 0
    for start in range(0, len(images), batch):
        logits = model(torch.from_numpy(images[start:start + batch]))
        hits += int((logits.argmax(dim=1).numpy() == labels[start:start + batch]).sum())
    return hits / len(images)

"""Which maps of an image lie where in the activation banks, and for how long."""

from .layout import MapLayout

__all__ = ["map_lifetimes"]


def map_lifetimes(image):
    """Places and lifetimes of all maps.

    Parameters
    ----------
    image : sw.machine.image.Image

    Returns
    -------
    list of dict
        Of the input and of every layer's codes: ``name``, ``base`` and ``words`` (of every bank),
        ``first`` and ``last``: the layer that writes it, -1 for the host, and the last one that
        reads it, None for a map that nothing may overwrite.
    """
    readers: dict = {}
    for index, layer in enumerate(image.layers):
        for term in layer["terms"]:
            readers[term["source"]] = index
    described = [("input", -1, image.metadata["input"])]
    described += [(layer["name"], index, layer["output"])
                  for index, layer in enumerate(image.layers) if not layer["raw"]]
    kept = {"input"} if image.metadata["input"]["kept"] else set()
    return [{"name": name, "base": entry["base"],
             "words": MapLayout(**entry["layout"]).bank_words, "first": first,
             "last": None if name in kept else readers.get(name)}
            for name, first, entry in described]

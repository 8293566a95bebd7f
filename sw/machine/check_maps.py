"""Maps of an image that comes from a file: that none lies in another's way, nor on padding."""

from itertools import combinations

from ..errors import ImageError
from .lifetimes import map_lifetimes

__all__ = ["check_maps"]


def check_maps(image):
    """Checks where the maps of an image lie.

    Parameters
    ----------
    image : sw.machine.image.Image
        Whose layers are checked otherwise.

    Raises
    ------
    ImageError
        By the map that is in the way.
    """
    maps = map_lifetimes(image)
    for one, other in combinations(maps, 2):
        if _meet(one, other) and one["first"] <= _end(other) and other["first"] <= _end(one):
            raise ImageError(f"Image map {other['name']!r} must lie apart from map "
                             f"{one['name']!r}, which is needed as long, not at {other['base']}")
    for layer, fields in zip(image.layers, image.descriptors(), strict=True):
        for terms in image.terms(fields):
            described = iter(layer["terms"])
            for index, entry in enumerate(terms):
                planes = (1 if index in layer["constants"]
                          else next(described)["activation_planes"])
                read = {"base": entry["pad_base"], "words": entry["words"] + (
                    planes - 1) * (entry["tile_words"] // planes)}
                wrong = next((each for each in maps if _meet(each, read)), None)
                if wrong is not None:
                    raise ImageError(f"Image layer {layer['name']!r} term {index} must have its "
                                     f"padding words apart from map {wrong['name']!r}, not at "
                                     f"{read['base']}")


def _end(life):
    """The last layer for which a map must last."""
    return float("inf") if life["last"] is None else life["last"]


def _meet(one, other):
    return (one["base"] < other["base"] + other["words"]
            and other["base"] < one["base"] + one["words"])

"""Plain model of the feed, written from the page of :mod:`hw.spec.descriptor`: divisions spelled
out."""

from xnorloom.hw.spec.descriptor import PAIR, TAP, TERM

__all__ = ["border_class", "feed_steps", "kept", "place_of", "reads", "term_visits", "random_layer"]


def kept(layout, entry):
    """A table entry as narrower fields keep it: their top bit stands for all from there on."""
    tops = {name: 1 << field.shape.width - 1 for name, field in layout}
    return {name: value if value < 2 * tops[name] else value % tops[name] + tops[name]
            for name, value in entry.items()}


def term_visits(layer, terms):
    """``(column tile, pixel tile, term of the tile, its table entry)`` of every visit."""
    for column in range(layer["col_tiles"]):
        first = layer["term_base"] + column // layer["term_period"] * layer["terms"]
        for tile in range(layer["pixel_tiles"]):
            for number in range(layer["terms"]):
                yield column, tile, number, terms[first + number]


def tile_index(layer, tile):
    """A walked tile among all tiles of the map."""
    return tile + tile // layer["line_tiles"] * layer["line_skip"]


def feed_steps(layer, terms, pairs):
    """Every step, as a dictionary."""
    for column, tile, number, term in term_visits(layer, terms):
        taps, words = term["taps_per_group"], term["words"]
        weights = (layer["weight_base"] + column * layer["col_tile_words"]
                   + term["weight_offset"])
        address = (term["activation_base"] + tile_index(layer, tile) * term["tile_words"])
        for group in range(term["groups"]):
            for pair in range(term["pairs"]):
                for tap in range(taps):
                    for word in range(words):
                        within = tap * words + word
                        pair_last = within == taps * words - 1
                        visit_last = (pair_last and pair == term["pairs"] - 1
                                      and group == term["groups"] - 1)
                        tile_last = visit_last and number == layer["terms"] - 1
                        sweep_last = tile_last and tile == layer["pixel_tiles"] - 1
                        entry = pairs[term["pair_base"] + pair] if (
                            term["pair_base"] + pair < len(pairs)) else None
                        yield {
                            "column": column, "tile": tile, "term": term,
                            "tap_index": term["tap_base"] + group * taps + tap,
                            "pair_index": term["pair_base"] + pair, "word": word,
                            "tile_address": address,
                            "weight": weights + group * taps * words + within,
                            "pair_first": within == 0, "pair_last": pair_last,
                            "new_tile": not (number or group or pair or within),
                            "tile_last": tile_last, "sweep_last": sweep_last,
                            "layer_last": sweep_last and column == layer["col_tiles"] - 1,
                            "pass_last": bool(pair_last and entry and entry["drain"])}


def place_of(layer, rows, tile, row):
    """Line and column place of a row of a walked tile, and whether it is a pixel of the map."""
    line, place = divmod(tile * rows + row, layer["walk"])
    return line, place, line < layer["out_lines"] and place < layer["walk_width"]


def border_class(layer, line, place):
    """Class of a pixel: that of its line, times 4, plus that of its column."""
    column, width = place // layer["images"], layer["walk_width"] // layer["images"]
    numbers = []
    for at, size, near, far in (
            (line, layer["out_lines"], layer["border_top"], layer["border_bottom"]),
            (column, width, layer["border_left"], layer["border_right"])):
        numbers.append(at if at < near else near + max(0, at - (size - far) + 1))
    return 4 * numbers[0] + numbers[1]


def reads(rows, layer, terms, taps, pairs):
    """Of every step: the step, its rotation, address of every bank, flags and weight address."""
    for step in feed_steps(layer, terms, pairs):
        tap, pair, term = taps[step["tap_index"]], pairs[step["pair_index"]], step["term"]
        addresses = [None] * rows
        for row in range(rows):
            line, place, alive = place_of(layer, rows, step["tile"], row)
            inside = (alive and tap["first_place"] <= place < tap["end_place"]
                      and tap["first_line"] <= line < tap["end_line"])
            slot, bank = divmod(row + tap["rotation"], rows)
            start = (step["tile_address"] + tap["offset"] + slot * term["tile_words"] if inside
                     else term["pad_base"])
            addresses[bank] = start + pair["activation_offset"] + step["word"]
        first, last = step["pair_first"], step["pair_last"]
        flags = (1, int(pair["clear"] and first), int(pair["double"] and first),
                 int(pair["drain"] and last))
        yield step, (tap["rotation"], *addresses, *flags), step["weight"] + pair["weight_offset"]


def record(fields, **values):
    """An entry of a table: 0 where nothing else is said."""
    return {**dict.fromkeys(fields.fields, 0), **values}


def random_layer(rng, config, *, most_tiles=6, most_sweeps=3, once=0.3):
    """A layer and its three tables; where it reads is up to the caller.

    ``once``: how often a term is a single step. Where the machine can, about half of them are in
    pairs.
    """
    terms_per_tile, columns = rng.randint(1, 3), rng.randint(1, most_sweeps)
    period = rng.choice([1, 1, 2, 3])
    images = rng.choice([1, 1, 2, 3])
    width, lines = rng.randint(1, 7), rng.randint(1, 5)
    walk = rng.choice([width * images, width * images + rng.randrange(8)])
    tiles = rng.randint(1, most_tiles)
    paired = config.pixels_per_cycle == 2 and rng.random() < 0.5
    walk += walk % 2 if paired else 0
    least = config.rows // 2 if paired else config.rows
    limit = 3 if config.border_classes and not paired else 0
    left, top = rng.randint(0, min(limit, width)), rng.randint(0, min(limit, lines))
    layer = {
        "raw": 0, "rescale": 0, "block": rng.randint(1, 20),
        "tile_cycles": least + rng.choice([0, 0, 3, 20]), "col_tiles": columns,
        "term_period": period, "pixel_tiles": tiles, "terms": terms_per_tile,
        "line_tiles": rng.randint(1, 4), "line_skip": rng.choice([0, 1, 2]), "walk": walk,
        "walk_width": width * images, "out_lines": lines, "images": images,
        "term_base": rng.randrange(4), "weight_base": rng.randrange(100),
        "col_tile_words": rng.randint(1, 40), "border_left": left, "border_top": top,
        "border_right": rng.randint(0, min(limit - left, width - left)),
        "border_bottom": rng.randint(0, min(limit - top, lines - top))}
    if config.pixels_per_cycle == 2:
        layer["pixel_pairs"] = int(paired)
    count = layer["term_base"] + -(-columns // period) * terms_per_tile
    terms = [record(TERM, **_random_term(rng, rng.random() < once)) for _ in range(count)]
    taps = [_random_tap(rng, config.rows, width * images, lines) for _ in range(40)]
    pairs = [record(PAIR, activation_offset=rng.randrange(6), weight_offset=rng.randrange(50),
                    clear=rng.getrandbits(1), double=rng.getrandbits(1),
                    drain=rng.getrandbits(1)) for _ in range(20)]
    # Every list ends a tile with a step that ends a pass.
    for last in terms[layer["term_base"] + terms_per_tile - 1::terms_per_tile]:
        pairs[last["pair_base"] + last["pairs"] - 1]["drain"] = 1
    return layer, terms, taps, pairs


def _random_term(rng, once):
    turns = [1] * 4 if once else [rng.randint(1, most) for most in (3, 3, 2, 2)]
    names = ("pairs", "taps_per_group", "words", "groups")
    return {**dict(zip(names, turns)), "activation_base": rng.randrange(60, 100),
            "pad_base": rng.randrange(100), "tile_words": rng.randint(1, 6),
            "tap_base": rng.randrange(30), "pair_base": rng.randrange(15),
            "weight_offset": rng.randrange(100)}


def _random_tap(rng, rows, places, lines):
    first_place, first_line = rng.choice([0, 0, 1, 3]), rng.choice([0, 0, 1, 2])
    return record(TAP, offset=rng.randint(-60, 60), rotation=rng.randrange(rows),
                  first_place=first_place, first_line=first_line,
                  end_place=rng.choice([places, 65535, rng.randint(0, places)]),
                  end_line=rng.choice([lines, 4095, rng.randint(0, lines)]))

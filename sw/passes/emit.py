"""The contents of all memories for one size of batch: addresses, tables, descriptors."""

import numpy as np

from xnorloom.hw.spec.descriptor import (
    DESCRIPTOR_TAG,
    PAIR,
    POOLS,
    RESCALE_SHIFTS,
    TAP,
    TERM,
    descriptor_limits,
)
from xnorloom.hw.spec.latency import in_pixel_pairs, pool_cycles, tile_cycles
from xnorloom.hw.spec.memory import Memory

from ..errors import CompileError, DoesNotFit
from ..machine.pack import pack_parameters, pack_records, pack_scales, pack_weights
from ..machine.walk import NOWHERE, tap_entries

__all__ = ["LayerEmitter"]


class LayerEmitter:
    """Places the contents of layers.

    Parameters
    ----------
    config : MachineConfig
    memory : dict
        ``Memory -> Bump``.
    maps : dict of str to MapLayout
        Layouts of the input and of the maps that are stored.
    addresses : dict of str to int
        Where they lie.
    """

    def __init__(self, config, memory, maps, addresses):
        self.config, self.memory, self.maps, self.addresses = config, memory, maps, addresses

    def records(self, plan, record, entries, limits=None):
        """Packs records; a value out of its bounds is an error of the layer."""
        try:
            return pack_records(record, entries, limits)
        except ValueError as error:
            raise CompileError(f"Layer {plan.layer.name!r} is beyond the machine's reach: "
                               f"{error}") from None

    def fields(self, plan, walk, turns, pads):
        """Places the contents of a layer and returns the fields of its descriptor.

        Parameters
        ----------
        plan : LayerPlan
        walk : sw.machine.walk.Walk
        turns : int
            Turns in which its map is written.
        pads : list of int
            Address of the padding words of every term.
        """
        layer, config = plan.layer, self.config
        col_tiles = -(-layer.outputs // config.cols)
        weights, terms = self._terms(plan, pads)
        parameters = pack_parameters(
            plan.biases, config, thresholds=plan.thresholds,
            addends=None if plan.rescale is None else plan.rescale.addends)
        flat = parameters.reshape(config.cols, -1, 1)
        fields = {name: low for name, (low, _high) in descriptor_limits(config).items()}
        fields |= {
            "tag": DESCRIPTOR_TAG, "raw": layer.requantize is None,
            "last_cols": layer.outputs - (col_tiles - 1) * config.cols, "col_tiles": col_tiles,
            **walk.fields(), "term_period": plan.period, "terms": len(plan.terms),
            "block": parameters.shape[2], "walk_width": layer.map[1] * walk.images,
            "out_lines": layer.map[0],
            "tile_cycles": tile_cycles(config, bordered=plan.borders.any),
            "term_base": self.memory[Memory.TERMS].share(self.records(plan, TERM, terms)),
            "weight_base": self.memory[Memory.WEIGHTS].place(
                weights.reshape(config.cols, -1, config.lane_words)),
            "col_tile_words": weights.shape[2], "passes": plan.passes,
            "scale_base": self.memory[Memory.SCALES].place(self._scales(plan)),
            "parameter_base": self.memory[Memory.PARAMETERS].place(flat),
            **{f"border_{side}": getattr(plan.borders, side)
               for side in ("top", "bottom", "left", "right")},
        }
        if layer.requantize is not None:
            fields |= self._output(plan, walk, turns)
        return fields

    def _terms(self, plan, pads):
        """Weight words ``(cols, column tiles, words, lane words)``, and the entries of the term
        table."""
        parts, shared, offset = [], [], 0
        first = plan.layer.terms[0].source
        for term, pad in zip(plan.terms, pads, strict=True):
            source = first if term.term is None else term.term.source
            layout = self.maps[source]
            words = pack_weights(term.weights, self.config)
            pairs = [
                {"activation_offset": step.activation_plane * layout.words,
                 "weight_offset": step.weight_plane * term.taps * term.words,
                 "clear": index == 0, "double": step.double, "drain": index == len(item.steps) - 1}
                for item in term.passes for index, step in enumerate(item.steps)]
            taps = [NOWHERE] if term.term is None else tap_entries(
                term.term.kernel, term.term.stride, term.term.dilation, term.term.padding, layout,
                plan.layer.map)
            shared.append({
                "activation_base": self.addresses[source], "pad_base": pad,
                "tile_words": layout.tile_words, "words": term.words,
                "tap_base": self.memory[Memory.TAPS].share(self.records(plan, TAP, taps)),
                "taps_per_group": term.taps // term.groups, "groups": term.groups,
                "pair_base": self.memory[Memory.PAIRS].share(self.records(plan, PAIR, pairs)),
                "pairs": len(pairs), "weight_offset": offset})
            parts.append(words)
            offset += words.shape[2]
        runs = -(-parts[0].shape[1] // plan.period)
        entries = []
        for run in range(runs):
            for term, fields in zip(plan.terms, shared, strict=True):
                start = term.starts[run] if term.term is not None else 0
                entries.append({**fields,
                                "activation_base": fields["activation_base"] + start,
                                "pad_base": fields["pad_base"] + start})
        return np.concatenate(parts, axis=2), entries

    def _scales(self, plan):
        parts, relu = [], []
        for term in plan.terms:
            scales = np.stack([item.scales for item in term.passes], axis=2)
            parts.append(scales.reshape(len(scales), -1))
            relu += [term.relu and not index for index in range(parts[-1].shape[1])]
        return pack_scales(
            np.concatenate(parts, axis=1), np.array(relu), self.config,
            multipliers=None if plan.rescale is None else plan.rescale.multipliers)

    def _output(self, plan, walk, turns):
        """Fields of what becomes of codes."""
        layer, out, bordered = plan.layer, self.maps[plan.layer.name], plan.borders.any
        pairs = in_pixel_pairs(
            self.config, raw=False, bordered=bordered, pooled=layer.pool is not None, turns=turns,
            walk=walk.places, stride_x=out.stride_x)
        fields = {"code_bits": layer.requantize.bits, "map_bits": layer.format.planes,
                  "turns": turns, "pixel_pairs": pairs,
                  "tile_cycles": max(tile_cycles(self.config, bordered=bordered, pixel_pairs=pairs),
                                     layer.format.planes * turns),
                  **out.output_fields(self.addresses[layer.name], layer.format.table)}
        if plan.rescale is not None:
            fields |= {"rescale": 1, "shift": RESCALE_SHIFTS.index(plan.rescale.shift)}
        if layer.pool is None:
            return fields | {"out_walk": walk.places}
        return fields | self._pool(plan, walk.images)

    def _pool(self, plan, images):
        """Fields of pooling."""
        layer, pool, config = plan.layer, plan.layer.pool, self.config
        lines, width = pool.out_map(*layer.map)
        open_y, open_x = (-(-window // step) for window, step
                          in zip(pool.window, pool.stride, strict=True))
        entries = open_y * width * images
        if entries > config.pool_depth:
            raise DoesNotFit(f"Pool memory of machine {config.name!r}, for layer {layer.name!r}",
                             entries, config.pool_depth, by_batch=True)
        cycles = pool_cycles(layer.format.planes, open_y * open_x)
        return {
            "pool": POOLS[pool.kind], "pool_cycles": cycles,
            "tile_cycles": max(tile_cycles(config, bordered=plan.borders.any),
                               config.rows * cycles),
            "pool_window_y": pool.window[0], "pool_window_x": pool.window[1],
            "pool_stride_y": pool.stride[0], "pool_stride_x": pool.stride[1],
            "pool_top": pool.padding[0], "pool_left": pool.padding[2],
            "pool_lines": lines, "pool_width": width, "pool_open_y": open_y, "pool_open_x": open_x,
            "out_walk": width * images}

"""Values of a network for all calibration images at once, up to one of its nodes."""

import math

from ..graph.graph import INPUT

__all__ = ["HeldValues", "peak_values"]


def peak_values(graph):
    """Most numbers that :class:`HeldValues` holds for one image between two nodes."""
    sizes = {INPUT: math.prod(graph.in_shape)}
    left, held = graph.uses(), sizes[INPUT]
    peak = held
    for node in graph.nodes:
        sizes[node.name] = math.prod(node.shape)
        left.subtract(node.inputs)
        held += sizes[node.name] - sum(sizes[name] for name in set(node.inputs) if not left[name])
        peak = max(peak, held)
    return peak


class HeldValues:
    """Runs every node of a network once for all batches, when something behind it asks.

    What a node has become by then is what runs: calibration changes a layer before anything reads
    its output.

    Parameters
    ----------
    network : sw.graph.model.GraphModel
        In evaluation mode.
    batches : list of tensor
    """

    def __init__(self, network, batches):
        self.network, self.done = network, 0
        self.left = network.graph.uses()
        self.values = [{INPUT: batch} for batch in batches]

    def read_by(self, name):
        """What a node of one input reads, batch by batch; None if it has run already."""
        nodes = self.network.graph.nodes
        place = next(place for place, node in enumerate(nodes) if node.name == name)
        if place < self.done:
            return None
        for node in nodes[self.done:place]:
            self.left.subtract(node.inputs)
            unread = {each for each in node.inputs if not self.left[each]}
            for values in self.values:
                values[node.name] = self.network.run(node, values)
                for each in unread:
                    del values[each]
        self.done = place
        (read,) = nodes[place].inputs
        return [values[read] for values in self.values]

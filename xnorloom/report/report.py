"""The report of a demo or comparison: JSON first, tables and pictures drawn from it.

A report holds ``schemes`` (see :func:`scheme_entry`), ``machine``, ``simulation``, ``versions`` and
``seconds``. Utilization is useful lane-cycles over all lane-cycles: binary operations the network
needs, over those the array could have done in the cycles it took.
"""

from .environment import versions

__all__ = ["mismatches", "new_report", "scheme_entry", "simulation_speed"]


def scheme_entry(name, images, accuracy, layers, cycles, *, results=None, net=None, timeline=None,
                 maps=(), memories=()):
    """Entry of one scheme: sums over its layers, then the layers themselves.

    Parameters
    ----------
    name : str
        The scheme.
    images : int
        Images simulated and compared.
    accuracy : dict
        Fractions under ``float``, ``quantized``, ``snapped``, ``hardware``; None where unknown.
    layers : list of dict
        Per layer ``name``, ``in_shape``, ``out_shape``, ``activation_planes`` and
        ``weight_planes`` of its first term, ``terms``, ``pool``, ``passes``,
        ``useful_lane_cycles``, ``lanes_total`` (lanes of the whole array), ``busy_cycles``,
        ``stalled_on_drain_cycles``, ``stalled_on_output_cycles``, ``stalled_on_input_cycles``,
        ``cycles`` (``predicted``, ``measured``), ``mismatches`` (``torch_vs_reference``,
        ``reference_vs_rtl``) and ``values_compared``.
    cycles : dict
        ``predicted`` and ``measured`` cycles of all runs. More than the layers' own: between two
        layers the machine fetches a descriptor.
    results : dict or None
        Mismatches, as of a layer, of the network's results: what the host makes of the last layer.
        They count among all, but not among ``values_compared``.
    net : str or None
        The network, if it has a name besides that of the scheme.
    timeline : dict or None
        One run of one batch: ``images``, ``cycles`` and ``intervals``, each ``layer``, ``start``,
        ``end`` in cycles and ``utilization``.
    maps, memories : list of dict
        Where maps lie and for how long, of :func:`sw.machine.lifetimes.map_lifetimes`, and what is
        used of every memory, as :func:`xnorloom.inspect` tells it.
    """
    for layer in layers:
        layer["utilization"] = _utilization([layer], layer["cycles"])
    entry = {
        "name": name, "net": net, "title": f"{net}, {name}" if net else name,
        "images": images,
        "accuracy": {stage: accuracy.get(stage)
                     for stage in ("float", "quantized", "snapped", "hardware")},
        "mismatches": {kind: sum(layer["mismatches"][kind] for layer in layers)
                       + (results or {}).get(kind, 0)
                       for kind in ("torch_vs_reference", "reference_vs_rtl")},
        "values_compared": sum(layer["values_compared"] for layer in layers),
        "cycles": dict(cycles),
        "utilization": _utilization(layers, cycles),
        "layers": layers, "maps": list(maps), "memories": list(memories),
    }
    if timeline is not None:
        entry["timeline"] = timeline
    return entry


def _utilization(layers, cycles):
    useful = sum(layer["useful_lane_cycles"] for layer in layers)
    return useful / (cycles["measured"] * layers[0]["lanes_total"])


def new_report(config, schemes, simulated_cycles, simulation_seconds, seconds):
    """Puts the entries of all schemes under one head.

    Parameters
    ----------
    config : MachineConfig
        The machine that ran.
    schemes : list of dict
        Results of :func:`scheme_entry`.
    simulated_cycles, simulation_seconds : int, float
        Cycles of all runs, and what they took.
    seconds : float
        What everything took.
    """
    return {
        "machine": {**config.as_dict(), "fingerprint": f"{config.fingerprint:08x}"},
        "simulation": {
            "cycles": simulated_cycles,
            "seconds": round(simulation_seconds, 3),
            "cycles_per_second": simulation_speed(simulated_cycles, simulation_seconds),
        },
        "versions": versions(),
        "seconds": round(seconds, 1),
        "schemes": schemes,
    }


def simulation_speed(cycles, seconds):
    """Cycles per second as an integer, 0 if nothing ran."""
    return round(cycles / seconds) if seconds > 0 else 0


def mismatches(report):
    """Values that differ, in all schemes, and cycle counts that were not predicted."""
    total = 0
    for scheme in report["schemes"]:
        total += sum(scheme["mismatches"].values())
        total += sum(part["cycles"]["measured"] != part["cycles"]["predicted"]
                     for part in (scheme, *scheme["layers"]))
    return total

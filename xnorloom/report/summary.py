"""What several runs of a scheme come to."""

import statistics

__all__ = ["STAGES", "summary", "wrong"]

STAGES = ("float", "quantized", "snapped", "hardware")
"""Forms of a network whose accuracy is told."""


def wrong(run):
    """Values of a run that differ, and cycle counts that were not predicted."""
    late = run["cycles"]["measured"] != run["cycles"]["predicted"]
    return sum(run["mismatches"].values()) + run["mispredicted_layers"] + late


def summary(scheme):
    """Of a scheme in a report: ``median``, ``low`` and ``high`` of each stage's accuracy over the
    seeds (None where unknown), ``mismatches`` of all runs, cycle counts that were not predicted
    among them, median ``cycles`` and ``utilization``."""
    accuracy = {}
    for stage in STAGES:
        values = [run["accuracy"][stage] for run in scheme["runs"]]
        accuracy[stage] = None if None in values else {
            "median": statistics.median(values), "low": min(values), "high": max(values)}
    return {"accuracy": accuracy, "mismatches": sum(map(wrong, scheme["runs"])),
            "cycles": statistics.median(run["cycles"]["measured"] for run in scheme["runs"]),
            "utilization": statistics.median(run["utilization"] for run in scheme["runs"])}

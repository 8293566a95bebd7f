"""What the first simulation of a machine costs: Verilog, translation to C++, compilation, first
cycle, in an empty cache."""

import argparse
import json
import tempfile
import time
from pathlib import Path

from xnorloom.hw.spec.config import load_machine
from xnorloom.hw.spec.registers import RegisterAddress
from xnorloom.sim.cache import BuildCache
from xnorloom.sim.transport import RtlTransport


def measure(machine):
    """Seconds of every stage of the build, and until a register answers (``total``)."""
    start = time.monotonic()
    begins = {}

    def progress(stage, _done, _total):
        begins.setdefault(stage, time.monotonic() - start)

    with tempfile.TemporaryDirectory() as folder:
        with RtlTransport(load_machine(machine), cache=BuildCache(folder),
                          progress=progress) as transport:
            transport.read_register(RegisterAddress.IDENTITY)
            total = time.monotonic() - start
    ends = [*list(begins.values())[1:], total]
    stages = {stage: round(end - begin, 1)
              for (stage, begin), end in zip(begins.items(), ends, strict=True)}
    return {"machine": machine, **stages, "total": round(total, 1)}


def main():
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split()))
    parser.add_argument("machines", nargs="*", default=["default", "wide"], metavar="MACHINE")
    parser.add_argument("--json")
    options = parser.parse_args()
    results = []
    for machine in options.machines:
        results.append(measure(machine))
        print("  ".join(f"{name} {value}" for name, value in results[-1].items()), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

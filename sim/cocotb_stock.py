"""The machine as most benches would drive it: a clock from Python. Only for comparison.

Sends the words of ``load.bin``, then those of ``run.bin``, lets the clock run and writes
``stock.json``.
"""

import array
import json
import os
import time
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge


@cocotb.test()
async def drive(dut):
    """Measures cycles per second of a busy machine."""
    cycles = int(os.environ["XNORLOOM_STOCK_CYCLES"])
    dut.rst.value = 1
    dut.i__valid.value = 0
    dut.o__ready.value = 1
    dut.registers__write.value = 0
    dut.registers__address.value = 0
    Clock(dut.clk, 10, unit="ns").start()
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    for name in ("load.bin", "run.bin"):
        await _send(dut, array.array("I", Path(name).read_bytes()))
    start = time.perf_counter()
    await ClockCycles(dut.clk, cycles)
    seconds = time.perf_counter() - start
    Path("stock.json").write_text(json.dumps(
        {"cycles": cycles, "seconds": seconds, "busy": int(dut.busy.value),
         "error": int(dut.error.value)}))


async def _send(dut, words):
    for word in words:
        dut.i__payload.value = word
        dut.i__valid.value = 1
        while True:
            await ReadOnly()
            taken = int(dut.i__ready.value)
            await RisingEdge(dut.clk)
            if taken:
                break
    dut.i__valid.value = 0

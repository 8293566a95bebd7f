"""The machine as most benches would drive it: a clock from Python. Only for comparison.

Sends the words of ``load.bin``, then those of ``run.bin`` again and again, each time measures the
cycles in which the machine is busy with them, and writes ``stock.json``.
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
    runs, cycles = map(int, os.environ["XNORLOOM_STOCK"].split())
    dut.rst.value = 1
    dut.s_axis_tvalid.value = 0
    dut.m_axis_tready.value = 1
    dut.csr_write.value = 0
    dut.csr_address.value = 0
    Clock(dut.clk, 10, unit="ns").start()
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await _send(dut, array.array("I", Path("load.bin").read_bytes()))
    seconds, busy = 0.0, True
    for _ in range(runs):
        while int(dut.busy.value):
            await ClockCycles(dut.clk, 50)
        await _send(dut, array.array("I", Path("run.bin").read_bytes()))
        start = time.perf_counter()
        await ClockCycles(dut.clk, cycles)
        seconds += time.perf_counter() - start
        busy &= bool(int(dut.busy.value))
    Path("stock.json").write_text(json.dumps(
        {"cycles": runs * cycles, "seconds": seconds, "busy": busy,
         "error": int(dut.error.value)}))


async def _send(dut, words):
    for word in words:
        dut.s_axis_tdata.value = word
        dut.s_axis_tvalid.value = 1
        while True:
            await ReadOnly()
            taken = int(dut.s_axis_tready.value)
            await RisingEdge(dut.clk)
            if taken:
                break
    dut.s_axis_tvalid.value = 0

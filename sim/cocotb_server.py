"""Runs inside the simulator: obeys a transport at the other end of a socket.

Requests and answers are lines of JSON. While a request is awaited, simulated time stands still.
Long requests are cut into slices of about half a second; after each a line ``{"running": cycles}``
tells the other end that we live, and tells us whether it does.
"""

import json
import os
import select
import shutil
import socket
import time
from pathlib import Path

import cocotb
from cocotb.triggers import Timer

SLICE_SECONDS = 0.5
FIRST_SLICE_CYCLES = 2000
LARGEST_SLICE_CYCLES = 1 << 30
RESET_CYCLES = 4
WRITE_CYCLES = 4


class Server:
    """The bench as the transport sees it.

    Parameters
    ----------
    bench : handle
        The module of ``bench.v``.
    window : list of int or None
        First cycle of the waves and the first not in them. None: waves, if any, are of all cycles.
    """

    def __init__(self, bench, window=None):
        self.bench = bench
        self.edges = window
        self.go = 0
        self.exchanges = 0
        self.slice_cycles = FIRST_SLICE_CYCLES
        self.seconds = 0.0

    async def run(self, cycles, **requests):
        """Lets the clock run for so many cycles, or until the exchange is over."""
        while self.edges:
            now = _number(self.bench.cycles)
            first, end = self.edges
            requests["record"] = first <= now < end
            part = min([cycles, *(edge - now for edge in self.edges if edge > now)])
            await self._run(part, **requests)
            cycles -= part
            if not cycles or (part and _number(self.bench.finished)):
                return
            requests = {}
        await self._run(cycles, **requests)

    async def _run(self, cycles, **requests):
        self.go ^= 1
        for name, value in requests.items():
            getattr(self.bench, f"ask_{name}").value = value
        self.bench.ask_limit.value = cycles
        self.bench.go.value = self.go
        await self.bench.done.value_change
        # A simulator may tell of the change before the rest of its time step is done.
        await Timer(1, "ps")

    async def reset(self):
        """Holds the reset, then releases it."""
        await self.run(RESET_CYCLES, rst=1)
        await self.run(0, rst=0)

    async def read(self, address):
        """Value of a register; takes no cycle."""
        await self.run(0, address=address)
        return {"value": _number(self.bench.read_data)}

    async def write(self, address, value):
        """Writes a register; as on a bus, the next access comes some cycles later."""
        await self.run(1, address=address, write=1, write_data=value)
        await self.run(WRITE_CYCLES - 1, write=0)
        return {"cycles": _number(self.bench.cycles)}

    async def exchange(self, words, limit, stall_i, stall_o, seed, reset_at, resume, beat):
        """Streams ``input.bin`` in and ``output.bin`` out until the machine is idle or in error."""
        bench = self.bench
        self.exchanges += 1
        requests = {"exchange": self.exchanges, "words": words, "stall_i": stall_i,
                    "stall_o": stall_o, "seed": seed, "reset_at": reset_at, "resume": resume,
                    "stream": 1}
        finished, left = False, limit
        while not finished and left > 0:
            cycles = min(left, self.slice_cycles)
            start = time.perf_counter()
            await self.run(cycles, **requests)
            seconds = time.perf_counter() - start
            self.seconds += seconds
            left -= cycles
            requests = {}
            finished = bool(_number(bench.finished))
            if not finished and left > 0:
                self.slice_cycles = _next_slice(cycles, seconds)
                beat(_number(bench.cycles))
        if _number(bench.unknown):
            await self.run(0, stream=0)
            raise ValueError("a handshake or busy or error of the machine is X")
        answer = {"finished": finished, "cycles": _number(bench.cycles), "seconds": self.seconds,
                  "sent": _number(bench.sent), "received": _number(bench.received),
                  "dropped": _number(bench.dropped),
                  "busy": str(bench.busy.value), "error": str(bench.error.value)}
        await self.run(0, stream=0)
        return answer


def _number(handle):
    bits = str(handle.value)
    if set(bits) - {"0", "1"}:
        raise ValueError(f"signal {handle._name} is {bits}")
    return int(bits, 2)


def _next_slice(cycles, seconds):
    """As many cycles as take :data:`SLICE_SECONDS`, but at most four times as many as before."""
    wanted = int(cycles * SLICE_SECONDS / max(seconds, 1e-6))
    return max(1, min(wanted, 4 * cycles, LARGEST_SLICE_CYCLES))


class _Interrupted(Exception):
    """Something came over the link in the middle of an exchange: a close, or its end."""


@cocotb.test()
async def serve(dut):
    """Answers requests until told to close, or until nobody is left to answer."""
    link = socket.socket(fileno=int(os.environ["XNORLOOM_SOCKET"]))
    window = os.environ.get("XNORLOOM_WINDOW")
    server = Server(dut, [int(edge) for edge in window.split()] if window else None)
    folders = [Path.cwd(), *([Path(os.environ["XNORLOOM_WAVES"])]
                             if "XNORLOOM_WAVES" in os.environ else [])]
    with link, link.makefile("r", encoding="utf-8") as lines:
        def tell(answer):
            link.sendall(json.dumps(answer).encode() + b"\n")

        def beat(cycles):
            tell({"running": cycles})
            if select.select([link], [], [], 0)[0]:
                raise _Interrupted

        orphan = True
        try:
            await Timer(1, "ps")
            await server.reset()
            tell({"ready": os.getpid()})
            while request := lines.readline():
                arguments = json.loads(request)
                operation = arguments.pop("do")
                if operation == "close":
                    orphan = False
                    return
                if operation == "exchange":
                    arguments["beat"] = beat
                try:
                    tell(await getattr(server, operation)(**arguments))
                except _Interrupted:
                    continue
                except ValueError as error:
                    tell({"failed": str(error)})
        except ConnectionError:
            pass
        finally:
            if orphan:
                # The transport is gone without a word, so nobody else clears up.
                for folder in folders:
                    shutil.rmtree(folder, ignore_errors=True)

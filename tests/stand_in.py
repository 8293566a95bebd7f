"""A machine that stands in for the simulated one: quick, and faulty on request."""

import numpy as np

from xnorloom.hw.spec.link import Opcode
from xnorloom.sw.machine.reference import ReferenceMachine

__all__ = ["StandIn"]


class StandIn(ReferenceMachine):
    """An integer reference with a simulator's counters, and faults on request."""

    cycles, seconds = 1000, 0.5

    def __init__(self, config, *, flip=False, late=0):
        super().__init__(config)
        self.flip, self.late = flip, late

    def _send(self, answers, opcode, payload):
        if self.flip and opcode is Opcode.DATA and len(payload) > 8:
            payload = np.array(payload)
            payload[0] ^= 1
            self.flip = False
        if self.late and opcode is Opcode.DATA and len(payload) == 8:
            payload = np.array(payload)
            payload[0] += self.late
        super()._send(answers, opcode, payload)

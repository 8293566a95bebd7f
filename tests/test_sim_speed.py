"""The benchmark of simulation speed measures a machine that computes."""

from benchmarks.simulation_speed import workload
from xnorloom.hw.spec.config import PRESETS
from xnorloom.hw.spec.link import Opcode
from xnorloom.sw.machine.reference import ReferenceMachine


def test_the_workload_is_a_run_that_can_be_repeated():
    config = PRESETS["default"]
    load, run = workload(config)
    machine = ReferenceMachine(config)
    machine.exchange(load)
    for _ in range(2):
        answer = machine.exchange(run)
        assert len(answer) == 5 and answer[0] >> 24 == Opcode.DONE
        assert machine.read_register(4) == 0

"""Helpers for benches in Amaranth's own simulator."""

from amaranth.sim import Simulator

__all__ = ["simulate"]


def simulate(component, *testbenches, processes=()):
    """Runs testbenches on a component with one clock; they must end by themselves."""
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    for process in processes:
        simulator.add_process(process)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    simulator.run()

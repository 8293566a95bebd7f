# amaranth: UnusedElaboratable=no
"""The watchdog barks after exactly its limit, at whoever is waited for, and never at nobody."""

import random

import pytest

from tests.bench import play
from xnorloom.hw.control.monitor import RunMonitor, Watchdog


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_watchdog(limit):
    dog = Watchdog()
    rng = random.Random(limit)
    cycles, expected, quiet = [], [], 0
    for _ in range(400):
        on, progress = rng.random() < 0.95, rng.random() < 0.15
        cycles.append([(dog.limit, limit), (dog.on, int(on)), (dog.progress, int(progress))])
        still = on and not progress
        expected.append(int(still and quiet >= limit))
        quiet = quiet + 1 if still else 0
    assert [bark for bark, in play(dog, cycles, [dog.bark])] == expected
    assert sum(expected) > 10


def _watch(receiving, received, working, worked, *, limit=6, cycles=20):
    """Cycle of the first bark, and who is barked at."""
    monitor = RunMonitor()
    inputs = [(monitor.limit, limit), (monitor.receiving, receiving),
              (monitor.received, received), (monitor.working, working), (monitor.worked, worked)]
    seen = play(monitor, [inputs] + [[]] * cycles, [monitor.link_timeout, monitor.hung])
    return next(((cycle, *barks) for cycle, barks in enumerate(seen) if any(barks)), None)


@pytest.mark.parametrize("received", [0, 1])
@pytest.mark.parametrize("worked", [0, 1])
def test_nobody_is_waited_for_by_an_idle_machine(received, worked):
    assert _watch(0, received, 0, worked) is None


@pytest.mark.parametrize("working", [0, 1])
@pytest.mark.parametrize("worked", [0, 1])
def test_a_frame_waits_for_the_host_whatever_else_moves(working, worked):
    assert _watch(1, 0, working, worked) == (7, 1, 0)
    assert _watch(1, 1, working, worked) is None


@pytest.mark.parametrize("received", [0, 1])
def test_a_run_or_an_answer_must_move(received):
    assert _watch(0, received, 1, 0) == (7, 0, 1)
    assert _watch(0, received, 1, 1) is None

# amaranth: UnusedElaboratable=no
"""Every entry goes to the one bank it names, and to no other."""

import random

from tests.bench import play
from xnorloom.hw.memory.store import Store
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.memory import Memory, banks

CONFIG = MachineConfig(rows=3, cols=2, lanes=70, activation_depth=30, weight_depth=40)
SERVED = (Memory.PROGRAM, Memory.ACTIVATIONS, Memory.WEIGHTS, Memory.SCALES)


def test_entries():
    store = Store(CONFIG, SERVED)
    ports = {(memory, number): port for memory in SERVED
             for number, port in enumerate(getattr(store, memory.name.lower()))}
    rng = random.Random(1)
    cycles, expected = [], []
    for _ in range(200):
        shape = banks(CONFIG)[rng.choice([memory for memory in Memory
                                          if memory != Memory.PROFILE])]
        bank, address = rng.randrange(shape.count), rng.randrange(shape.depth)
        entry, valid = rng.getrandbits(shape.width), rng.getrandbits(1)
        cycles.append([(store.i.valid, valid), (store.i.payload, {
            "memory": shape.memory, "bank": bank, "address": address, "data": entry})])
        hit = valid and shape.memory in SERVED
        expected.append({(shape.memory, bank): (address, entry)} if hit else {})
    seen = play(store, cycles, [value for port in ports.values()
                                for value in (port.en, port.addr, port.data)])
    for values, wanted in zip(seen, expected, strict=True):
        triples = zip(*[iter(values)] * 3, strict=True)
        assert {place: (address, entry) for place, (enable, address, entry)
                in zip(ports, triples, strict=True) if enable} == wanted
    assert sum(map(len, expected)) > 30

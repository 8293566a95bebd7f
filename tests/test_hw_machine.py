# amaranth: UnusedElaboratable=no
"""The machine's ports: soft reset to the cycle, ends of frames, interrupt line."""

from tests.bench import simulate
from xnorloom.hw.machine import PORTS, Machine
from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.link import Opcode, frame, section_header
from xnorloom.hw.spec.memory import Memory
from xnorloom.hw.spec.registers import Interrupt, RegisterAddress

CONFIG = MachineConfig(rows=1, cols=1, lanes=1, popcount_stages=1, activation_depth=4,
                       weight_depth=4, scale_depth=4, parameter_depth=4,
                       tap_depth=4, pair_depth=4, program_depth=32)
KEY = CONFIG.fingerprint


async def _send(ctx, machine, words):
    ctx.set(machine.s_axis_tvalid, 1)
    for word in words:
        ctx.set(machine.s_axis_tdata, word)
        await ctx.tick().until(machine.s_axis_tready)
    ctx.set(machine.s_axis_tvalid, 0)


async def _receive(ctx, machine):
    """Words of one frame, up to the one marked as its last."""
    words, last = [], 0
    ctx.set(machine.m_axis_tready, 1)
    while not last:
        word, last = await ctx.tick().sample(
            machine.m_axis_tdata, machine.m_axis_tlast).until(machine.m_axis_tvalid)
        words.append(word)
    ctx.set(machine.m_axis_tready, 0)
    return words


async def _write(ctx, machine, address, value):
    ctx.set(machine.csr_address, address)
    ctx.set(machine.csr_write_data, value)
    ctx.set(machine.csr_write, 1)
    await ctx.tick()
    ctx.set(machine.csr_write, 0)


def test_a_soft_reset_takes_two_cycles_in_which_no_word_passes():
    machine = Machine(CONFIG)
    read = frame(Opcode.READ, section_header(Memory.PROFILE, 0, 0, 4), KEY)
    seen = []

    async def bench(ctx):
        # Until the first word of an answer waits, then in the middle of a frame.
        await _send(ctx, machine, read)
        await ctx.tick().until(machine.m_axis_tvalid)
        ctx.set(machine.s_axis_tvalid, 1)
        ctx.set(machine.m_axis_tready, 0)
        await _write(ctx, machine, RegisterAddress.CONTROL, 1)
        ctx.set(machine.csr_address, RegisterAddress.STATUS)
        for _ in range(4):
            seen.append(tuple(ctx.get(port) for port in (
                machine.busy, machine.s_axis_tready, machine.m_axis_tvalid, machine.error))
                + (ctx.get(machine.csr_read_data),))
            await ctx.tick()

    simulate(machine, bench)
    assert seen[:3] == [(1, 0, 0, 0, 1), (1, 0, 0, 0, 1), (0, 1, 0, 0, 0)]


def test_the_last_word_of_a_frame_is_marked_and_no_other():
    machine = Machine(CONFIG)
    answers = []

    async def bench(ctx):
        for count in (0, 1, 3):
            await _send(ctx, machine, frame(
                Opcode.READ, section_header(Memory.ACTIVATIONS, 0, 0, count), KEY))
            answers.append(await _receive(ctx, machine))

    simulate(machine, bench)
    assert answers == [frame(Opcode.DATA, [0] * count, KEY) for count in (0, 1, 3)]


def test_the_interrupt_line():
    machine = Machine(CONFIG)

    async def bench(ctx):
        await _send(ctx, machine, frame(Opcode.IMAGE, [], KEY))
        await _write(ctx, machine, RegisterAddress.INTERRUPT_ENABLE, Interrupt.DONE)
        assert not ctx.get(machine.irq)
        await _send(ctx, machine, frame(Opcode.RUN, [0], KEY))
        # It comes before anybody takes the last frame.
        await ctx.tick().until(machine.irq)
        assert await _receive(ctx, machine) == frame(Opcode.DONE, [0], KEY)
        assert ctx.get(machine.irq)
        await _write(ctx, machine, RegisterAddress.INTERRUPT, Interrupt.DONE)
        assert not ctx.get(machine.irq)
        await _send(ctx, machine, [0])
        await ctx.tick().until(machine.error)
        assert not ctx.get(machine.irq)
        await _write(ctx, machine, RegisterAddress.INTERRUPT_ENABLE, Interrupt.ERROR)
        assert ctx.get(machine.irq)

    simulate(machine, bench)


def test_every_port_says_what_it_means():
    machine = Machine(CONFIG)
    assert list(PORTS) == list(machine.signature.members)
    assert all(meaning for _member, meaning in PORTS.values())

"""The worked example: one small linear layer, as numbers and as the frame that carries it."""

import numpy as np

from xnorloom.hw.spec.config import MachineConfig
from xnorloom.hw.spec.descriptor import DESCRIPTOR, PAIR, TAP, TERM
from xnorloom.hw.spec.link import MAGIC, Opcode, section_header
from xnorloom.hw.spec.memory import Memory, banks
from xnorloom.sw.bitplanes import BitPlanes
from xnorloom.sw.graph.network import CodeFormat, Encoder, Layer, Network, Staircase, Term
from xnorloom.sw.machine.frames import build_frame, build_sections, iterate_sections
from xnorloom.sw.machine.layout import MapLayout
from xnorloom.sw.machine.pack import heap_order
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.ops.grid import to_integers
from xnorloom.sw.ops.grid_term import GridTerm
from xnorloom.sw.passes.compiler import compile_network
from xnorloom.sw.passes.schedule import schedule_passes

from .tables import markdown_table

__all__ = ["BLOCKS", "CONFIG", "Example"]

CONFIG = MachineConfig(
    name="example", rows=2, cols=2, lanes=4, count_bits=4, scale_bits=6, acc_bits=12, code_bits=2,
    pool_depth=16, activation_depth=16, weight_depth=16, scale_depth=16, parameter_depth=32,
    term_depth=4, tap_depth=4, pair_depth=4, program_depth=32, popcount_stages=1)
"""A machine with narrow scales, so that the numbers stay short."""


_NO_FIELD = "no field"


class Example:
    """Four inputs of 2 bits, two outputs of 1-bit weights, a clipped and rounded activation.

    Attributes
    ----------
    codes, inputs : arrays, shape ``(4,)``
        Codes of the input, and the values they stand for.
    weights, codebook : BitPlanes
    integers : sw.ops.grid.Integers
    thresholds : int64 array, shape ``(2, 3)``
    network : sw.graph.network.Network
    image : sw.machine.image.Image
    """

    step, alpha = 0.5, 3.0
    codes = np.array([3, 1, 0, 2])
    signs = np.array([[1, 1, -1, 1], [-1, 1, -1, -1]])
    weight_scales = np.array([0.75, 0.3])
    bias = np.array([0.25, -0.1])

    def __init__(self):
        import torch

        from xnorloom.sw.passes.staircase import search
        from xnorloom.sw.quantizers.pact import PactActivation
        from xnorloom.sw.quantizers.planes import unsigned_codebook

        self.codebook = unsigned_codebook(2, self.step)
        self.inputs = self.codebook.reconstruct()[self.codes]
        self.weights = BitPlanes((self.signs[None, :, :, None, None] + 1) // 2,
                                 self.weight_scales.reshape(1, 2, 1))
        self.integers = to_integers("example", [GridTerm(self.weights, self.codebook)],
                                    [self.bias], CONFIG.scale_bits, CONFIG.acc_bits)
        (self.scales,) = self.integers.scales
        activation = PactActivation(bits=2, alpha=self.alpha).double()
        self.encode = activation.encode

        def codes(accumulators):
            return self.encode(torch.from_numpy(accumulators)
                               * 2.0 ** -self.integers.frac_bits).numpy()

        self.thresholds = search(codes, self.integers.low, self.integers.high, 4)
        planes_in = CodeFormat(np.ascontiguousarray(self.codebook.planes.T))
        planes_out = CodeFormat(np.ascontiguousarray(activation.codebook().planes.T))
        layer = Layer("linear", (Term("input", self.weights.planes, self.scales),),
                      self.integers.biases, self.integers.frac_bits, (1, 1),
                      requantize=Staircase(self.thresholds), format=planes_out)
        self.network = Network("example", (layer,), (4, 1, 1), planes_in, Encoder(self.step))
        self.image = compile_network(self.network, CONFIG, batch=2)
        self.input_bits = self.codebook.planes[:, self.codes]
        self.mismatches = (self.input_bits[:, None] ^ self.weights.planes[0, :, :, 0, 0]).sum(-1)
        self.accumulators = (self.integers.biases + np.einsum(
            "mi,im->m", self.scales[:, 0, :, 0], self.mismatches)).astype(np.int64)
        self.results = (self.thresholds <= self.accumulators[:, None]).sum(axis=1)

    @property
    def frame(self):
        """Words of the ``IMAGE`` frame: uint32 array."""
        return build_frame(Opcode.IMAGE, self.image.program, CONFIG.fingerprint)


def _bits(row):
    return "".join(str(int(bit)) for bit in row)


def _list(values):
    return ", ".join(f"{value:g}" for value in np.asarray(values, dtype=float).ravel())


def numbers():
    """The example by numbers: planes, mismatches, accumulators, codes."""
    example = Example()
    integers, frac = example.integers, example.integers.frac_bits
    planes = markdown_table(
        ["plane", "scale", "bits of the four inputs", "mismatches with row 0 of the weights",
         "with row 1"],
        [[i, f"{scale:g}", f"`{_bits(bits)}`", example.mismatches[i, 0], example.mismatches[i, 1]]
         for i, (scale, bits) in enumerate(zip(example.codebook.scales.ravel(),
                                               example.input_bits, strict=True))])
    layer = markdown_table(
        ["", "output 0", "output 1"],
        [["weight bits", *(f"`{_bits(row)}`" for row in example.weights.planes[0, :, :, 0, 0])],
         ["weight scale", *(f"{scale:g}" for scale in example.weight_scales)],
         ["bias", *(f"{value:g}" for value in example.bias)],
         ["`S` of plane 0", *example.scales[:, 0, 0, 0]],
         ["`S` of plane 1", *example.scales[:, 0, 1, 0]],
         ["`B`", *integers.biases],
         ["`acc = B + S0 * m0 + S1 * m1`", *example.accumulators],
         [f"value, `acc / 2^{frac}`", *(f"{acc / 2 ** frac:g}" for acc in example.accumulators)],
         ["value without snapping", *(f"{value:.4g}" for value in _exact(example))],
         ["bounds of every partial sum",
          *(f"{low} .. {high}" for low, high in zip(integers.low, integers.high, strict=True))],
         ["thresholds", *(_list(row) for row in example.thresholds)],
         ["in heap order", *(_list(row[heap_order(2)]) for row in example.thresholds)],
         ["code", *example.results]])
    return (f"Inputs have the codes {_list(example.codes)} of step {example.step:g}, that is the "
            f"values {_list(example.inputs)}. As planes their offset is "
            f"{example.codebook.offset:g}:\n\n{planes}\n\n"
            f"The layer, with `f` = {frac}:\n\n{layer}")


def _exact(example):
    weights = example.signs * example.weight_scales[:, None]
    return weights @ example.inputs + example.bias


def passes():
    """How the example's plane pairs are streamed."""
    example = Example()
    rows = []
    for item in schedule_passes(example.scales, doubling=True, worst_mismatches=4,
                                count_bits=CONFIG.count_bits):
        steps = ", then ".join(f"{'doubled, ' if step.double else ''}plane "
                               f"{step.activation_plane}" for step in item.steps)
        count = 0
        for step in item.steps:
            count = count * (2 if step.double else 1) + example.mismatches[step.activation_plane]
        rows.append([steps, _list(item.scales[:, 0]), _list(count),
                     _list(item.scales[:, 0] * count)])
    return markdown_table(["pass", "scale of outputs 0, 1", "count", "added to the accumulator"],
                          rows)


def dump():
    """The example's ``IMAGE`` frame, word by word."""
    example = Example()
    words = [int(word) for word in example.frame]
    rows = [(0, f"magic {MAGIC:#06x}, version, opcode IMAGE"), (1, "fingerprint"),
            (2, f"payload of {words[2]} words")]
    position = 3
    for memory, bank, start, entries in iterate_sections(example.image.program, banks(CONFIG)):
        rows.append((position, f"**section**: memory {int(memory)} ({memory.name}), bank {bank}"))
        rows.append((position + 1, f"from entry {start}, {len(entries)} entries"))
        position += 2
        for number, entry in enumerate(entries):
            for part in range(len(entry)):
                rows.append((position, _meaning(memory, start + number, number, part, entry)))
                position += 1
    rows.append((position, "CRC-32 of all words before"))
    assert position == len(words) - 1
    lines = [f"{place:4d}  {words[place]:08x}  {text.replace('**', '')}" for place, text in rows
             if text is not _NO_FIELD]
    unused = [place for place, text in rows if text is _NO_FIELD]
    assert unused == list(range(unused[0], unused[0] + len(unused)))
    lines.insert(unused[0], f"   -  00000000  {_NO_FIELD}, {len(unused)} words")
    return "```\n" + "\n".join(lines) + "\n```"


def exchange():
    """What follows the image: input, run, and the result read back."""
    example = Example()
    machine, described = ReferenceMachine(CONFIG), example.image.metadata
    machine.exchange(example.frame)
    layout = MapLayout(**described["input"]["layout"])
    codes = np.stack([example.codes, np.zeros_like(example.codes)])[:, :, None, None]
    banks_in = layout.pack(codes, described["input"]["table"])
    base = described["layers"][0]["output"]["base"]
    sent = [(Opcode.WRITE, np.concatenate(build_sections(
                Memory.ACTIVATIONS, banks_in, described["input"]["base"]))),
            (Opcode.RUN, [0 | 1 << 16]),
            (Opcode.READ, section_header(Memory.ACTIVATIONS, 0, base, 2))]
    lines = []
    for opcode, payload in sent:
        frame = build_frame(opcode, payload, CONFIG.fingerprint)
        for arrow, words in (("host   ", frame), ("machine", machine.exchange(frame))):
            if len(words):
                kind = Opcode(int(words[0]) >> 24).name
                text = [f"{int(word):08x}" for word in words]
                rows = [" ".join(text[k:k + 6]) for k in range(0, len(text), 6)]
                lines.append(f"{arrow}  {kind:<6}  " + ("\n" + 17 * " ").join(rows))
    return "```\n" + "\n".join(lines) + "\n```"


def _meaning(memory, address, number, part, entry):
    record = {Memory.PROGRAM: DESCRIPTOR, Memory.TERMS: TERM, Memory.TAPS: TAP,
              Memory.PAIRS: PAIR}.get(memory)
    if record is not None:
        index = number % len(record) if memory is Memory.PROGRAM else part
        word = int(entry[0] if memory is Memory.PROGRAM else entry[part])
        whole = [0] * len(record)
        whole[index] = word
        values = record.unpack(whole)
        return ", ".join(f"{field.name} {values[field.name]:#x}" if field.bits == 32
                         else f"{field.name} {values[field.name]}"
                         for field in record.words[index]) or _NO_FIELD
    value = int(entry[0])
    if memory in (Memory.WEIGHTS, Memory.ACTIVATIONS):
        return f"entry {address}: lanes 3..0 are {value:04b}"
    bits = CONFIG.scale_bits if memory is Memory.SCALES else CONFIG.acc_bits
    clamp = ", clamped before" if value >> bits else ""
    value &= (1 << bits) - 1
    return f"entry {address}: {value - (value >> bits - 1 << bits)}{clamp}"


def container():
    """The example's file, byte by byte."""
    data = Example().image.to_bytes()
    meta = int.from_bytes(data[20:24], "little")
    prog = 24 + meta + -meta % 4
    length = int.from_bytes(data[prog + 4:prog + 8], "little")
    rows = [
        (0, 4, "magic"), (4, 4, "format version"), (8, 4, "fingerprint of the machine"),
        (12, 4, f"length of the file: {len(data)}"), (16, 4, "section `META`"),
        (20, 4, f"its length: {meta}"), (24, meta, "JSON, UTF-8")]
    if meta % 4:
        rows.append((24 + meta, -meta % 4, "zeros up to a multiple of 4"))
    rows += [(prog, 4, "section `PROG`"), (prog + 4, 4, f"its length: {length}"),
             (prog + 8, length, "payload of the `IMAGE` frame"),
             (len(data) - 4, 4, "CRC-32 of all bytes before")]
    assert data[prog:prog + 4] == b"PROG" and prog + 8 + length == len(data) - 4

    def shown(start, count):
        head = " ".join(f"{byte:02x}" for byte in data[start:start + min(count, 4)])
        return f"`{head}`" + (" ..." if count > 4 else "")

    return markdown_table(["byte", "bytes", "contents", "meaning"],
                          [[start, count, shown(start, count), text]
                           for start, count, text in rows])


BLOCKS = {"numbers": numbers, "passes": passes, "dump": dump, "exchange": exchange,
          "container": container}
"""Name of a block -> function that returns its Markdown."""

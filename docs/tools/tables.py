"""Tables of the documentation, made from the ground floor (:mod:`hw.spec`) and from the ports."""

import dataclasses
import inspect
import re
from pathlib import Path

from xnorloom.hw.spec import config as config_module
from xnorloom.hw.spec import descriptor as descriptor_module
from xnorloom.hw.spec import link as link_module
from xnorloom.hw.spec import memory as memory_module
from xnorloom.hw.spec.config import FORMAT_VERSION, PRESETS, MachineConfig
from xnorloom.hw.spec.descriptor import (
    DESCRIPTOR,
    PAIR,
    RESCALE_DOWN,
    RESCALE_SHIFTS,
    TAP,
    TERM,
    descriptor_limits,
)
from xnorloom.hw.spec.link import HEADER_WORDS, MAGIC, ErrorCode, Opcode
from xnorloom.hw.spec.memory import PROFILE_COUNTERS, PROFILE_LAYERS, banks
from xnorloom.hw.spec.registers import DEFAULT_WATCHDOG_CYCLES, IDENTITY, REGISTERS

__all__ = ["BLOCKS", "ROOT", "markdown_table"]

ROOT = Path(__file__).resolve().parent.parent.parent
"""Root of the repository."""

SYMBOLIC = MachineConfig(
    rows=27, cols=11, lanes=253, count_bits=9, scale_bits=13, acc_bits=30, code_bits=4,
    activation_depth=20011, weight_depth=10007, scale_depth=5003, parameter_depth=1201,
    term_depth=601, tap_depth=307, pair_depth=151, program_depth=40009)
"""A machine in which every number, and how many bits it has, tells its field."""

FEATURES = {"rescale": False, "border_classes": False, "pool_depth": 0}
"""Fields that a bound may depend on, with the value that says that it is not there."""


def markdown_table(heads, rows):
    """A table in Markdown; cells are converted to text."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |"
                     for line in lines)


def _comments(source):
    """Comments ``#:`` in front of fields and enum members: name -> text."""
    texts, pending = {}, []
    for line in source.splitlines():
        line = line.strip()
        name = re.match(r"(\w+)\s*[:=]", line)
        if line.startswith("#:"):
            pending.append(line[2:].strip())
        elif name and pending:
            texts[name[1]], pending = " ".join(pending).replace("#: ", ""), []
    return texts


def _symbol(value):
    """A number of :data:`SYMBOLIC` as the expression it stands for, any other as itself."""
    known = {number: name for name, number in SYMBOLIC.as_dict().items()
             if isinstance(number, int) and not isinstance(number, bool) and number > 3}
    known |= {(1 << number.bit_length()) - 1: f"ones({name})" for number, name in known.items()
              if name.endswith("depth") and name not in ("program_depth", "pair_depth")}
    for step in (-1, 1):
        known |= {number + step: f"{name} {'+' if step > 0 else '-'} 1"
                  for number, name in list(known.items())
                  if name.endswith(("rows", "scale_bits", "acc_bits"))}
    return known.get(value, f"{value:#x}" if value == 0xFFFFFFFF else value)


def _least(name):
    """Smallest legal value of a descriptor field, as an expression of a machine's fields."""
    least = _symbol(descriptor_limits(SYMBOLIC)[name][0])
    even = descriptor_limits(dataclasses.replace(SYMBOLIC, rows=26, units=2))[name][0]
    return "rows // 2 if units % 2 == 0 else rows" if (least, even) == ("rows", 13) else least


def _most(name):
    """Largest legal value of a descriptor field, as an expression of a machine's fields."""
    def high(*without):
        off = {feature: FEATURES[feature] for feature in without}
        return descriptor_limits(dataclasses.replace(SYMBOLIC, **off))[name][1]

    for depth in ("term_depth", "parameter_depth"):
        few = descriptor_limits(dataclasses.replace(SYMBOLIC, **{depth: 2}))[name][1]
        if high() != few and _symbol(high()) == high():
            return f"min({high()}, ones({depth}))"
    for without in (*((feature,) for feature in FEATURES), ("rescale", "pool_depth")):
        if high(*without) != high():
            return f"{high()} if {' or '.join(without)} else {_symbol(high(*without))}"
    return _symbol(high())


def parameters():
    """Fields of a configuration, their ranges, and their values in the presets."""
    texts = _comments(inspect.getsource(config_module.MachineConfig))
    ranges, rows = MachineConfig._RANGES, []
    for name in next(iter(PRESETS.values())).as_dict():
        if name == "name":
            continue
        span = "{}..{}".format(*ranges[name]) if name in ranges else "true, false"
        rows.append([f"`{name}`", _plain(texts[name]), span,
                     *(str(getattr(preset, name)).lower() for preset in PRESETS.values())])
    return markdown_table(["field", "meaning", "range", *(f"`{name}`" for name in PRESETS)], rows)


def derived():
    """What follows from a configuration."""
    rows = []
    for title, value in (
            ("processing elements, `rows * cols`", lambda c: c.rows * c.cols),
            ("binary operations per cycle, `2 * rows * cols * lanes`",
             lambda c: c.binary_ops_per_cycle),
            ("drain, `rows / units` cycles", lambda c: c.drain_cycles),
            ("column tiles in an activation word, `lanes / cols`", lambda c: c.granules),
            ("link words per `lanes` bits", lambda c: c.lane_words),
            ("bits of all banks (copies of scales and parameters for more units not counted)",
             lambda c: sum(bank.bits for bank in banks(c).values())),
            ("fingerprint", lambda c: f"`{c.fingerprint:#010x}`")):
        rows.append([title, *(value(preset) for preset in PRESETS.values())])
    return markdown_table(["", *(f"`{name}`" for name in PRESETS)], rows)


def limits():
    """Limits of the format, on whatever machine."""
    most, spec = {}, descriptor_module
    for record in (DESCRIPTOR, TERM, PAIR):
        most |= {name: field.range[1] for name, field in record.fields.items()}
    return markdown_table(["what", "at most"], [
        ["height and width of a map", spec.MAX_MAP],
        ["images of a run", min(most["images"], spec.MAX_MAP)],
        ["columns of a line times images", most["walk"]],
        ["stride", spec.MAX_STRIDE],
        ["terms of a layer", spec.MAX_TERMS],
        ["planes of a map that a layer reads, of weights", spec.MAX_PLANES],
        ["bits of a code found by thresholds", spec.MAX_CODE_BITS],
        ["bits of a code found by multiplication, or of a sum of pooled codes", spec.MAX_MAP_BITS],
        ["pooled window", f"{spec.MAX_POOL} x {spec.MAX_POOL}"],
        ["lines, and columns, with biases of their own", spec.BORDER_CLASSES - 1],
        ["plane pairs of a term", most["pairs"]],
        ["groups of taps of a term", most["groups"]]])


def _plain(text):
    return text.replace("``", "`")


def constants():
    """Numbers a packer must know."""
    letters = IDENTITY.to_bytes(4, "little").decode()
    return markdown_table(["name", "value", "meaning"], [
        ["magic", f"`{MAGIC:#06x}`", "low half of word 0 of every frame"],
        ["format version", FORMAT_VERSION, "bits 16..23 of word 0 of every frame"],
        ["header", f"{HEADER_WORDS} words", "before the payload"],
        ["identity", f"`{IDENTITY:#010x}`", f"register `IDENTITY`: the letters {letters}"],
        ["descriptor", f"{len(DESCRIPTOR)} words",
         f"of program memory; fields lie in the first {DESCRIPTOR.used}"],
        ["descriptor tag", f"`{descriptor_limits(SYMBOLIC)['tag'][0]:#04x}`",
         "field `tag` of every descriptor"],
        ["shifts", ", ".join(map(str, RESCALE_SHIFTS)),
         "right shifts of an accumulator, for values 0, 1 .. of the field `shift`"],
        ["down", RESCALE_DOWN, "right shift of the sum of product and addend"],
        ["watchdog", DEFAULT_WATCHDOG_CYCLES, "cycles, after power-up"],
    ])


def opcodes():
    """Opcodes of frames, both ways."""
    meaning = {
        Opcode.IMAGE: ("sections", "brings a program; afterwards the machine may run"),
        Opcode.WRITE: ("sections", "changes memories, above all the input map"),
        Opcode.RUN: ("1 word: `first layer \\| layers << 16`", "runs layers back to back"),
        Opcode.READ: ("2 words: a section header", "asks for entries of one bank"),
        Opcode.RESULT: ("`rows * cols` words", "one tile of a raw layer"),
        Opcode.DATA: ("the entries", "answers `READ`"),
        Opcode.DONE: ("1 word: layers run", "ends a `RUN`, after its `RESULT` frames"),
    }
    rows = [[f"`{int(code):#04x}`", f"`{code.name}`", "machine" if code & 0x80 else "host",
             meaning[code][0].replace("\\|", "|"), meaning[code][1]] for code in Opcode]
    return markdown_table(["opcode", "name", "sent by", "payload", "meaning"], rows)


def errors():
    """Error codes with what the error word holds."""
    texts = _comments(inspect.getsource(link_module.ErrorCode))
    return markdown_table(["code", "name", "meaning, and what `ERROR_WORD` holds"], [
        [int(code), f"`{code.name}`", _plain(texts.get(code.name, "No error."))]
        for code in ErrorCode])


def registers():
    """The register file."""
    return markdown_table(["address", "name", "access", "meaning"], [
        [int(each.address), f"`{each.address.name}`", "read, write" if each.writable else "read",
         each.doc] for each in REGISTERS])


def ports():
    """Ports of the module, clock and reset among them."""
    # The floor of the gateware needs Amaranth, which the tables of the ground floor do not.
    from amaranth.hdl import Shape
    from amaranth.lib import wiring

    from xnorloom.hw.machine import PORTS

    rows = [["`clk`", "in", 1, "clock: everything happens at its rising edge"],
            ["`rst`", "in", 1, "reset, active high, synchronous; at least one cycle"]]
    for name, (member, meaning) in PORTS.items():
        rows.append([f"`{name}`", "in" if member.flow == wiring.In else "out",
                     Shape.cast(member.shape).width, meaning])
    return markdown_table(["port", "direction", "bits", "meaning"], rows)


def memories():
    """Memories as the link names them."""
    rows = []
    for memory, bank in banks(SYMBOLIC).items():
        access = [name for name, given in (("write", bank.writable), ("read", bank.readable))
                  if given]
        words = (f"ceil({_symbol(bank.width)} / 32)" if bank.width == SYMBOLIC.lanes
                 else bank.entry_words)
        rows.append([int(memory), f"`{memory.name}`", _symbol(bank.count), _symbol(bank.depth),
                     _symbol(bank.width), words, ", ".join(access)])
    return markdown_table(["number", "name", "banks", "entries per bank", "bits of an entry",
                           "link words of an entry", "host may"], rows)


def _record(record, limits=None):
    rows = []
    for index, word in enumerate(record.words):
        for field in word:
            _, shift = record.place(field.name)
            bits = f"{shift + field.bits - 1}..{shift}" if field.bits > 1 else shift
            row = [index, bits, f"`{field.name}`" + (" (signed)" if field.signed else ""),
                   field.doc]
            if limits:
                row += [_least(field.name), _most(field.name)]
            rows.append(row)
    heads = ["word", "bits", "field", "meaning"] + (["least", "most"] if limits else [])
    return markdown_table(heads, rows)


def descriptor():
    """Fields of a layer descriptor, with the bounds that the machine checks."""
    return _record(DESCRIPTOR, descriptor_limits(SYMBOLIC))


def bounds():
    """The largest legal values that differ from machine to machine, on the presets."""
    rows: dict = {}
    for name, (_low, high) in descriptor_limits(SYMBOLIC).items():
        most = [descriptor_limits(preset)[name][1] for preset in PRESETS.values()]
        if isinstance(_most(name), str) and high != 0xFFFFFFFF:
            rows.setdefault((_most(name), *most), []).append(f"`{name}`")
    return markdown_table(
        ["fields", "most", *(f"`{name}`" for name in PRESETS)],
        [[", ".join(names), *most] for most, names in rows.items()])


def term():
    """Fields of a term."""
    return _record(TERM)


def tap():
    """Fields of a tap."""
    return _record(TAP)


def pair():
    """Fields of a pair."""
    return _record(PAIR)


def counters():
    """Entries of the profile memory."""
    text = inspect.getsource(memory_module)
    start = text.index("``cycles`` runs from")
    said = _plain(" ".join(text[start:text.index('"""', start)].split()))
    table = markdown_table(["entry", "counter"], [
        [f"`8 * (layer mod {PROFILE_LAYERS}) + {place}`", f"`{name}`"]
        for place, name in enumerate(PROFILE_COUNTERS)])
    return f"{table}\n\n{said}"


BLOCKS = {
    "parameters": parameters, "derived": derived, "limits": limits, "constants": constants,
    "opcodes": opcodes, "errors": errors, "registers": registers, "memories": memories,
    "descriptor": descriptor, "bounds": bounds, "term": term, "tap": tap, "pair": pair,
    "counters": counters, "ports": ports,
}
"""Name of a block -> function that returns its Markdown."""

"""The machine's configuration: one frozen object from which everything else is derived."""

import contextlib
import dataclasses
import difflib
import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ConfigError", "MachineConfig", "PRESETS", "load_machine"]

FORMAT_VERSION = 2
"""Version of the link frames, the descriptors and the memory format. Part of every frame."""


class ConfigError(ValueError):
    """A machine configuration that cannot be built; the message names the field and the demand."""


@dataclass(frozen=True, kw_only=True)
class MachineConfig:
    """Parameters of one machine, checked on construction.

    A *bit* parameter counts bits of one number, a *depth* counts entries of one bank.

    Raises
    ------
    ConfigError
        If a field is not an integer, is out of its range, or contradicts another field.
    """

    name: str = "custom"
    #: Output pixels (or images of a batch) computed side by side.
    rows: int
    #: Output channels computed side by side.
    cols: int
    #: Input channels a processing element consumes per cycle.
    lanes: int
    #: Scale-and-accumulate units per column; a column drains in ``rows / units`` cycles.
    units: int = 1
    #: Whether a processing element can double its sum between planes of scale ratio 2.
    doubling: bool = True
    #: Mismatches a processing element can count in one pass.
    count_bits: int = 16
    #: A scale ``S``, including its sign.
    scale_bits: int = 16
    #: An accumulator, a bias and a threshold, including the sign.
    acc_bits: int = 28
    #: Widest code found by thresholds.
    code_bits: int = 4
    #: Whether codes of up to 8 bits can be found by multiplication.
    rescale: bool = True
    #: Whether lines and columns at the border of a map can have biases of their own.
    border_classes: bool = True
    #: Pooled pixels that can be open at a time, per column; 0: there is no pooling.
    pool_depth: int = 512
    #: Entries of ``lanes`` bits per activation bank (one bank per row).
    activation_depth: int = 4096
    #: Entries of ``lanes`` bits per weight bank (one bank per column).
    weight_depth: int = 2048
    #: Scales per column: one per column tile and pass, and multipliers, one per column tile.
    scale_depth: int = 1024
    #: Biases and thresholds per column: of every column tile its bias, or 16 with borders, and ``2
    #: ** code_bits - 1`` thresholds, or an addend.
    parameter_depth: int = 512
    #: Terms, over all layers.
    term_depth: int = 128
    #: Kernel taps, over all layers.
    tap_depth: int = 512
    #: Plane pairs, over all layers.
    pair_depth: int = 256
    #: Words of program memory: one descriptor per layer.
    program_depth: int = 4096
    #: Register stages inside the popcount: 1 (at its output) or 2 (also after groups of lanes).
    popcount_stages: int = 2

    _RANGES = {
        "rows": (1, 32), "cols": (1, 64), "lanes": (1, 1024), "units": (1, 32),
        "count_bits": (4, 17), "scale_bits": (2, 18), "acc_bits": (8, 32), "code_bits": (1, 4),
        "pool_depth": (0, 65536), "activation_depth": (2, 65536), "weight_depth": (2, 65536),
        "scale_depth": (2, 65536), "parameter_depth": (2, 65536), "term_depth": (2, 65536),
        "tap_depth": (2, 65536), "pair_depth": (2, 65536), "program_depth": (32, 65536),
        "popcount_stages": (1, 2),
    }

    def __post_init__(self):
        for field, (low, high) in self._RANGES.items():
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ConfigError(
                    f"Machine field '{field}' must be an integer from {low} to {high}, "
                    f"not {value!r}")
        for field in ("doubling", "rescale", "border_classes"):
            if not isinstance(getattr(self, field), bool):
                raise ConfigError(f"Machine field {field!r} must be true or false, "
                                  f"not {getattr(self, field)!r}")
        if not isinstance(self.name, str) or not self.name.replace("-", "_").isidentifier():
            raise ConfigError(f"Machine field 'name' must be an identifier, not {self.name!r}")
        if self.rows % self.units:
            raise ConfigError(f"Machine field 'units' must divide rows ({self.rows}), "
                              f"not {self.units!r}")
        if self.lanes % self.cols:
            raise ConfigError(f"Machine field 'lanes' must be a multiple of cols ({self.cols}), "
                              f"not {self.lanes!r}")
        if self.count_bits < self.lanes.bit_length():
            raise ConfigError(f"Machine field 'count_bits' must be at least "
                              f"{self.lanes.bit_length()} to hold one word of {self.lanes} lanes, "
                              f"not {self.count_bits!r}")

    @property
    def drain_cycles(self):
        """Cycles in which a column's results move into its units: ``rows / units``."""
        return self.rows // self.units

    @property
    def pixels_per_cycle(self):
        """Pixels of a tile that feed and output can take in a cycle: 2 where ``units`` is even, as
        then the units of each half of a tile deliver at the same time as those of the other."""
        return 1 if self.units % 2 else 2

    @property
    def granules(self):
        """Column tiles that fill one word of an activation bank: ``lanes / cols``."""
        return self.lanes // self.cols

    @property
    def lane_words(self):
        """Link words that carry one entry of ``lanes`` bits."""
        return -(-self.lanes // 32)

    @property
    def binary_ops_per_cycle(self):
        """Binary operations per cycle: an exclusive-or and an addition for every lane."""
        return 2 * self.rows * self.cols * self.lanes

    def as_dict(self):
        """All fields as a plain dictionary, in declaration order."""
        return dataclasses.asdict(self)

    @property
    def fingerprint(self):
        """32-bit integer that changes with every field but the name, and with the format version.

        The gateware holds it, every frame carries it: an image never runs on another machine.
        """
        fields = {key: value for key, value in self.as_dict().items() if key != "name"}
        text = json.dumps({"version": FORMAT_VERSION, **fields}, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")

    @classmethod
    def from_dict(cls, fields):
        """Builds a configuration from a dictionary; an unknown key is an error with a
        suggestion."""
        known = [field.name for field in dataclasses.fields(cls)]
        for key in fields:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f", did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"
                raise ConfigError(f"Machine has no field {key!r}{hint}")
        for key in ("rows", "cols", "lanes"):
            if key not in fields:
                raise ConfigError(f"Machine field '{key}' must be given")
        return cls(**fields)

    @classmethod
    def from_toml(cls, path):
        """Reads a TOML file: the fields at its top level, or a ``preset`` and fields that
        differ."""
        path = Path(path)
        try:
            # Some editors put a byte-order mark in front of UTF-8.
            fields = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise ConfigError(f"Machine file {str(path)!r} must be UTF-8 text, and is not: byte "
                              f"{error.start} is {error.object[error.start]:#04x}") from None
        except (OSError, ValueError, RecursionError) as error:
            kind = "is not TOML" if isinstance(error, (tomllib.TOMLDecodeError, RecursionError)) \
                else "cannot be read"
            raise ConfigError(f"Machine file {str(path)!r} {kind}: {error}") from None
        preset = fields.pop("preset", None)
        if preset is not None:
            fields = {**_preset(preset).as_dict(), "name": _name_of(path), **fields}
        return cls.from_dict({"name": _name_of(path), **fields})


def _name_of(path):
    """An identifier made of a file's name."""
    name = re.sub(r"[^\w-]", "_", path.stem)
    return name if name.replace("-", "_").isidentifier() else f"_{name}"


PRESETS = {
    config.name: config for config in (
        MachineConfig(name="tiny", rows=2, cols=2, lanes=8, popcount_stages=1, pool_depth=64,
                      activation_depth=1024, weight_depth=1024, scale_depth=1024),
        MachineConfig(name="small", rows=4, cols=4, lanes=32, popcount_stages=2, pool_depth=256,
                      activation_depth=1024, weight_depth=1024),
        MachineConfig(name="default", rows=4, cols=16, lanes=64),
        MachineConfig(name="wide", rows=4, cols=64, lanes=64),
    )
}
"""The named machines, from smallest to largest."""


def _preset(name):
    if not isinstance(name, str) or name not in PRESETS:
        close = difflib.get_close_matches(str(name).lower(), PRESETS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(PRESETS)}"
        raise ConfigError(f"Machine must be a preset or a TOML file, not {name!r}; {hint}")
    return PRESETS[name]


def load_machine(machine):
    """Resolves what a user names: a configuration, a preset name, or the path of a TOML file.

    The name of a preset is that preset, whatever files there are.
    """
    if isinstance(machine, MachineConfig):
        return machine
    if isinstance(machine, str) and machine in PRESETS:
        return PRESETS[machine]
    with contextlib.suppress(OSError):
        if str(machine).endswith(".toml") or Path(str(machine)).is_file():
            return MachineConfig.from_toml(str(machine))
    return _preset(machine)

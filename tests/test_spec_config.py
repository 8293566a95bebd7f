"""A configuration is checked field by field, and its fingerprint tells machines apart."""

import dataclasses

import pytest

from xnorloom.hw.spec import config as config_module
from xnorloom.hw.spec.config import PRESETS, ConfigError, MachineConfig, load_machine

RANGES = MachineConfig._RANGES
BASE = {"rows": 2, "cols": 2, "lanes": 4}


@pytest.mark.parametrize("field", RANGES)
def test_every_field_has_a_range(field):
    low, high = RANGES[field]
    for value in (low - 1, high + 1, -1, 2.0, "3", None, True):
        with pytest.raises(ConfigError) as caught:
            MachineConfig(**{**BASE, field: value})
        assert str(caught.value) == (f"Machine field '{field}' must be an integer from {low} to "
                                     f"{high}, not {value!r}")


@pytest.mark.parametrize("field", sorted(set(RANGES) - set(BASE) - {"units"}))
def test_both_ends_of_a_range_are_legal(field):
    for value in RANGES[field]:
        fields = {**BASE, "rescale": False, field: value}
        assert getattr(MachineConfig(**fields), field) == value


@pytest.mark.parametrize("fields", [
    {"rows": 1, "cols": 1, "lanes": 1}, {"rows": 32, "cols": 64, "lanes": 1024, "units": 32},
    {"rows": 32, "cols": 64, "lanes": 1024, "units": 1}, {"rows": 3, "cols": 1, "lanes": 1024}])
def test_smallest_and_largest_arrays(fields):
    MachineConfig(**fields)


def test_every_field_is_checked():
    unranged = {field.name for field in dataclasses.fields(MachineConfig)} - set(RANGES)
    assert unranged == {"name", "doubling", "rescale", "border_classes"}


@pytest.mark.parametrize("fields, message", [
    ({"doubling": 1}, "'doubling' must be true or false, not 1"),
    ({"rescale": 0}, "'rescale' must be true or false, not 0"),
    ({"border_classes": "no"}, "'border_classes' must be true or false, not 'no'"),
    ({"name": ""}, "'name' must be an identifier, not ''"),
    ({"name": "a b"}, "'name' must be an identifier, not 'a b'"),
    ({"name": 3}, "'name' must be an identifier, not 3"),
    ({"name": "../x"}, "'name' must be an identifier, not '../x'"),
    ({"rows": 4, "units": 3}, r"'units' must divide rows \(4\), not 3"),
    ({"rows": 1, "units": 2}, r"'units' must divide rows \(1\), not 2"),
    ({"cols": 3}, r"'lanes' must be a multiple of cols \(3\), not 4"),
    ({"lanes": 2, "cols": 4}, r"'lanes' must be a multiple of cols \(4\), not 2"),
    ({"lanes": 16, "count_bits": 4}, "'count_bits' must be at least 5 .* 16 lanes, not 4")])
def test_contradictions(fields, message):
    with pytest.raises(ConfigError, match=message):
        MachineConfig(**{**BASE, **fields})


def test_a_word_of_lanes_fits_the_count():
    for lanes in (1, 7, 8, 15, 16, 31, 32, 1023, 1024):
        bits = max(4, lanes.bit_length())
        assert MachineConfig(rows=1, cols=1, lanes=lanes, count_bits=bits).lanes < 1 << bits


def test_derived_numbers():
    config = MachineConfig(rows=6, cols=5, lanes=70, units=2)
    assert config.drain_cycles == 3
    assert config.granules == 14
    assert config.lane_words == 3
    assert config.binary_ops_per_cycle == 2 * 6 * 5 * 70
    assert [MachineConfig(rows=1, cols=1, lanes=lanes).lane_words for lanes in (1, 32, 33)] == [
        1, 1, 2]


def test_frozen():
    config = MachineConfig(**BASE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.rows = 3


def test_dictionary_round_trip():
    for config in PRESETS.values():
        assert MachineConfig.from_dict(config.as_dict()) == config
        assert list(config.as_dict()) == [field.name for field in dataclasses.fields(config)]


@pytest.mark.parametrize("fields, message", [
    ({**BASE, "colls": 2}, "Machine has no field 'colls', did you mean 'cols'?"),
    ({**BASE, "pooldepth": 2}, "Machine has no field 'pooldepth', did you mean 'pool_depth'?"),
    ({"rows": 2, "cols": 2}, "Machine field 'lanes' must be given"),
    ({"cols": 2, "lanes": 2}, "Machine field 'rows' must be given"),
    ({}, "Machine field 'rows' must be given")])
def test_dictionary_errors(fields, message):
    with pytest.raises(ConfigError) as caught:
        MachineConfig.from_dict(fields)
    assert str(caught.value) == message


def test_an_unknown_field_without_a_like_lists_all():
    with pytest.raises(ConfigError) as caught:
        MachineConfig.from_dict({**BASE, "zzz": 1})
    assert all(field in str(caught.value) for field in RANGES)


def _other(field, value):
    if isinstance(value, bool):
        return not value
    return 2 if field in ("rows", "cols", "units", "popcount_stages") else value - 1


def test_fingerprint_changes_with_every_field_but_the_name(monkeypatch):
    base = MachineConfig(rows=4, cols=4, lanes=16, units=1, popcount_stages=1)
    prints = {base.fingerprint}
    for field, value in base.as_dict().items():
        if field == "name":
            assert dataclasses.replace(base, name="other").fingerprint == base.fingerprint
            continue
        new = 32 if field == "lanes" else _other(field, value)
        assert new != value
        prints.add(dataclasses.replace(base, **{field: new}).fingerprint)
    assert len(prints) == len(base.as_dict())
    monkeypatch.setattr(config_module, "FORMAT_VERSION", config_module.FORMAT_VERSION + 1)
    prints.add(base.fingerprint)
    assert len(prints) == len(base.as_dict()) + 1
    assert all(0 <= value < 1 << 32 for value in prints)


def test_presets():
    assert list(PRESETS) == ["tiny", "small", "default", "wide"]
    ops = [config.binary_ops_per_cycle for config in PRESETS.values()]
    assert ops == sorted(ops)
    assert len({config.fingerprint for config in PRESETS.values()}) == len(PRESETS)
    for name, config in PRESETS.items():
        assert load_machine(name) is config is load_machine(config)
        assert config.name == name


def test_toml(tmp_path):
    path = tmp_path / "my machine.toml"
    path.write_text("rows = 3\ncols = 2\nlanes = 10\ndoubling = false\n")
    wanted = MachineConfig(name="my_machine", rows=3, cols=2, lanes=10, doubling=False)
    assert load_machine(path) == load_machine(str(path)) == MachineConfig.from_toml(path) == wanted
    path.write_text('name = "mine"\nrows = 3\ncols = 2\nlanes = 10\n')
    assert load_machine(path).name == "mine"


def test_toml_that_changes_a_preset(tmp_path):
    path = tmp_path / "deep.toml"
    path.write_text('preset = "small"\nweight_depth = 4096\n')
    assert load_machine(path) == dataclasses.replace(PRESETS["small"], name="deep",
                                                     weight_depth=4096)
    path.write_text('preset = "smal"\n')
    with pytest.raises(ConfigError, match="not 'smal'; did you mean 'small'?"):
        load_machine(path)
    path.write_text("preset = 3\n")
    with pytest.raises(ConfigError, match="not 3; known: tiny, small, default, wide"):
        load_machine(path)


@pytest.mark.parametrize("text, message", [
    (b"rows = \n", "is not TOML: "), (b"rows = 2\nrows = 3\n", "is not TOML: "),
    (b"rows = '\xff'\n", "must be UTF-8 text, and is not: byte 8 is 0xff$"),
    (b"rows = 2\ncols = 2\nlane = 4\n", "'lanes'?"),
    (b"rows = 2.5\ncols = 2\nlanes = 4\n", "not 2.5"),
    (b"[rows]\ncols = 2\n", "'lanes'|'cols'|not {")])
def test_toml_errors(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        load_machine(path)


WHOLE = "rows = 2\ncols = 2\nlanes = 4\n"


@pytest.mark.parametrize("data", [
    b"\xef\xbb\xbf" + WHOLE.encode(), WHOLE.replace("\n", "\r\n").encode(),
    ("# gr\u00fcn\n" + WHOLE).encode(), WHOLE.strip().encode()])
def test_text_as_editors_write_it(tmp_path, data):
    path = tmp_path / "own.toml"
    path.write_bytes(data)
    assert load_machine(path) == MachineConfig(name="own", rows=2, cols=2, lanes=4)


@pytest.mark.parametrize("data, message", [
    (WHOLE.encode("utf-16"), "must be UTF-8 text, and is not: byte 0 is 0xff"),
    (WHOLE.encode("utf-16-be"), "is not TOML: "),
    (b"", "Machine field 'rows' must be given"),
    (f"[machine]\n{WHOLE}".encode(), "Machine has no field 'machine'; known: name, rows, "),
    (f"{WHOLE}[units]\nvalue = 2\n".encode(), "'units' must be an integer from 1 to 32, not {"),
    (WHOLE.replace("4", "4.0").encode(), "'lanes' must be an integer from 1 to 1024, not 4.0"),
    (WHOLE.replace("4", "'4'").encode(), "'lanes' must be an integer from 1 to 1024, not '4'"),
    (WHOLE.replace("4", "true").encode(), "'lanes' must be an integer from 1 to 1024, not True"),
    (f"{WHOLE}doubling = 1\n".encode(), "'doubling' must be true or false, not 1"),
    (f"{WHOLE}name = 3\n".encode(), "'name' must be an identifier, not 3"),
    (b"preset = ['small']\n", "not ['small']; did you mean 'small'?"),
    (b"[preset]\nname = 'small'\n", "must be a preset or a TOML file, not {'name': 'small'}; "),
    (b"preset = 'Small'\n", "not 'Small'; did you mean 'small'?"),
    (b"rows = " + 5000 * b"[", "is not TOML: "),
])
def test_text_that_describes_no_machine(tmp_path, data, message):
    path = tmp_path / "own.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_machine(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("file, name", [
    ("my machine (2).toml", "my_machine__2_"), ("8x8.toml", "_8x8"), ("a.b.toml", "a_b"),
    ("two-rows.toml", "two-rows"), ("own", "own")])
def test_a_machine_is_named_after_its_file(tmp_path, file, name):
    path = tmp_path / "a folder" / file
    path.parent.mkdir()
    path.write_text(WHOLE)
    assert load_machine(path).name == name


def test_presets_are_presets_whatever_lies_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    (tmp_path / "default").write_text(WHOLE)
    assert load_machine("small") is PRESETS["small"]
    assert load_machine("default") is PRESETS["default"]
    assert load_machine("./default").rows == 2


@pytest.mark.parametrize("machine", ["", "SMALL", "Default ", "x" * 5000, "a\0b", 3, None,
                                     ["small"], {}, True])
def test_what_is_no_machine_at_all(tmp_path, monkeypatch, machine):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="^Machine must be a preset or a TOML file, not "):
        load_machine(machine)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError, match="none.toml' cannot be read: "):
        load_machine(tmp_path / "none.toml")
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(ConfigError, match="cannot be read: "):
        load_machine(folder)
    with pytest.raises(ConfigError, match="not 'defualt'; did you mean 'default'?"):
        load_machine("defualt")
    with pytest.raises(ConfigError, match="known: tiny, small, default, wide"):
        load_machine("qqq")

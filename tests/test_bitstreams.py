"""What ``bitstreams/`` keeps belongs to the gateware: each preset is emitted and compared."""

import json

import pytest

from xnorloom.hw.flow.bitstreams import FOLDER, ROUTED, _markdown, manifest
from xnorloom.hw.flow.verilog import emit
from xnorloom.hw.spec.config import PRESETS

# Larger presets take longer to emit.
LONG = {"wide"}


def _read(name, file):
    return json.loads((FOLDER / name / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in PRESETS])
def test_manifest_is_of_this_gateware(name):
    """Else run ``make bitstreams``."""
    kept = _read(name, "manifest.json")
    now = manifest(PRESETS[name], emit(PRESETS[name]))
    if kept["tools"] != now["tools"]:
        pytest.skip(f"another Amaranth or Yosys than the manifest's {kept['tools']}")
    assert kept == now


@pytest.mark.parametrize("name", PRESETS)
def test_manifest_is_of_this_configuration(name):
    kept = _read(name, "manifest.json")
    assert kept["machine"] == PRESETS[name].as_dict()
    assert kept["fingerprint"] == f"{PRESETS[name].fingerprint:08x}"


@pytest.mark.parametrize("name", PRESETS)
def test_reports_belong_to_the_manifest(name):
    kept = _read(name, "manifest.json")
    reports = [_read(name, "area.json")]
    if name in ROUTED:
        reports.append(_read(name, "route.json"))
    for report in reports:
        assert report["machine"] == name
        assert report["verilog_sha256"] == kept["verilog"]["sha256"]
        assert report["fingerprint"] == kept["fingerprint"]
    assert (FOLDER / name / "area.md").read_text(encoding="utf-8") == _markdown(reports[0])


def test_every_folder_is_a_preset():
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == set(PRESETS)

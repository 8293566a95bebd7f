"""The cache of built simulations: whole entries or none, each made once."""

import errno
import json
import multiprocessing
import os
import re
import time

import pytest

from xnorloom.sim.cache import BuildCache, cache_folder
from xnorloom.sim.errors import SimulationError


def make_file(text):
    def make(folder):
        (folder / "file").write_text(text)
    return make


def refuse(_folder):
    raise AssertionError("must not be made again")


def test_a_hit_is_not_made_again(tmp_path):
    cache = BuildCache(tmp_path / "deep" / "cache")
    assert (cache.get("key", make_file("one")) / "file").read_text() == "one"
    assert (cache.get("key", refuse) / "file").read_text() == "one"


def test_keys_tell_inputs_apart():
    keys = {BuildCache.key(inputs) for inputs in (["a"], ["b"], [["a"]], {"a": 1}, {"a": "1"})}
    assert len(keys) == 5
    assert BuildCache.key({"a": 1, "b": 2}) == BuildCache.key({"b": 2, "a": 1})


@pytest.mark.parametrize("damage", [
    lambda entry: (entry / "file").write_text("two"),
    lambda entry: (entry / "file").unlink(),
    lambda entry: (entry / "entry.json").unlink(),
    lambda entry: (entry / "entry.json").write_text("{"),
    lambda entry: (entry / "entry.json").write_text("{}"),
    lambda entry: (entry / "entry.json").write_text(json.dumps(["file"])),
])
def test_a_damaged_entry_counts_as_absent(tmp_path, damage):
    cache = BuildCache(tmp_path)
    damage(cache.get("key", make_file("one")))
    assert (cache.get("key", make_file("three")) / "file").read_text() == "three"
    cache.get("key", refuse)


def test_a_failed_make_leaves_nothing(tmp_path):
    cache = BuildCache(tmp_path)

    def fail(folder):
        (folder / "file").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get("key", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".key.lock"]
    assert (cache.get("key", make_file("whole")) / "file").read_text() == "whole"


def _count(folder, tally):
    def make(entry):
        with tally.open("a") as handle:
            handle.write("made\n")
        time.sleep(0.3)
        (entry / "file").write_text("one")
    BuildCache(folder).get("key", make)


def test_two_processes_make_it_once(tmp_path):
    tally = tmp_path / "tally"
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_count, args=(tmp_path / "cache", tally)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert tally.read_text() == "made\n"


def test_old_entries_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr("xnorloom.sim.cache._KEPT_ENTRIES", 2)
    cache = BuildCache(tmp_path)
    for age, key in ((300, "oldest"), (200, "used"), (100, "newer")):
        entry = cache.get(key, make_file(key))
        os.utime(entry, (time.time() - age,) * 2)
    cache.get("used", refuse)
    cache.get("newest", make_file("newest"))
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"used", "newest"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "cache"
    with pytest.raises(SimulationError, match=re.escape(
            f"Simulation cache must be a folder that can be written, not {str(folder)!r}")):
        BuildCache(folder).get("key", make_file("one"))


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    def fill(folder):
        (folder / "file").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(SimulationError, match=re.escape(
            f"Simulation cache must be a folder that can be written, not {str(tmp_path)!r}: "
            f"No space left on device")):
        BuildCache(tmp_path).get("key", fill)
    assert [path.name for path in tmp_path.iterdir()] == [".key.lock"]


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XNORLOOM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("XNORLOOM_CACHE")
    assert cache_folder().parts[-2:] == ("build", "sim")

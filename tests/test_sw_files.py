"""The one writer of files: links, pipes, devices, modes, interrupts."""

import os
import stat

import pytest

from xnorloom.sw import files
from xnorloom.sw.files import FileError, whole_file


def write(path, text="new"):
    with whole_file(path, "Report") as temporary:
        temporary.write_text(text)


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_has_the_mode_of_the_umask_and_a_replaced_one_its_own(umask, tmp_path):
    path = tmp_path / "file"
    write(path)
    assert mode(path) == 0o640
    path.chmod(0o604)
    write(path, "again")
    assert mode(path) == 0o604 and path.read_text() == "again"
    assert list(tmp_path.iterdir()) == [path]


def test_every_writer_of_ours_leaves_the_mode_of_the_umask(umask, tmp_path):
    from tests.networks import small_network
    from xnorloom.hw.spec.config import PRESETS
    from xnorloom.sim.cache import BuildCache
    from xnorloom.sw.passes.compiler import compile_network
    from xnorloom.sw.training import checkpoint, nets

    compile_network(small_network(), PRESETS["small"]).save(tmp_path / "net.xlm")
    checkpoint.save(tmp_path / "net.pt", nets.build("mlp"),
                    {"net": "mlp", "scheme": None, "data": "digits"})
    entry = BuildCache(tmp_path / "cache").get("key", lambda folder: write(folder / "file"))
    assert [mode(tmp_path / name) for name in ("net.xlm", "net.pt")] == [0o640, 0o640]
    assert mode(entry) == 0o750 and mode(entry / "file") == 0o640


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_replaced(tmp_path, there):
    (tmp_path / "far").mkdir()
    target, link, first = tmp_path / "far" / "target", tmp_path / "link", tmp_path / "first"
    if there:
        target.write_text("old")
    link.symlink_to("far/target")
    first.symlink_to(link)
    write(first)
    assert first.is_symlink() and link.is_symlink() and not target.is_symlink()
    assert target.read_text() == "new"
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["target"]


def test_what_is_no_regular_file_is_refused_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    for name, reason in (("pipe", "must be a file, not a pipe"),
                         ("null", "must be a file, not a device"),
                         (".", "must be a file, not a folder"),
                         ("one", "cannot be written: Too many levels of symbolic links"),
                         ("one/file", "cannot be written: Too many levels of symbolic links"),
                         ("none/file", "cannot be written: No such file or directory"),
                         ("x" * 300, "cannot be written: File name too long")):
        path = tmp_path / name
        with pytest.raises(FileError) as caught:
            write(path)
        assert str(caught.value) == f"Report {str(path)!r} {reason}"
    with pytest.raises(FileError, match="^Report must have a name, not ''$"):
        write("")
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "null").is_symlink()
    assert len(list(tmp_path.iterdir())) == 4


def test_an_open_file_of_a_process_is_refused_even_where_it_is_a_regular_one(tmp_path):
    with (tmp_path / "redirected").open("w") as file:
        with pytest.raises(FileError, match="must be a file, not an open file of a process$"):
            write(f"/dev/fd/{file.fileno()}")
    assert (tmp_path / "redirected").read_text() == ""


def test_a_read_only_file_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")
    # Root may write everything, so its access is taken away here.
    monkeypatch.setattr(files.os, "access", lambda _path, _mode: False)
    with pytest.raises(FileError, match="cannot be written: it is read-only$"):
        write(path)
    assert path.read_text() == "old"


@pytest.mark.parametrize("error, seen", [(KeyboardInterrupt, KeyboardInterrupt),
                                         (OSError(28, "full"), FileError)])
def test_whatever_ends_the_work_early_leaves_the_old_file_alone(tmp_path, error, seen):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(seen), whole_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_the_system_allows(tmp_path):
    write(tmp_path / ("x" * 255))
    assert (tmp_path / ("x" * 255)).read_text() == "new"

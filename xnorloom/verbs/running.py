"""``simulate``: an image in the simulated machine."""

from ..errors import UserError, check_choice
from ..output import check_output, make_folder, write_json
from ..report.progress import console, track
from ..report.report import simulation_speed
from .building import load_image
from .inputs import real_images, share_right, test_images

__all__ = ["open_machine", "simulate"]


def open_machine(config, *, engine="verilator", waves=None, window=None,
                 verbose=False):
    """Generates, builds and starts a simulated machine; use it as a context manager.

    Parameters
    ----------
    config : MachineConfig
    engine : str
        ``verilator`` or ``icarus``.
    waves : path or None
        File for waves, ``.fst`` or ``.vcd``; without a suffix, the better of those that can be
        written.
    window : tuple of int or None
        First cycle of the waves and the first not in them.
    verbose : bool
        Whether progress is printed.

    Raises
    ------
    ValueError
        If a tool is missing, or the waves cannot be written.
    """
    from xnorloom.sim.toolchain import ENGINES, tool_versions
    from xnorloom.sim.transport import RtlTransport

    # Before the work: generating a machine takes longer than finding out that nothing runs it.
    tool_versions(check_choice("Engine", engine, ENGINES))
    if waves is not None:
        make_folder(waves)
    with track(f"build machine {config.name} for {engine}", shown=verbose) as advance:
        def progress(stage, done, total):
            advance(done, f"{stage} {done}/{total}" if total else stage, total)

        machine = RtlTransport(config, engine=engine, waves=waves, window=window,
                               progress=progress)
        advance(1, total=1)
        return machine


def simulate(image, data="digits", *, count=None, engine="verilator", waves=None,
             window=None, json=None, verbose=False):
    """Runs an image in the simulated machine, cycle by cycle.

    Parameters
    ----------
    image : path or sw.machine.image.Image
    data : str, sw.data.Dataset or pair of arrays
        What to run: test images of a data set, or ``(images, labels)``. Images of floats are the
        values of pixels, of integers their codes; see :mod:`xnorloom.verbs.inputs`.
    count : int or None
        Images to run; None: all, or one batch if waves are recorded.
    engine : str
        ``verilator`` or ``icarus``.
    waves : path or None
        File for waves, ``.fst`` or ``.vcd``; without a suffix, the better of those that can be
        written.
    window : tuple of int or None
        First cycle of the waves and the first not in them. None: all cycles are.
    json : path or None
        Also write the result there.
    verbose : bool
        Whether progress is printed.

    Returns
    -------
    dict
        ``images``, ``predictions``, ``accuracy`` (``hardware``; None without labels), ``cycles``
        (``predicted``, ``measured``), ``layers`` (counters of each), ``simulation`` (with
        the file of the ``waves``), ``machine``, ``versions``.

    Raises
    ------
    ValueError
        If the image, the data, an output or a tool is not as it must be.
    """
    path, image = image, load_image(image)
    if json is not None:
        check_output(json, "Result", path)
    if window is not None and waves is None:
        raise UserError("Window of cycles must come with a file for waves")
    if waves is not None:
        check_output(waves, "Waves", path)
        count = count or image.batch
    images, labels = test_images(data, count)
    images = real_images(image.metadata["input"], images)
    if waves is not None:
        waves = _check_waves(waves, window, image, len(images), engine, verbose)

    from xnorloom.sw.machine.driver import Driver
    from xnorloom.sw.machine.estimate import estimate_cycles

    from ..report.environment import versions

    with open_machine(image.config, engine=engine, waves=waves, window=window,
                      verbose=verbose) as machine:
        with track(f"simulate {len(images)} images", len(images), shown=verbose) as advance:
            driver = Driver(machine, image)
            driver.load()
            run = driver.run(images, progress=lambda done, _total: advance(
                done, f"{simulation_speed(machine.cycles, machine.seconds):,} cycles/s"))
        cycles, seconds = machine.cycles, machine.seconds
    result = {
        "images": len(images),
        "predictions": run.labels.tolist(),
        "accuracy": {"hardware": share_right(run.labels, labels)},
        "cycles": {"predicted": estimate_cycles(image) * len(run.batches),
                   "measured": run.cycles},
        "layers": [{"name": layer["name"], **counters}
                   for layer, counters in zip(image.layers, run.layers, strict=True)],
        "simulation": {"engine": engine, "cycles": cycles, "seconds": round(seconds, 3),
                       "cycles_per_second": simulation_speed(cycles, seconds),
                       "waves": None if waves is None else str(waves)},
        "machine": image.config.as_dict(), "versions": versions(),
    }
    if json is not None:
        write_json(json, result)
    return result


def _check_waves(waves, window, image, images, engine, verbose):
    """Path of the waves; says how large they will be, and refuses what the disk cannot hold."""
    from xnorloom.sim.toolchain import ENGINES
    from xnorloom.sim.waves import check_room, expected_bytes, waves_path
    from xnorloom.sw.machine.estimate import estimate_cycles

    path = waves_path(waves, check_choice("Engine", engine, ENGINES))
    runs = -(-images // image.batch)
    # A word a cycle comes in: the image, and the pixels of every run.
    cycles = len(image.to_bytes()) // 4 + estimate_cycles(image) * runs
    if window is not None:
        cycles = max(min(cycles, window[1]) - window[0], 0)
    size = expected_bytes(image.config, path, cycles)
    if verbose:
        console.print(f"waves of about {cycles:,} cycles: about {size / 1e6:,.1f} MB")
    check_room(path, size)
    return path

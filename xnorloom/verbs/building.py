"""``compile``, ``verilog``, ``estimate``, ``inspect``: what is built, and what is known of it."""

from xnorloom.hw.spec.config import load_machine

from ..errors import UserError
from ..output import (
    check_folder,
    check_input,
    check_output,
    check_picture,
    make_folder,
    write_text,
)
from ..report.progress import console, track

__all__ = ["compile", "estimate", "inspect", "load_image", "load_network", "precision_lines",
           "snap", "verilog"]


def load_network(model, config, in_shape=None, dump=None):
    """Snaps a model to a machine's grid and lowers it.

    Parameters
    ----------
    model : path or torch.nn.Module
        A checkpoint, or a quantized or snapped model of your own.
    config : MachineConfig
        The machine; its scale, accumulator and count widths matter.
    in_shape : tuple of int or None
        What the model was quantized for, if that is to be checked.
    dump : path or None
        Folder for the text of every pass. Every pass is then held against the one before it, too.

    Returns
    -------
    network : sw.graph.network.Network
    snapped : sw.passes.snap.SnappedModel
        The torch model of the same integers.
    model : torch.nn.Module
        The quantized model itself.

    Raises
    ------
    ValueError
        If the checkpoint is not ours, the model is not quantized, is for another shape or holds
        what the machine cannot run, or a text cannot be written.
    """
    name, info = "network", {}
    if _is_path(model):
        check_input(model, "Checkpoint")

    from torch import nn

    from xnorloom.sw.graph.export import checked_shape
    from xnorloom.sw.passes.pipeline import lower_model
    from xnorloom.sw.quantizers import scheme_name
    from xnorloom.sw.training import checkpoint

    if _is_path(model):
        model, info = checkpoint.load(model)
        if info["scheme"] is None:
            raise UserError("Checkpoint must be of a quantized network, not of a float one")
        name = f"{info['net']}-{scheme_name(info['scheme'])}"
    if not isinstance(model, nn.Module):
        raise UserError(f"Model must be a checkpoint file or a torch.nn.Module, not {model!r}")
    network, snapped = lower_model(model, name=name, info=info, dump=dump, check=dump is not None,
                                   **_widths(config))
    known = snapped.fusion.in_shape
    if in_shape is not None and checked_shape(in_shape) != known:
        raise UserError(f"Input shape 'in_shape' must be {known!r}, which the model was quantized "
                        f"for, not {checked_shape(in_shape)!r}")
    return network, snapped, model


def _widths(config):
    """Widths of a machine that matter to the grid."""
    return {name: getattr(config, name) for name in ("scale_bits", "acc_bits", "count_bits")}


def snap(model, machine="default"):
    """Puts a quantized model on the integer grid of a machine; what the machine computes is then
    what this model computes, to the last bit.

    Parameters
    ----------
    model : torch.nn.Module
        A quantized model, which stays as it is.
    machine : str, path or MachineConfig
        Its scale, accumulator and count widths matter; those of all presets are the same.

    Returns
    -------
    sw.passes.snap.SnappedModel

    Raises
    ------
    ValueError
        If a layer does not fit these widths, or the model holds what the machine cannot run.
    """
    from xnorloom.sw.passes.snap import snap as snap_to_grid

    return snap_to_grid(model, **_widths(load_machine(machine)))


def _is_path(model):
    return isinstance(model, str) or hasattr(model, "__fspath__")


def compile(model, machine="default", *, in_shape=None, batch=None, output=None, dump=None,
            verbose=False):
    """Snaps a model and packs its program image.

    Parameters
    ----------
    model : path or torch.nn.Module
        A checkpoint, or a quantized or snapped model of your own.
    machine : str, path or MachineConfig
        Preset, TOML file or configuration.
    in_shape : tuple of int or None
        What the model was quantized for, if that is to be checked.
    batch : int or None
        Images per run; None: as many as fit, at most ``rows``.
    output : path or None
        Image file to write.
    dump : path or None
        Folder, made if need be, that gets the text of every pass from the trained graph on. Every
        pass is then also held against the one before it, on random images.
    verbose : bool
        Whether progress is printed, and which layers lose precision on the machine's grid.

    Returns
    -------
    sw.machine.image.Image

    Raises
    ------
    ValueError
        If the machine is unknown, the model holds what it cannot run, an accumulator could
        overflow, something does not fit, or the file cannot be written.
    """
    config = load_machine(machine)
    if output is not None:
        check_output(output, "Image", model, machine)
    if dump is not None:
        check_folder(dump, "Folder 'dump'")
    with track("compile", shown=verbose):
        network, snapped, _model = load_network(model, config, in_shape, dump)
        from xnorloom.sw.passes.compiler import compile_network

        image = compile_network(network, config, batch=batch)
        if output is not None:
            make_folder(output)
            image.save(output)
    if verbose:
        for line in precision_lines(snapped.report):
            console.print(line)
    return image


def precision_lines(report):
    """A line for every layer that loses precision, see :class:`sw.passes.snap.SnappedModel`."""
    for layer in report:
        if layer["lossy"]:
            yield (f"layer {layer['name']}: {len(layer['lossy'])} channels lose precision, their "
                   f"scales are off by up to {layer['error']:.2%} (more than "
                   f"{layer['limit']:.2%}); the first is channel {layer['lossy'][0]}")


def load_image(image):
    """An image file, or an image as it is.

    Raises
    ------
    ValueError
        If the file is absent, damaged or not ours.
    """
    if not _is_path(image):
        return image
    check_input(image, "Image")
    from xnorloom.sw.machine.image import Image

    return Image.load(image)


def verilog(machine="default", *, popcount="plain", name="top", output=None):
    """Generates the Verilog of a machine: one file.

    Parameters
    ----------
    machine : str, path or MachineConfig
    popcount : str
        ``plain`` for synthesis, ``countones`` for fast simulation.
    name : str
        Name of the top module, with which the names of all others begin.
    output : path or None
        File to write.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the machine is unknown, the name is none, or the file cannot be written.
    """
    config = load_machine(machine)
    if output is not None:
        check_output(output, "Verilog", machine)

    from xnorloom.hw.flow.verilog import emit

    text = emit(config, popcount=popcount, name=name)
    if output is not None:
        write_text(output, text)
    return text


def estimate(image):
    """Cycles, stalls and utilization per layer of one run, without simulating.

    Parameters
    ----------
    image : path or sw.machine.image.Image

    Returns
    -------
    dict
        ``machine``, ``network``, ``images`` and ``layers``: per layer ``name``, shapes, planes,
        ``passes``, ``cycles``, ``busy``, ``stalled_on_drain``, ``stalled_on_output``,
        ``stalled_on_input``, ``utilization``; the last entry, ``all``, is of the whole run.
    """
    image = load_image(image)
    from xnorloom.sw.machine.estimate import estimate as estimate_layers
    from xnorloom.sw.machine.estimate import estimate_cycles

    rows = estimate_layers(image)
    total = estimate_cycles(image)
    whole = {key: sum(row[key] for row in rows) for key in _SUMS}
    lanes = image.config.rows * image.config.cols * image.config.lanes
    whole |= {"name": "all", "cycles": total, "passes": None,
              "utilization": whole["useful"] / (total * lanes)}
    return {"machine": image.config.name, "network": image.metadata["network"],
            "images": image.batch, "layers": [*rows, whole]}


_SUMS = ("busy", "stalled_on_drain", "stalled_on_output", "stalled_on_input", "useful")


def inspect(image, *, picture=None):
    """Header, layers, memory map and checksums of an image, as a dictionary of plain values.

    Parameters
    ----------
    image : path or sw.machine.image.Image
    picture : path or None
        Also draw the memory map there: which maps lie where in the activation banks and for how
        long, and how full every memory is; ``.png`` or ``.svg``.

    Returns
    -------
    dict
        ``maps`` are those of :func:`sw.machine.lifetimes.map_lifetimes`.

    Raises
    ------
    ValueError
        If the image is absent, damaged or not ours, or the picture cannot be written.
    """
    if picture is not None:
        check_picture(picture, "Picture", image)
    image = load_image(image)
    from xnorloom.hw.spec.config import FORMAT_VERSION
    from xnorloom.hw.spec.memory import banks
    from xnorloom.sw.machine.lifetimes import map_lifetimes

    usage = image.metadata["usage"]
    memories = [{"name": memory.name.lower(), "banks": bank.count, "depth": bank.depth,
                 "width": bank.width, "used": usage.get(memory.name.lower(), 0)}
                for memory, bank in banks(image.config).items()]
    result = {
        "network": image.metadata["network"], "info": image.metadata["info"],
        "machine": image.config.as_dict(), "fingerprint": f"{image.config.fingerprint:08x}",
        "format_version": FORMAT_VERSION, "batch": image.batch, "bytes": len(image.to_bytes()),
        "program_words": len(image.program), "program_crc32": f"{image.crc32:08x}",
        "input": image.metadata["input"], "layers": image.layers,
        "head": image.metadata.get("head"), "memories": memories,
        "maps": map_lifetimes(image),
    }
    if picture is not None:
        from ..report.memory_map import save_memory_map

        save_memory_map(result, picture)
    return result

"""``synth`` and ``route``: what a machine costs on an FPGA."""

from xnorloom.hw.spec.config import load_machine

from ..report.progress import track

__all__ = ["route", "synth"]


def synth(machine="default", *, target="ecp5", verbose=False):
    """Synthesizes a machine and counts what its modules take.

    Parameters
    ----------
    machine : str, path or MachineConfig
    target : str
        ``ecp5``, ``ice40`` or ``xc7``.
    verbose : bool
        Whether progress is printed.

    Returns
    -------
    dict
        What :func:`hw.flow.synth.synthesize` returns: ``machine``, ``target``, ``modules`` (each
        with ``name``, ``depth``, ``instances`` and the counts ``lut``, ``ff``, ``block_ram``,
        ``dsp``, the whole machine last), ``lut_per_operation``, ``rest_per_array``.

    Raises
    ------
    ValueError
        If the machine or target is unknown, or synthesis fails.
    """
    config = load_machine(machine)
    from xnorloom.hw.flow.synth import synthesize

    with track(f"synthesize {config.name} for {target}", shown=verbose) as advance:
        return synthesize(config, target, progress=_alive(advance))


def route(machine="small", *, seed=None, verbose=False):
    """Places and routes a machine on an ECP5-25F, out of context.

    Parameters
    ----------
    machine : str, path or MachineConfig
    seed : int or None
        Where placement starts; None: that of the kept reports.
    verbose : bool
        Whether progress is printed.

    Returns
    -------
    dict
        What :func:`hw.flow.route.route` returns: ``machine``, ``device``, ``megahertz``,
        ``utilization``, ``critical_path``.

    Raises
    ------
    ValueError
        If the machine is unknown, does not fit, or cannot be routed.
    """
    config = load_machine(machine)
    from xnorloom.hw.flow.route import SEED
    from xnorloom.hw.flow.route import route as place_and_route

    with track(f"place and route {config.name}", shown=verbose) as advance:
        return place_and_route(config, seed=SEED if seed is None else seed,
                               progress=_alive(advance))


def _alive(advance):
    """What a tool calls while it works: how far it is, it cannot say."""
    return lambda _seconds: advance(0)

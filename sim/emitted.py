"""The machine's Verilog, emitted once: elaborating a large machine takes longer than a build."""

from importlib import metadata
from pathlib import Path

from .cache import BuildCache

__all__ = ["emitted"]


def emitted(config, popcount, cache=None):
    """Verilog of a machine, out of the cache if the gateware has not changed since.

    Parameters
    ----------
    config : hw.spec.config.MachineConfig
        The machine.
    popcount : str
        See :func:`hw.flow.verilog.emit`.
    cache : BuildCache or None
        Where emitted text is kept.

    Returns
    -------
    str
    """
    # Amaranth is needed by those alone who let a machine be emitted.
    from xnorloom import hw
    from xnorloom.hw.flow import verilog

    gateware = Path(hw.__file__).parent
    sources = {str(path.relative_to(gateware)): path.read_text()
               for path in sorted(gateware.rglob("*.py"))}
    cache = cache or BuildCache()
    tools = sorted((package.name, package.version) for package in metadata.distributions()
                   if package.name.startswith("amaranth"))
    key = cache.key({"emitted": config.as_dict(), "popcount": popcount, "sources": sources,
                     "tools": tools})
    folder = cache.get(key, lambda entry: (entry / "top.v").write_text(
        verilog.emit(config, popcount=popcount)))
    return (folder / "top.v").read_text()

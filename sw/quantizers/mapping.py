"""SchemeMap: schemes by name, for networks that are not quantized alike throughout."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from .config import SchemeConfig

__all__ = ["SchemeMap"]


@dataclass(frozen=True)
class SchemeMap:
    """Configurations by patterns of names; the first pattern that fits a name decides.

    Parameters
    ----------
    entries : tuple of (str, SchemeConfig or None)
        Patterns as in file names: ``*`` stands for any text, dots included. None: float.

    Raises
    ------
    ValueError
        If there is none, or some are trained and others calibrated.
    """

    entries: tuple[tuple[str, SchemeConfig | None], ...]

    def __post_init__(self):
        for pattern, _config in self.entries:
            if not isinstance(pattern, str):
                raise ValueError(f"Scheme pattern must be a text, not {pattern!r}")
        configs = [config for _pattern, config in self.entries if config is not None]
        if not configs:
            raise ValueError("Scheme must have a configuration for at least one pattern, not none")
        if len({config.post_training for config in configs}) > 1:
            raise ValueError("Schemes of one network must all be trained or all be calibrated, not "
                             f"{', '.join(type(config).__name__ for config in configs)}")

    @property
    def post_training(self):
        """Whether weights are quantized from calibration data after training."""
        return any(config is not None and config.post_training for _pattern, config in self.entries)

    def fits(self, name):
        """Patterns that fit a name, in order."""
        return [pattern for pattern, _config in self.entries if fnmatchcase(name, pattern)]

    def __getitem__(self, pattern):
        return dict(self.entries)[pattern]

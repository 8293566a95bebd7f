"""What the lower part of the software raises."""

__all__ = ["CompileError", "DoesNotFit", "DriverError", "ImageError"]


class CompileError(ValueError):
    """A network that the machine cannot run: the layer, the demand and the offending value."""


class DoesNotFit(CompileError):
    """A memory of the machine is too small.

    Parameters
    ----------
    what : str
        Memory, and the layer where there is one; begins the sentence.
    need, have : int
        Entries per bank.
    hint : str or None
        Which preset fits.
    by_batch : bool
        Whether a smaller batch would need less.
    """

    def __init__(self, what, need, have, hint=None, *, by_batch=False):
        self.what, self.need, self.have, self.by_batch = what, need, have, by_batch
        super().__init__(f"{what} must have at least {need} entries per bank, not {have}: "
                         f"{need - have} too few{f'; {hint}' if hint else ''}")


class ImageError(ValueError):
    """A program image that cannot be used; the message says which check failed."""


class DriverError(RuntimeError):
    """A machine that is not the expected one, that reports an error, or that answers wrongly.

    Attributes
    ----------
    code : hw.spec.link.ErrorCode or None
        What the machine reported, None if the fault was found by the driver.
    word : int or None
        Which word offended, see :class:`hw.spec.link.ErrorCode`.
    """

    def __init__(self, message, code=None, word=None):
        self.code, self.word = code, word
        super().__init__(message)

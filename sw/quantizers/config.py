"""SchemeConfig: what every scheme's configuration says."""

from dataclasses import dataclass
from typing import ClassVar

from .base import ActivationQuantizer, WeightQuantizer
from .symmetric import SymmetricActivation

__all__ = ["SchemeConfig"]


@dataclass(frozen=True, kw_only=True)
class SchemeConfig:
    """How a network is quantized; every paper's file has a subclass with options of its own.

    Parameters
    ----------
    edge_bits : int or None
        Bits of the first and the last layer's weights: :class:`~sw.quantizers.sawb.SawbWeight`'s
        even levels, which at 8 bits reach up to ``max |w|``. None: as the weights of all other
        layers.

    Attributes
    ----------
    post_training : bool
        Weights are quantized from calibration data after training, instead of being trained.
    """

    edge_bits: int | None = 8
    post_training: ClassVar[bool] = False

    def weight_quantizer(self, weight) -> WeightQuantizer:
        """A new quantizer for a layer.

        Parameters
        ----------
        weight : float tensor, shape ``(outputs, inputs)`` or ``(outputs, inputs, height, width)``
            The float weight, for quantizers that start from it.
        """
        raise NotImplementedError

    def activation_quantizer(self) -> ActivationQuantizer:
        """A new quantizer for an activation."""
        raise NotImplementedError

    def signed_quantizer(self) -> ActivationQuantizer:
        """A new quantizer for values of both signs."""
        own = self.activation_quantizer()
        if own.signed:
            return own
        signed = SymmetricActivation(own.bits)
        signed.post_training = own.post_training
        return signed

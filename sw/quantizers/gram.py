"""GramSums: all that a layer-wise solver must know of calibration data, however much there is."""

import torch

__all__ = ["GramSums"]


class GramSums:
    """Running sums over samples of a layer's inputs, in the float network and in the quantized one.

    Samples arrive in batches and are forgotten: memory is that of the two matrices.

    Parameters
    ----------
    inputs : int
        Inputs of one neuron, N.
    groups : int
        Groups of a grouped convolution; a sample then has ``groups * inputs`` values.

    Attributes
    ----------
    gram, cross : float64 tensor, shape ``(groups, inputs, inputs)``
        ``H = Xt.T @ Xt`` and ``G = Xt.T @ X``, X the analog and Xt the quantized inputs.
    samples : int
        Rows seen.
    """

    def __init__(self, inputs, groups=1):
        self.inputs, self.groups, self.samples = inputs, groups, 0
        self.gram = torch.zeros(groups, inputs, inputs, dtype=torch.float64)
        self.cross = torch.zeros_like(self.gram)
        self._sums = torch.zeros(2, groups, inputs, dtype=torch.float64)

    def add(self, analog, quantized):
        """Adds a batch.

        Parameters
        ----------
        analog, quantized : float tensor, shape ``(samples, groups * inputs)``

        Raises
        ------
        ValueError
            If a shape is another, or a value is not finite; nothing is then added.
        """
        wanted = (len(analog), self.groups * self.inputs)
        for name, rows in (("analog", analog), ("quantized", quantized)):
            if tuple(rows.shape) != wanted:
                raise ValueError(f"GramSums {name} samples must have shape {wanted}, "
                                 f"not {tuple(rows.shape)}")
        pair = [rows.double().unflatten(1, (self.groups, -1)) for rows in (analog, quantized)]
        sums = torch.stack([rows.sum(dim=0) for rows in pair])
        if not torch.isfinite(sums).all():
            raise ValueError("GramSums samples must be finite")
        self._sums += sums
        self.samples += len(analog)
        x, xt = (rows.numpy() for rows in pair)
        for group in range(self.groups):
            # numpy sees that the first product is symmetric and halves the work; torch does not.
            rows = xt[:, group]
            self.gram.numpy()[group] += rows.T @ rows
            self.cross.numpy()[group] += rows.T @ x[:, group]

    def mean_error(self, weight, quantized):
        """Mean over samples of ``X w - Xt q``: what a bias must make up for (section 4.3).

        Parameters
        ----------
        weight, quantized : float tensor, shape ``(neurons, inputs)``
            Rows of a group follow each other.

        Returns
        -------
        float64 tensor, shape ``(neurons,)``
        """
        w, q = self._grouped(weight, quantized)
        x, xt = self._sums.unsqueeze(2) / self.samples
        return (w * x - q * xt).sum(dim=2).flatten()

    def squared_error(self, weight, quantized, energy):
        """Sum over samples and neurons of ``(X w - Xt q) ** 2``, a float.

        Parameters
        ----------
        weight, quantized : float tensor, shape ``(neurons, inputs)``
        energy : float
            Sum of ``(X w) ** 2``, which these matrices do not tell.
        """
        w, q = self._grouped(weight, quantized)
        error = energy + float((q * (q @ self.gram - 2 * w @ self.cross.mT)).sum())
        return max(error, 0.0)

    def _grouped(self, *weights):
        return [each.detach().double().reshape(self.groups, -1, self.inputs) for each in weights]

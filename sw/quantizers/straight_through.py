"""What forward passes share: straight-through gradients, and when numbers may be looked at."""

import torch

__all__ = ["in_backward", "keep_nan", "readable", "shown", "straight_through", "working"]


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, scale, values, to_x, to_scale):
        return values

    @staticmethod
    def setup_context(ctx, inputs, output):
        _x, scale, _values, to_x, to_scale = inputs
        ctx.save_for_backward(to_x, to_scale)
        ctx.scale = None if scale is None else (scale.shape, scale.dtype)

    @staticmethod
    def backward(ctx, *grads):
        (upstream,), (to_x, to_scale) = grads, ctx.saved_tensors
        to_input = upstream if to_x is None else upstream * to_x
        if ctx.scale is None:
            return to_input, None, None, None, None
        shape, dtype = ctx.scale
        return to_input, (upstream * to_scale).to(dtype).sum_to_size(shape), None, None, None


def straight_through(x, values, slope=None, scale=None, to_scale=None):
    """A tensor of given values whose gradients are given, too.

    Parameters
    ----------
    x : float tensor
    values : float tensor, of the shape of x
        Returned in the dtype of x.
    slope : tensor or None
        What the upstream gradient is multiplied by on its way to x; None: it passes as it is.
    scale : float tensor, optional
        A trained scale, which gets the sum of the upstream gradient times ``to_scale`` over all
        that shares it.
    to_scale : tensor, of the shape of x
    """
    if slope is not None:
        slope = slope.detach() if slope.dtype == torch.bool else slope.detach().to(x.dtype)
    return _StraightThrough.apply(x, scale, values.detach().to(x.dtype), slope,
                                  None if to_scale is None else to_scale.detach())


def working(x):
    """A float tensor without its gradient, in a dtype that holds every code: float32 at least."""
    x = x.detach()
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def readable(tensor):
    """Whether a number may be looked at on the host: not while a graph is traced, not on ``meta``,
    and not within ``vmap`` or ``grad``, where a tensor may stand for several."""
    return not (torch.compiler.is_compiling() or tensor.is_meta
                or torch._C._functorch.is_functorch_wrapped_tensor(tensor))


def in_backward():
    """Whether the forward pass at work is one that checkpointing runs again, within a backward
    pass: what counts batches must not count this one."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def shown(tensor):
    """A number for ``repr``; ``"?"`` where it has none."""
    return f"{float(tensor.detach()):.4g}" if readable(tensor) else "?"


def keep_nan(x, values):
    """The values, but NaN where x is: codes compare, and a comparison hides it."""
    return torch.where(x.isnan(), x, values)

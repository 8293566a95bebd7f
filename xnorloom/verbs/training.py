"""``train``: a network and a scheme by name, to a checkpoint."""

from ..output import check_output, make_folder
from ..report.progress import track

__all__ = ["train"]


def train(net="cnn", data="digits", scheme="lsbq-w1a2", *, output=None, epochs=None, seed=None,
          augment="shift", teacher=None, verbose=False):
    """Trains a float network and, from it, its quantized copy; the same every time for one seed.

    Parameters
    ----------
    net, data, scheme : str
        Registered names; ``scheme`` may also be a configuration of your own.
    output : path or None
        Checkpoint to write.
    epochs : int or None
        Passes over the training set, of each of the two; None: those of the recipe.
    seed : int or None
        Of weights and batches; None: that of the recipe.
    augment : str or None
        ``"shift"``: half of the images are moved by up to a pixel; None: they stay as they are.
    teacher : torch.nn.Module or None
        A trained float network of the same kind, to train another scheme without training it again.
    verbose : bool
        Whether progress is printed.

    Returns
    -------
    sw.training.train.Trained
        ``model``, ``float_model``, ``accuracy`` (``float``, ``quantized``) and ``info``.

    Raises
    ------
    ValueError
        If a name is unknown, an option is out of its range, or the checkpoint cannot be written.
    """
    from xnorloom.sw.quantizers import scheme_name
    from xnorloom.sw.training import checkpoint, nets
    from xnorloom.sw.training import train as training
    from xnorloom.sw.training.recipe import Recipe

    options = {"seed": seed, "epochs": epochs, "float_epochs": epochs}
    recipe = Recipe(augment=augment, **{key: value for key, value in options.items()
                                        if value is not None})
    # A wrong name is found before the data are loaded.
    nets.build(net, scheme, data)
    if output is not None:
        check_output(output, "Checkpoint")
    stages = ([] if teacher is not None else ["float"]) + ([] if scheme is None else ["quantized"])
    with track(f"train {net} with {scheme_name(scheme)}", 100, shown=verbose) as advance:
        def progress(epoch):
            before = 0 if epoch.stage == "float" else len(stages) - 1
            share = (before + epoch.epoch / epoch.epochs) / len(stages)
            advance(round(100 * share), f"{epoch.stage}: loss {epoch.loss:.3f}")

        result = training.train(net, scheme, data, recipe=recipe, teacher=teacher,
                                progress=progress)
    if output is not None:
        make_folder(output)
        checkpoint.save(output, result.model, result.info)
    return result

"""What passes make, as texts in a folder."""

from pathlib import Path

__all__ = ["write_texts"]


def write_texts(folder, texts, first=0):
    """Writes a numbered file for every text.

    Parameters
    ----------
    folder : path-like
        Made if need be.
    texts : dict of str to str
        By the name of the pass, in order.
    first : int
        Number of the first file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, text) in enumerate(texts.items(), first):
        (folder / f"{number}-{name}.txt").write_text(text)

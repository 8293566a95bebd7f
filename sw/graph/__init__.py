"""Networks as graphs: the torch side's trace, and the integer network below it."""

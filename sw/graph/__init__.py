"""Networks as graphs: a float or quantized one as torch has it, and the integer network below it."""

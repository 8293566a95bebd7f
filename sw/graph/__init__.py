"""Networks as graphs: float and quantized ones of torch, and the integer network below them."""

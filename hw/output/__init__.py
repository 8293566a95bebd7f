"""The output path: codes of a tile, and their way into the activation banks or to the host."""

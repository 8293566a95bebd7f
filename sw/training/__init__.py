"""Training and calibration: networks, recipe, loop, checkpoints."""

"""What stands behind a column: scale-and-accumulate units and thresholds."""

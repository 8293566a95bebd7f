"""On-chip memory."""

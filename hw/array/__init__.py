"""The systolic array: popcount, processing element, skew and drain."""

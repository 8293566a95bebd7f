"""Operators, one file each: how torch is read, float and integer meaning, limits."""

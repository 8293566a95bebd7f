"""Operators: their float layers, and their integers."""

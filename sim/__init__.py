"""Simulation of the generated machine: cocotb lives on this floor and nowhere else."""

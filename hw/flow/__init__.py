"""From the description to Verilog, area and frequency."""

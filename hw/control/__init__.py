"""Control: descriptors, layers in order, registers, faults."""

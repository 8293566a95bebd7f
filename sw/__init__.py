"""Software of the machine: quantizers, compiler, image, integer reference and driver."""

"""What runs beside a machine: image, packing, reference, driver, estimate. numpy only."""

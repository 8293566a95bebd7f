"""All schemes beside each other: runs, experiments, page."""

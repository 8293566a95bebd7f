"""Shared by all tests: repeatable random examples, one torch thread, no progress bars."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_COLOR", "1")

import hypothesis

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None,
                                     max_examples=50, print_blob=True)
hypothesis.settings.load_profile("repeatable")

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Settings of hypothesis for all tests (conftest.py imports this): fast and deterministic.

The test suite must not fail at random on a user's machine. To search for new counterexamples, run
`pytest --hypothesis-profile=default`, or set THFM_FUZZ_EXAMPLES for the fuzz tests.
"""

import os
import sys

from hypothesis import HealthCheck, settings

settings.register_profile(
    "thfm",
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],  # depends on how busy the machine is
)
if not any(argument.startswith("--hypothesis-profile") for argument in sys.argv):
    settings.load_profile("thfm")

FUZZ_EXAMPLES = int(os.environ.get("THFM_FUZZ_EXAMPLES", "0"))
"""Inputs of each fuzz test in an opt-in run, new ones in every run; 0 in the test suite."""


def fuzz(examples: int) -> settings:
    """Settings of a fuzz test: ``examples`` inputs in the suite, the same in every run."""
    return settings(
        max_examples=FUZZ_EXAMPLES or examples,
        derandomize=not FUZZ_EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )

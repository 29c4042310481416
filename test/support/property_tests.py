"""Settings of hypothesis for every test file that imports this: fast and deterministic.

The test suite must not fail at random on a user's machine. To search for new counterexamples, run
`pytest --hypothesis-profile=default`.
"""

import sys

from hypothesis import settings

settings.register_profile("thfm", deadline=None, max_examples=40, derandomize=True)
if not any(argument.startswith("--hypothesis-profile") for argument in sys.argv):
    settings.load_profile("thfm")

"""Settings of hypothesis for every file that imports this: quick, and the same in every run.

A suite that a robot's builder runs must not fail by chance; to look for new cases, run
`pytest --hypothesis-profile=default`.
"""

import sys

from hypothesis import settings

settings.register_profile("thfm", deadline=None, max_examples=40, derandomize=True)
if not any(argument.startswith("--hypothesis-profile") for argument in sys.argv):
    settings.load_profile("thfm")

"""Settings of hypothesis for every file that imports this: quick, and the same in every run.

A suite that a robot's builder runs must not fail by chance; to look for new cases, run
`pytest --hypothesis-profile=default`.
"""

from hypothesis import settings

settings.register_profile("thfm", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("thfm")

"""Settings of hypothesis for every file that imports this: quick, and calm on busy machines."""

from hypothesis import settings

settings.register_profile("thfm", deadline=None, max_examples=40)
settings.load_profile("thfm")

"""Synthetic humans: images of people that never lived, with exact labels for every task.

``bake`` turns public sources into one asset pack, ``sample`` shows what it gives and ``render``
writes shards for training. Numpy, numba and OpenCV at run time; the body model only when baking.
"""

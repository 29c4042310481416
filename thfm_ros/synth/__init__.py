# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Synthetic humans: rendered images of people with exact labels for every task.

``bake`` converts public sources to one asset pack, ``sample`` renders a contact sheet from it and
``render`` writes shards for training. Rendering needs numpy, numba and OpenCV; only baking needs
the body model.
"""

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Scenes: people, props, animals, decoys and backdrops."""

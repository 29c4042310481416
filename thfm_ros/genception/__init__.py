# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The full-size family: the public GenCeption checkpoints, their VAE, prompts and engines."""

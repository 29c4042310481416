# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A person's limbs as REP-155's kinematic tree: joint angles and orientations from positions."""

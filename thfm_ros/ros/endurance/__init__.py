# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The endurance test of the node: hours with a camera and subscribers that come and go."""

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Motion of people: captured clips, procedural gestures and strides, and variations of them."""

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What training does to a rendered image: moves, cameras, backgrounds, occluders."""

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Reading and writing videos and images, drawing, and the files of results."""

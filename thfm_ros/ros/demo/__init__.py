# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm demo`: plays a video through the node, summarizes the results and draws them."""

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark node`: the node under load, compared with a MediaPipe node in the same run."""

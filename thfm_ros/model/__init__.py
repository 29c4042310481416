# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The embedded network: its architecture, its tasks, and what a checkpoint says about itself."""

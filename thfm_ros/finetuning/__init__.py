# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Fine-tuning of the full-size family on rendered people; see docs/fine_tuning.md."""

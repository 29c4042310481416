# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Many bags at once: units of work, workers that may die, a manifest, a report."""

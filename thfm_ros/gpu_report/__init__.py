# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark gpu`: all that one run on an NVIDIA GPU can tell, in one file."""

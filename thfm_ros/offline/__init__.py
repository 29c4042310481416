# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The pipeline on recorded input: films, images and bags become files of results."""

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rendering of scenes to images with labels, and simulation of the camera's sensor."""

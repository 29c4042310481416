# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Person models: body shape, rig, skin, clothes and hair."""

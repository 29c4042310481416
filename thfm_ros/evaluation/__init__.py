# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How right a checkpoint is: crops, clips, whole frames through the pipeline, real images."""

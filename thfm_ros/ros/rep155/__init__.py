# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""People as REP-155 describes them: kinematic tree, joint states, URDF and topics per body."""

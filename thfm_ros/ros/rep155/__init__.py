"""Humans as REP-155 describes them: kinematics, joint states, URDF and topics per body."""

"""People as REP-155 describes them: kinematic tree, joint states, URDF and topics per body."""

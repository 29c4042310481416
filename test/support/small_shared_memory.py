# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A node and a camera with the /dev/shm that this process finds:
`python -m small_shared_memory LOG`.

Publishes images until there are results, or until the diagnostics say what is wrong with them, and
prints which of the two.
"""

import sys
from pathlib import Path

import rclpy
from node_client import Client, fake_node
from ros_process import Listener

from thfm_ros.msg import BodyArray

if __name__ == "__main__":
    with fake_node(Path(sys.argv[1])) as process:
        rclpy.init()
        listener = Listener()
        client = Client(listener, process)
        client.wait_for_subscription()
        bodies = client.listen(BodyArray, "bodies")

        def is_named() -> bool:
            return "lost in transport" in client.status("input")[1]

        client.stream(lambda: len(bodies) > 20 or is_named(), "results or a reason", rate_hz=5)
        sys.stdout.write(client.status("input")[1] if is_named() else f"{len(bodies)} results")
        listener.close()

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What the tests of a running node share."""

import pytest
from node_client import Client
from ros_process import Listener, NodeProcess
from settable_time import Time


@pytest.fixture
def client(listener: Listener, process: NodeProcess) -> Client:
    """A client of the node that the module's fixture ``process`` runs; it has subscribed."""
    client = Client(listener, process)
    client.wait_for_subscription()
    return client


@pytest.fixture
def time() -> Time:
    """A clock that stands still until the test sets it."""
    return Time()

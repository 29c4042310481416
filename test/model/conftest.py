# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One thread for PyTorch in the tests of networks."""

from torch_threads import one_thread

__all__ = ["one_thread"]

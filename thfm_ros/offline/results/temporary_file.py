# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A file that gets its name when it is complete."""

import os
import tempfile
from pathlib import Path


class TemporaryFile:
    """A path beside ``path`` to write to, then `complete` or `abandon`.

    Raises:
        OSError: the folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        self._path, self.temporary = path, Path(name)

    def complete(self) -> None:
        """Give the file its name, with the permissions of a new file."""
        mask = os.umask(0)
        os.umask(mask)
        self.temporary.chmod(0o666 & ~mask)
        self.temporary.replace(self._path)

    def abandon(self) -> None:
        """Remove the file; after `complete` without effect."""
        self.temporary.unlink(missing_ok=True)

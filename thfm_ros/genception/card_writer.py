# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Gives a checkpoint file another card; the weights are copied byte by byte."""

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

from thfm_ros.genception.config import GenceptionError
from thfm_ros.model.card import ModelCard
from thfm_ros.model.weights import CARD_KEY


def write_with_card(source: Path, out: Path, card: ModelCard) -> None:
    """Write ``out``, atomically: ``source`` with another card. Both may be the same file.

    Raises:
        GenceptionError: the disk has too little space.
        OSError: the file cannot be read or written.
    """
    free = shutil.disk_usage(out.parent).free
    size = source.stat().st_size
    if size > free:
        raise GenceptionError(
            f"{out} needs {size / 1e9:.2f} GB until the old file is replaced; {free / 1e9:.2f} GB "
            "are free on that disk. Free some space, or give --out on another disk."
        )
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with source.open("rb") as read, unfinished.open("wb") as write:
            (length,) = struct.unpack("<Q", read.read(8))
            table: dict[str, Any] = json.loads(read.read(length))
            metadata = {**table.get("__metadata__", {}), CARD_KEY: card.to_json()}
            header = json.dumps({**table, "__metadata__": metadata}, separators=(",", ":")).encode()
            header += b" " * (-len(header) % 8)  # tensors are aligned to 8 bytes
            write.write(struct.pack("<Q", len(header)) + header)
            shutil.copyfileobj(read, write, 1 << 24)
            write.flush()
            os.fsync(write.fileno())
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)

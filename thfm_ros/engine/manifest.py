# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What an engine was built from: the key of its cache entry, and the manifest beside the file."""

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

SUFFIXES = {"onnx": ".onnx", "tensorrt": ".pt2", "prompts": ".safetensors"}
"""File suffixes by engine: other tools recognise them, and PyTorch will require its own."""


@dataclass(frozen=True, kw_only=True)
class EngineKey:
    """Everything that an artefact depends on; any other value means another artefact."""

    engine: str  # one of SUFFIXES
    checkpoint: str  # name on the model card, for readability
    weights_sha256: str
    profile: str  # image size and outputs: "128x128-dense"
    precision: str  # "float32"
    device: str  # "cpu", or the GPU's name and SM
    versions: tuple[tuple[str, str], ...]  # (package, version), sorted

    @property
    def purpose(self) -> str:
        """Engine, checkpoint and profile, as the beginning of the file name."""
        text = f"{self.engine}-{self.checkpoint}-{self.profile}"
        return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)

    @property
    def stem(self) -> str:
        """File name without suffix: the purpose, and a digest of the whole key."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return f"{self.purpose}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def file_name(self) -> str:
        """File name of the artefact."""
        return self.stem + SUFFIXES[self.engine]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The manifest of one artefact."""

    key: EngineKey
    created: str  # ISO 8601, UTC
    build_s: float
    bytes: int
    sha256: str
    notes: dict[str, str]  # free text of the builder

    def to_json(self) -> str:
        """Indented, for readability."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)


def manifest_from_json(text: str) -> Manifest:
    """Read a manifest; ValueError when it is not one."""
    try:
        values: dict[str, Any] = json.loads(text)
        key: dict[str, Any] = dict(values.pop("key"))
        key["versions"] = tuple((str(name), str(version)) for name, version in key["versions"])
        return Manifest(key=EngineKey(**key), **values)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"no manifest: {error}") from error

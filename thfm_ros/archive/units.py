# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The units of an archive: one camera of one bag each, since people are followed in one stream."""

import glob
import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from thfm_ros.archive.storage import (
    RemoteBag,
    address_of,
    identity_of,
    is_remote,
    local_copy,
    remote_bags,
)
from thfm_ros.bags.bag import Bag
from thfm_ros.bags.opening import BagError, is_bag
from thfm_ros.contract import PerceptionError
from thfm_ros.media.errors import shown

log = logging.getLogger(__name__)

_KEY_LENGTH = 20  # hexadecimal digits: no two of a billion units have the same


@dataclass(frozen=True)
class Unit:
    """One camera of one bag.

    Attributes:
        key: names the results; a hash of the bag, the topic and all settings.
        path: of the bag, absolute.
        source: the bag as it was named, to be shown.
        topic: of the images; empty if the bag could not be opened.
        images: number of messages of the topic.
        error: why there is nothing to do; empty if there is.
    """

    key: str
    path: str
    source: str
    topic: str
    images: int = 0
    error: str = ""


def bags_of(inputs: Sequence[str], out: str = "") -> list[Path | RemoteBag]:
    """The bags that are named: paths, globs, folders of bags, and @FILE with one of these a line.

    All but @FILE may be addresses such as s3://bucket/folder.

    Args:
        inputs: as they were named.
        out: folder or address of results, which are no input though they are bags, too.

    Raises:
        PerceptionError: one of them names nothing.
    """
    found: dict[Path | RemoteBag, None] = {}
    for text in inputs:
        named = list(_bags_named(text))
        bags = [bag for bag in named if not (out and _is_in(bag, out))]
        if not named:
            raise PerceptionError(
                f"{text} names no rosbag: give a bag (folder, .mcap, .db3, .bag), a folder of "
                "bags, a glob in quotes, or @FILE with one of these a line."
            )
        if not bags:
            raise PerceptionError(
                f"All bags of {text} are in --out {out}, where the results go, which are bags "
                "themselves: give another --out."
            )
        found.update(dict.fromkeys(bags))
    return list(found)


def _is_in(bag: Path | RemoteBag, folder: str) -> bool:
    if isinstance(bag, RemoteBag):
        return is_remote(folder) and f"{bag.uri}/".startswith(f"{address_of(folder)[0]}/")
    path = address_of(folder)[1] if is_remote(folder) else folder
    return bool(path) and bag.absolute().is_relative_to(Path(path).absolute())


def _bags_named(text: str) -> Iterator[Path | RemoteBag]:
    if text.startswith("@"):
        try:
            lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise PerceptionError(f"The list {text[1:]} cannot be read: {error}") from error
        named = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        yield from bags_of(named)
        return
    if is_remote(text):
        uri, local = address_of(text)
        if not local:
            yield from remote_bags(uri)
            return
        text = local
    if Path(text).exists():
        paths = [Path(text)]
    else:
        paths = [Path(each) for each in sorted(glob.glob(text, recursive=True))]
    for path in paths:
        yield from _bags_at(path)


def _bags_at(path: Path) -> Iterator[Path]:
    """The bag at a path, or all bags in a folder and in its folders.

    The files in a folder with a metadata.yaml are one bag, in any other folder each is one.
    """
    if not path.is_dir():
        if is_bag(path):
            yield path
    elif (path / "metadata.yaml").exists():
        yield path
    else:
        for child in sorted(path.iterdir()):
            if not child.name.startswith("."):
                yield from _bags_at(child)


def units_of(
    bags: Iterable[Path | RemoteBag],
    topics: Sequence[str],
    digest: str,
    scratch_bytes: int,
    *,
    info_topic: str = "",
) -> list[Unit]:
    """The units of all bags, those with most images first.

    Args:
        bags: paths and addresses.
        topics: of the images; empty: the only one of each bag; "all": all of each.
        digest: of the settings, see `Job.digest`.
        scratch_bytes: largest copy of a remote bag.
        info_topic: of the calibrations; empty: beside the images.

    Returns:
        A unit with an error for each bag that cannot be opened or lacks a topic, and for each
        camera of a bag if several would get one calibration.
    """
    units: dict[str, Unit] = {}
    for path in bags:
        found = list(_units_of_bag(path, topics, digest, scratch_bytes))
        cameras = sum(not unit.error for unit in found)
        for unit in found:
            if info_topic and cameras > 1 and not unit.error:
                text = f"--camera-info {info_topic} would be used for {cameras} cameras of the bag"
                unit = replace(unit, error=f"{text}: give one --topic with it.")
            units.setdefault(unit.key, unit)  # the same bag twice is one unit
    return sorted(units.values(), key=lambda unit: (-unit.images, unit.source, unit.topic))


def _units_of_bag(
    location: Path | RemoteBag, topics: Sequence[str], digest: str, scratch_bytes: int
) -> Iterator[Unit]:
    source = location.uri if isinstance(location, RemoteBag) else shown(location)
    path = source if isinstance(location, RemoteBag) else str(location.absolute())
    identity = path
    try:
        identity = identity_of(location)
        with local_copy(location, scratch_bytes) as local, Bag(local) as bag:
            wanted = bag.image_topics if list(topics) == ["all"] else list(topics)
            for name in wanted or [""]:
                try:
                    topic = bag.image_topic(name)
                except BagError as error:
                    yield Unit(_key(digest, identity, name), path, source, name, error=str(error))
                    continue
                images = bag.topics[topic].count
                yield Unit(_key(digest, identity, topic), path, source, topic, images)
    except BagError as error:
        yield Unit(_key(digest, identity, ""), path, source, "", error=str(error))


def location_of(unit: Unit) -> Path | RemoteBag:
    """Where the unit's bag lies."""
    return RemoteBag(unit.path) if is_remote(unit.path) else Path(unit.path)


def _key(digest: str, identity: str, topic: str) -> str:
    text = f"{digest}\n{identity}\n{topic}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:_KEY_LENGTH]

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
from pathlib import Path

import numpy as np
import pytest

from thfm_ros.synth.baking.capsules import capsule_pack
from thfm_ros.synth.pack import AssetPack, PackError, load_pack


def test_a_pack_is_loaded_as_it_was_saved(pack_path: Path) -> None:
    before, after = capsule_pack(), load_pack(pack_path)
    np.testing.assert_array_equal(before.body.rest, after.body.rest)
    np.testing.assert_array_equal(before.motions[0].segments, after.motions[0].segments)
    assert after.motions[0].fps == 30.0 and after.motions[0].name == before.motions[0].name
    assert after.garments == () and after.about["body"] == "capsules"


def test_the_error_for_a_missing_pack_gives_the_command_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="thfm synth bake"):
        load_pack(tmp_path / "none.npz")


def test_a_damaged_pack_is_refused(pack_path: Path, tmp_path: Path) -> None:
    data = pack_path.read_bytes()
    (tmp_path / "half.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(PackError, match="not a readable asset pack"):
        load_pack(tmp_path / "half.npz")


def test_a_pack_of_another_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thfm_ros.synth.pack.FORMAT", 99)
    capsule_pack().save(tmp_path / "new.npz")
    monkeypatch.undo()
    with pytest.raises(PackError, match=r"format 99; this version reads 4; .*thfm synth bake"):
        load_pack(tmp_path / "new.npz")


def test_a_full_disk_leaves_no_partial_pack(
    pack: AssetPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thfm_ros.synth.pack.np.savez_compressed", full)
    with pytest.raises(PackError, match=r"No space left on device.*Free some space"):
        pack.save(tmp_path / "deep" / "pack.npz")
    assert list((tmp_path / "deep").iterdir()) == []

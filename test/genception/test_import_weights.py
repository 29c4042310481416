# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Import of public weights: exact, within limited memory, and resumable."""

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import genception_fixtures as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from safetensors import safe_open
from synthetic_release import KEYS, write_release

from thfm_ros.contract import Task
from thfm_ros.genception.checkpoint import load_checkpoint
from thfm_ros.genception.config import GenceptionError, config_from_shapes
from thfm_ros.genception.import_weights import import_release
from thfm_ros.genception.release_folder import find_release
from thfm_ros.genception.resumable_safetensors import ResumableWriter
from thfm_ros.genception.transformer import load_transformer
from thfm_ros.genception.wan_vae import VaeVariant, load_vae
from thfm_ros.genception.weight_map import build_weight_map, check_shapes
from thfm_ros.model.weights import read_card


@torch.no_grad()
def test_imported_checkpoint_is_bit_identical_to_the_release(folder: Path) -> None:
    out = folder / "out.safetensors"
    import_release(find_release(folder), out)
    imported = load_checkpoint(out, dtype=torch.float32)
    direct = load_transformer(reference.TINY_BF16, reference.config())
    latents, prompt = reference.tensor("input/latents"), reference.tensor("input/prompt_embeds")
    for output, expected in zip(
        imported.transformer(latents, prompt), direct(latents, prompt), strict=True
    ):
        assert torch.equal(output, expected)
    vae = load_vae(folder / "vae", VaeVariant.AS_RELEASED)
    assert torch.equal(imported.vae.decode(latents), vae.decode(latents))
    assert torch.equal(imported.prompts[Task.DEPTH], prompt)
    assert torch.equal(imported.prompts[Task.SEGMENTATION], -prompt)


def test_bfloat16_is_stored_as_bfloat16(folder: Path) -> None:
    import_release(find_release(folder), folder / "out.safetensors")
    with safe_open(folder / "out.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert tensors["transformer.wan.blocks.2.ffn.net.0.proj.weight"].dtype == torch.bfloat16
    assert tensors["vae.decoder.conv_in.weight"].dtype == torch.float32
    assert not [name for name in tensors if "negative" in name]


def test_card_lists_the_tasks_of_the_release_only(folder: Path) -> None:
    out = folder / "out.safetensors"
    import_release(find_release(folder), out, vae_variant=VaeVariant.STOCK)
    card = read_card(out)
    assert card.family == "genception"
    assert set(card.tasks) == {Task.DEPTH, Task.NORMALS, Task.SEGMENTATION}
    assert card.prompts["depth"] == "Input: RGB. Output: Depth."
    assert card.prompts["segmentation"] == "a man."
    assert card.joint_names == ()  # there are 33 points, but their order is not published
    assert card.network["unnamed_tokens"]["tokens2"] == [33, 3]
    assert card.network["codec"] == "stock"
    (folder / "normals.npy").unlink()
    (folder / "ride_cap_a_man..npy").unlink()
    depth_only = import_release(find_release(folder), folder / "depth_only.safetensors")
    assert depth_only.tasks == (Task.DEPTH,)


def test_expression_without_embeddings_is_rejected(folder: Path) -> None:
    with pytest.raises(GenceptionError, match=r"a dog.*a man.*thfm prompt"):
        import_release(find_release(folder), folder / "out.safetensors", expression="a dog")


def test_import_without_vae_succeeds_but_loading_is_rejected(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    out = folder / "out.safetensors"
    assert import_release(find_release(folder), out).tasks == ()
    with pytest.raises(GenceptionError, match="--vae"):
        load_checkpoint(out)


class InterruptionError(Exception):
    """Stands for anything that interrupts an import."""


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_interrupted_import_is_resumed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    home = tmp_path_factory.mktemp("interrupted")
    reference.write_checkpoint_folder(home)
    release, uninterrupted, out = find_release(home), home / "whole.st", home / "out.st"
    import_release(release, uninterrupted)
    units: list[int] = []
    stops = sorted(data.draw(st.sets(st.integers(1, 100), max_size=3)))
    for stop in stops:
        done: list[int] = []

        def interrupt(size: int, done: list[int] = done, stop: int = stop) -> None:
            done.append(size)
            if len(done) == stop:
                raise InterruptionError

        with pytest.raises(InterruptionError):
            import_release(release, out, progress=interrupt)
        assert not out.exists()
    import_release(release, out, progress=units.append)
    assert out.read_bytes() == uninterrupted.read_bytes()
    assert sum(units) <= out.stat().st_size
    assert not list(home.glob("*.part*"))


def test_resumed_import_does_not_rewrite_finished_units(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    original = ResumableWriter.write

    def write(self: ResumableWriter, name: str, data: bytes) -> None:
        written.append(name)
        if name == "transformer.group1.token" and written.count(name) == 1:
            raise InterruptionError
        original(self, name, data)

    monkeypatch.setattr(ResumableWriter, "write", write)
    release, out = find_release(folder), folder / "out.st"
    with pytest.raises(InterruptionError):
        import_release(release, out)
    before = written.copy()
    import_release(release, out)
    again = set(before) & set(written[len(before) :])
    assert again == {"transformer.group1.token"}


def test_unfinished_file_of_another_release_is_discarded(folder: Path) -> None:
    out = folder / "out.st"

    def stop(size: int) -> None:
        raise InterruptionError

    with pytest.raises(InterruptionError):
        import_release(find_release(folder), out, progress=stop)
    changed = reference.weights(reference.TINY_BF16)
    changed["patch_embedding.kernel.value"] = changed["patch_embedding.kernel.value"][..., ::-1]
    reference.save_npz(folder / "genception_tiny_transformer.npz", changed)
    import_release(find_release(folder), out)
    fresh = folder / "fresh.st"
    import_release(find_release(folder), fresh)
    assert out.read_bytes() == fresh.read_bytes()


def test_repeated_import_is_a_no_op_and_other_contents_are_rejected(
    folder: Path,
) -> None:
    out = folder / "out.st"
    import_release(find_release(folder), out)
    stamp = out.stat().st_mtime_ns
    import_release(find_release(folder), out)
    assert out.stat().st_mtime_ns == stamp
    with pytest.raises(GenceptionError, match="exists already"):
        import_release(find_release(folder), out, vae_variant=VaeVariant.STOCK)
    assert out.stat().st_mtime_ns == stamp


def test_damaged_array_is_named_and_a_complete_download_finishes_the_import(folder: Path) -> None:
    path, out = folder / "genception_tiny_transformer.npz", folder / "out.st"
    intact = path.read_bytes()
    stored = reference.weights(reference.TINY_BF16)["blocks.ffn.proj_out.kernel.value"].tobytes()
    at = intact.index(stored) + len(stored) // 2
    path.write_bytes(intact[:at] + bytes([intact[at] ^ 1]) + intact[at + 1 :])
    with pytest.raises(GenceptionError, match=r"damaged in blocks\.ffn\.proj_out\.kernel"):
        import_release(find_release(folder), out)
    assert not out.exists()
    path.write_bytes(intact)
    import_release(find_release(folder), out)
    assert read_card(out).name == "genception_tiny"


def test_release_with_a_missing_weight_writes_nothing(folder: Path) -> None:
    incomplete = dict(reference.weights(reference.TINY_BF16))
    del incomplete["token1_proj_out.bias.value"]
    reference.save_npz(folder / "genception_tiny_transformer.npz", incomplete)
    with pytest.raises(GenceptionError, match=r"53 of 54.*token1_proj_out\.bias\.value is missing"):
        import_release(find_release(folder), folder / "out.st")
    assert not list(folder.glob("out.st*"))


def test_compressed_and_column_major_files_give_the_same_result(folder: Path) -> None:
    path, weights = folder / "genception_tiny_transformer.npz", reference.weights(reference.TINY)
    results = []
    for kind in ("plain", "compressed", "columns"):
        order = np.asfortranarray if kind == "columns" else np.ascontiguousarray
        ordered = {key: order(array) for key, array in weights.items()}
        reference.save_npz(path, ordered, compressed=kind == "compressed")
        out = folder / f"{kind}.st"
        import_release(find_release(folder), out)
        with safe_open(out, framework="np") as file:
            results.append({k: file.get_tensor(k).tobytes() for k in file.keys()})  # noqa: SIM118
    assert results[0] == results[1] == results[2]


def test_config_is_derived_from_the_public_shapes() -> None:
    public = json.loads(KEYS.read_text())
    shapes = {key: tuple(shape) for key, shape in public["shapes"].items()}
    config = config_from_shapes(shapes)
    check_shapes(build_weight_map(config), shapes, "the public key list")
    assert (config.num_layers, config.num_attention_heads, config.ffn_dim) == (30, 12, 8960)
    total = sum(int(np.prod(weight.shape)) for weight in build_weight_map(config))
    assert total == public["n_params"]


def test_peak_memory_is_independent_of_the_number_of_blocks(tmp_path: Path) -> None:
    path = write_release(tmp_path, layers=2)
    block = 1536 * 8960 * 2  # bytes of the largest array of one block
    tracemalloc.start()
    import_release(find_release(tmp_path), tmp_path / "out.safetensors")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * block  # as read and transposed, of this block and of the previous one
    assert path.stat().st_size > 8 * block


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_import_of_the_public_size_within_its_memory_limit(tmp_path: Path) -> None:
    """Needs 6 GB of disk and takes some minutes."""
    path = write_release(tmp_path)
    out = tmp_path / "out.safetensors"
    program = (
        "import argparse, resource, sys\n"
        "from thfm_ros.genception import import_weights\n"
        "parser = argparse.ArgumentParser(); import_weights.add_arguments(parser)\n"
        "import_weights.run(parser.parse_args(sys.argv[1:]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
    )
    command = [sys.executable, "-c", program, "genception", str(tmp_path), "--out", str(out)]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    peak, size = int(done.stdout.split()[-1]), path.stat().st_size
    print(f"transformer {size}, peak memory {peak} bytes")  # the figures of docs/full_size.md
    assert size > 2_847_000_000
    assert peak < 1.3 * size

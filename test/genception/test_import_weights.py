"""Public weights become a checkpoint: exactly, within memory, and whatever interrupts it."""

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
from thfm_ros.genception.resumable_safetensors import PartFile
from thfm_ros.genception.transformer import load_transformer
from thfm_ros.genception.wan_vae import CodecVariant, load_codec
from thfm_ros.genception.weight_map import check_shapes, weight_table
from thfm_ros.model.weights import read_card


@torch.no_grad()
def test_an_imported_checkpoint_is_the_release_to_the_last_bit(folder: Path) -> None:
    out = folder / "out.safetensors"
    import_release(find_release(folder), out)
    imported = load_checkpoint(out, dtype=torch.float32)
    direct = load_transformer(reference.TINY_BF16, reference.config())
    latents, prompt = reference.tensor("input/latents"), reference.tensor("input/prompt_embeds")
    for one, other in zip(
        imported.transformer(latents, prompt), direct(latents, prompt), strict=True
    ):
        assert torch.equal(one, other)
    codec = load_codec(folder / "vae", CodecVariant.AS_RELEASED)
    assert torch.equal(imported.codec.decode(latents), codec.decode(latents))
    assert torch.equal(imported.prompts[Task.DEPTH], prompt)
    assert torch.equal(imported.prompts[Task.SEGMENTATION], -prompt)


def test_bfloat16_stays_bfloat16_in_the_file(folder: Path) -> None:
    import_release(find_release(folder), folder / "out.safetensors")
    with safe_open(folder / "out.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert tensors["transformer.wan.blocks.2.ffn.net.0.proj.weight"].dtype == torch.bfloat16
    assert tensors["vae.decoder.conv_in.weight"].dtype == torch.float32
    assert not [name for name in tensors if "negative" in name]


def test_the_card_claims_what_the_release_can_do_and_no_more(folder: Path) -> None:
    out = folder / "out.safetensors"
    import_release(find_release(folder), out, codec=CodecVariant.STOCK)
    card = read_card(out)
    assert card.family == "genception"
    assert set(card.tasks) == {Task.DEPTH, Task.NORMALS, Task.SEGMENTATION}
    assert card.prompts["depth"] == "Input: RGB. Output: Depth."
    assert card.prompts["segmentation"] == "a man."
    assert card.joint_names == ()  # there are 33 points, but nobody has said which
    assert card.network["unnamed_tokens"]["tokens2"] == [33, 3]
    assert card.network["codec"] == "stock"
    (folder / "normals.npy").unlink()
    (folder / "ride_cap_a_man..npy").unlink()
    poorer = import_release(find_release(folder), folder / "poorer.safetensors")
    assert poorer.tasks == (Task.DEPTH,)


def test_an_expression_that_has_no_embeddings_cannot_be_segmented(folder: Path) -> None:
    with pytest.raises(GenceptionError, match=r"a dog.*a man.*thfm prompt"):
        import_release(find_release(folder), folder / "out.safetensors", person="a dog")


def test_without_a_vae_it_imports_but_says_that_it_cannot_run(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    out = folder / "out.safetensors"
    assert import_release(find_release(folder), out).tasks == ()
    with pytest.raises(GenceptionError, match="--vae"):
        load_checkpoint(out)


class Interruption(Exception):
    """Somebody pulls the plug."""


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_an_interrupted_import_goes_on_where_it_was(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    home = tmp_path_factory.mktemp("interrupted")
    reference.write_checkpoint_folder(home)
    release, whole, out = find_release(home), home / "whole.st", home / "out.st"
    import_release(release, whole)
    units: list[int] = []
    stops = sorted(data.draw(st.sets(st.integers(1, 100), max_size=3)))
    for stop in stops:
        seen: list[int] = []

        def until(size: int, seen: list[int] = seen, stop: int = stop) -> None:
            seen.append(size)
            if len(seen) == stop:
                raise Interruption

        with pytest.raises(Interruption):
            import_release(release, out, progress=until)
        assert not out.exists()
    import_release(release, out, progress=units.append)
    assert out.read_bytes() == whole.read_bytes()
    assert sum(units) <= out.stat().st_size
    assert not list(home.glob("*.part*"))


def test_what_is_done_is_not_done_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    original = PartFile.write

    def write(self: PartFile, name: str, data: bytes) -> None:
        written.append(name)
        if name == "transformer.group1.token" and written.count(name) == 1:
            raise Interruption
        original(self, name, data)

    monkeypatch.setattr(PartFile, "write", write)
    release, out = find_release(folder), folder / "out.st"
    with pytest.raises(Interruption):
        import_release(release, out)
    before = written.copy()
    import_release(release, out)
    again = set(before) & set(written[len(before) :])
    assert again == {"transformer.group1.token"}


def test_another_release_does_not_go_on_with_the_rest_of_this_one(folder: Path) -> None:
    out = folder / "out.st"

    def stop(size: int) -> None:
        raise Interruption

    with pytest.raises(Interruption):
        import_release(find_release(folder), out, progress=stop)
    changed = reference.weights(reference.TINY_BF16)
    changed["patch_embedding.kernel.value"] = changed["patch_embedding.kernel.value"][..., ::-1]
    reference.save_npz(folder / "genception_tiny_transformer.npz", changed)
    import_release(find_release(folder), out)
    fresh = folder / "fresh.st"
    import_release(find_release(folder), fresh)
    assert out.read_bytes() == fresh.read_bytes()


def test_importing_twice_does_nothing_and_importing_over_something_else_is_refused(
    folder: Path,
) -> None:
    out = folder / "out.st"
    import_release(find_release(folder), out)
    stamp = out.stat().st_mtime_ns
    import_release(find_release(folder), out)
    assert out.stat().st_mtime_ns == stamp
    with pytest.raises(GenceptionError, match="made of something else"):
        import_release(find_release(folder), out, codec=CodecVariant.STOCK)
    assert out.stat().st_mtime_ns == stamp


def test_a_damaged_download_is_named_and_a_whole_one_finishes_the_work(folder: Path) -> None:
    path, out = folder / "genception_tiny_transformer.npz", folder / "out.st"
    good = path.read_bytes()
    stored = reference.weights(reference.TINY_BF16)["blocks.ffn.proj_out.kernel.value"].tobytes()
    at = good.index(stored) + len(stored) // 2
    path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    with pytest.raises(GenceptionError, match=r"damaged in blocks\.ffn\.proj_out\.kernel"):
        import_release(find_release(folder), out)
    assert not out.exists()
    path.write_bytes(good)
    import_release(find_release(folder), out)
    assert read_card(out).name == "genception_tiny"


def test_a_release_with_a_missing_weight_writes_nothing(folder: Path) -> None:
    short = dict(reference.weights(reference.TINY_BF16))
    del short["token1_proj_out.bias.value"]
    reference.save_npz(folder / "genception_tiny_transformer.npz", short)
    with pytest.raises(GenceptionError, match=r"53 of 54.*token1_proj_out\.bias\.value is missing"):
        import_release(find_release(folder), folder / "out.st")
    assert not list(folder.glob("out.st*"))


def test_compressed_and_column_first_files_read_the_same(folder: Path) -> None:
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


def test_sizes_can_be_read_off_the_public_shapes() -> None:
    about = json.loads(KEYS.read_text())
    shapes = {key: tuple(shape) for key, shape in about["shapes"].items()}
    config = config_from_shapes(shapes)
    check_shapes(weight_table(config), shapes, "the public key list")
    assert (config.num_layers, config.num_attention_heads, config.ffn_dim) == (30, 12, 8960)
    total = sum(int(np.prod(weight.shape)) for weight in weight_table(config))
    assert total == about["n_params"]


def test_memory_is_a_few_blocks_whatever_the_file_has(tmp_path: Path) -> None:
    path = write_release(tmp_path, layers=2)
    block = 1536 * 8960 * 2  # bytes of the largest array of one block
    tracemalloc.start()
    import_release(find_release(tmp_path), tmp_path / "out.safetensors")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * block  # read and turned, of this block and of the one before
    assert path.stat().st_size > 8 * block


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_true_size_imports_within_its_memory(tmp_path: Path) -> None:
    """Needs 6 GB of disk and some minutes."""
    path = write_release(tmp_path)
    out = tmp_path / "out.safetensors"
    program = (
        "import argparse, resource, sys\n"
        "from thfm_ros.model import genception_import as it\n"
        "parser = argparse.ArgumentParser(); it.add_arguments(parser)\n"
        "it.run(parser.parse_args(sys.argv[1:]))\n"
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

# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Prompt embeddings: reading published files, and computing them with a tiny UMT5 encoder."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.genception import prompt_encoder
from thfm_ros.genception.prompt_files import PROMPT_LENGTH, PromptError, read_embeddings

transformers = pytest.importorskip("transformers", reason="needs thfm_ros[full]")

WORDS = [
    "<pad>",
    "</s>",
    "<unk>",
    "a",
    "person",
    "man",
    "input",
    "rgb",
    "output",
    "depth",
    ".",
    ":",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A UMT5 encoder of two layers and a tokenizer of twelve words, in the layout of Wan's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    folder: Path = tmp_path_factory.mktemp("umt5")
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder / "tokenizer")
    torch.manual_seed(0)
    config = transformers.UMT5Config(
        vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2
    )
    transformers.UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    return folder


def test_sentence_is_embedded_and_padded_with_zeros(encoder: Path) -> None:
    (rows,) = prompt_encoder.embed(["a person ."], str(encoder), length=12)
    assert rows.shape == (12, 16)
    assert rows.dtype == np.float32
    used = (rows != 0).any(axis=1)
    assert used.tolist() == [True] * 4 + [False] * 8  # three words and the end token


@torch.no_grad()
def test_embeddings_equal_those_of_the_padded_encoder_in_wan(encoder: Path) -> None:
    (rows,) = prompt_encoder.embed(["input : rgb . output : depth ."], str(encoder), length=20)
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder / "tokenizer")
    model = transformers.UMT5EncoderModel.from_pretrained(encoder / "text_encoder").eval()
    padded_input = tokenizer(
        ["input : rgb . output : depth ."],
        padding="max_length",
        max_length=20,
        return_tensors="pt",
    )
    out = model(padded_input.input_ids, attention_mask=padded_input.attention_mask)[0][0]
    count = int(padded_input.attention_mask.sum())
    np.testing.assert_allclose(rows[:count], out[:count].numpy(), rtol=1e-4, atol=1e-5)
    assert not rows[count:].any()


def test_whitespace_is_normalized(encoder: Path) -> None:
    one, other = prompt_encoder.embed(["a  person\n .", "a person ."], str(encoder), length=8)
    np.testing.assert_array_equal(one, other)


def test_too_long_sentence_is_rejected(encoder: Path) -> None:
    with pytest.raises(PromptError, match=r"has 4 tokens; at most 3"):
        prompt_encoder.embed(["a person ."], str(encoder), length=3)


def test_command_writes_a_file_that_the_import_reads(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    prompt_encoder.add_arguments(parser)
    out = tmp_path / "a person..npy"
    args = parser.parse_args(["a person.", "--out", str(out), "--encoder", str(encoder)])
    assert prompt_encoder.run(args) == 0
    assert f"4 rows of {PROMPT_LENGTH}, 16 wide" in capsys.readouterr().out
    assert read_embeddings(out, 16).shape == (226, 16)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_folder_without_an_encoder_is_rejected_with_its_source(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="Wan2"):
        prompt_encoder.embed(["a person."], str(tmp_path / "nothing"))
    with pytest.raises(PromptError, match="not contain a UMT5 encoder"):
        prompt_encoder.embed(["a person."], str(tmp_path))


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 9), batched=st.booleans(), kind=st.sampled_from(["f2", "f4", "f8"]))
def test_every_shape_and_float_type_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: int, batched: bool, kind: str
) -> None:
    path = tmp_path_factory.mktemp("prompts") / "x.npy"
    values = np.random.default_rng(rows).normal(size=(rows, 5)).astype(kind)
    np.save(path, values[None] if batched else values)
    actual = read_embeddings(path, 5)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, values, rtol=1e-6)


def test_bfloat16_as_void_is_read(tmp_path: Path) -> None:
    values = torch.randn(3, 5).bfloat16()
    np.save(tmp_path / "x.npy", values.view(torch.int16).numpy().view("V2"))
    np.testing.assert_array_equal(read_embeddings(tmp_path / "x.npy", 5), values.float().numpy())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((2, 3, 5), np.float32), r"\[2, 3, 5\]"),
        (np.zeros((3, 4), np.float32), r"\[3, 4\]"),
        (np.zeros((0, 5), np.float32), r"\[0, 5\]"),
        (np.zeros((3, 5), np.int32), "int32"),
        (np.full((3, 5), np.nan, np.float32), "NaN"),
    ],
)
def test_invalid_embeddings_are_rejected(
    tmp_path: Path, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], reason: str
) -> None:
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(PromptError, match=reason):
        read_embeddings(tmp_path / "x.npy", 5)


def test_file_that_is_not_an_array_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_text("<html>404</html>")
    with pytest.raises(PromptError, match="cannot be read"):
        read_embeddings(tmp_path / "x.npy", 5)

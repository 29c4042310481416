# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm prompt`: prompt embeddings of the full-size network, computed with its UMT5 encoder.

The encoder has 5.7 billion parameters and is not needed at run time: `thfm import` stores the
published embeddings, or those that this command makes, in the checkpoint.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from thfm_ros.genception.prompt_files import PROMPT_LENGTH, PromptError


def embed(
    sentences: list[str], encoder: str, length: int = PROMPT_LENGTH
) -> list[Float32[np.ndarray, "l d"]]:
    """Embed sentences with a UMT5 encoder, in float32, each padded with zero rows to ``length``.

    Args:
        sentences: the prompts; whitespace is normalized.
        encoder: a folder with the encoder and its tokenizer, either in the folder itself or in
            ``text_encoder/`` and ``tokenizer/``, as in the public Wan releases.
        length: rows. The public checkpoints were trained on 226.

    Raises:
        PromptError: a sentence has too many tokens, or the encoder cannot be loaded.
    """
    import torch

    tokenizer, model = _load_encoder(encoder)
    embeddings = []
    for sentence in sentences:
        tokens = tokenizer(
            " ".join(sentence.split()), return_tensors="pt", add_special_tokens=True
        ).input_ids
        count = tokens.shape[1]
        if count > length:
            raise PromptError(
                f"{sentence!r} has {count} tokens; at most {length} fit. Use a shorter sentence."
            )
        # Without padding tokens: with padding and a mask, the rows of the sentence are the same.
        with torch.no_grad():
            rows = model(input_ids=tokens, attention_mask=torch.ones_like(tokens))[0][0]
        padded = np.zeros((length, rows.shape[1]), np.float32)
        padded[:count] = rows.float().numpy()
        embeddings.append(padded)
    return embeddings


def _load_encoder(encoder: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoTokenizer, UMT5EncoderModel
    except ImportError as error:
        raise PromptError(
            f"Computing embeddings needs transformers ({error}). Install it: "
            "pip install '.[full]' in the source folder."
        ) from error
    folder = Path(encoder)
    if not folder.is_dir():
        raise PromptError(
            f"There is no folder {encoder}. Download text_encoder/ and tokenizer/ of "
            "Wan-AI/Wan2.1-T2V-1.3B-Diffusers (23 GB in float32) and give their parent folder."
        )
    folders = [folder / name for name in ("tokenizer", "text_encoder")]
    if not all(each.is_dir() for each in folders):
        folders = [folder, folder]
    try:
        tokenizer = AutoTokenizer.from_pretrained(folders[0], local_files_only=True)
        model = UMT5EncoderModel.from_pretrained(folders[1], local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise PromptError(
            f"{folder} does not contain a UMT5 encoder and its tokenizer: {error}"
        ) from error
    return tokenizer, model.eval()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm prompt`."""
    parser.add_argument("sentence", help='the prompt, such as "a person."')
    parser.add_argument("--out", type=Path, required=True, help="the .npy file to write")
    parser.add_argument(
        "--encoder", required=True, help="folder of the UMT5-XXL encoder and its tokenizer"
    )
    parser.add_argument(
        "--length",
        type=int,
        default=PROMPT_LENGTH,
        help="rows, including padding (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the embeddings of one sentence."""
    if args.out.suffix != ".npy":
        raise PromptError(f"--out is {args.out}; its name must end in .npy for `thfm import`.")
    (rows,) = embed([args.sentence], args.encoder, args.length)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = args.out.with_name(args.out.name + ".part")
    with unfinished.open("wb") as file:
        np.save(file, rows)
    unfinished.replace(args.out)
    used = int((rows != 0).any(axis=1).sum())
    sys.stdout.write(f"{args.out}: {used} rows of {args.length}, {rows.shape[1]} wide\n")
    return 0

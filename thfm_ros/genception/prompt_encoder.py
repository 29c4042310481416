"""Prompts as the full-size network reads them: rows of a UMT5 encoder, made once and kept.

The encoder has 5.7 billion parameters and is never loaded at run time. ``thfm prompt`` makes new
embeddings where a user has it; `thfm import` takes the published ones.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from thfm_ros.genception.prompt_files import LENGTH, PromptError


def embed(
    sentences: list[str], encoder: str, length: int = LENGTH
) -> list[Float32[np.ndarray, "l d"]]:
    """Embed sentences with a UMT5 encoder, in float32, each padded with zero rows to ``length``.

    Args:
        sentences: exactly as the network is to be asked; only spaces are tidied.
        encoder: a folder with the encoder and its tokenizer, either beside each other or as
            ``text_encoder/`` and ``tokenizer/``, as the public Wan releases have them.
        length: rows. The public checkpoints have seen 226 only.
    """
    import torch

    tokenizer, model = _load_encoder(encoder)
    found = []
    for sentence in sentences:
        tokens = tokenizer(
            " ".join(sentence.split()), return_tensors="pt", add_special_tokens=True
        ).input_ids
        count = tokens.shape[1]
        if count > length:
            raise PromptError(
                f"{sentence!r} has {count} tokens; at most {length} fit. Use a shorter sentence."
            )
        # The encoder sees the real tokens only: padding under a mask gives the same rows.
        with torch.no_grad():
            rows = model(input_ids=tokens, attention_mask=torch.ones_like(tokens))[0][0]
        padded = np.zeros((length, rows.shape[1]), np.float32)
        padded[:count] = rows.float().numpy()
        found.append(padded)
    return found


def _load_encoder(encoder: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoTokenizer, UMT5EncoderModel
    except ImportError as error:
        raise PromptError(
            f"Making embeddings needs transformers ({error}). Install it: "
            "pip install '.[full]' in the source folder."
        ) from error
    folder = Path(encoder)
    if not folder.is_dir():
        raise PromptError(
            f"There is no folder {encoder}. Download text_encoder/ and tokenizer/ of "
            "Wan-AI/Wan2.1-T2V-1.3B-Diffusers (23 GB in float32) and give the folder they are in."
        )
    parts = [folder / name for name in ("tokenizer", "text_encoder")]
    home = parts if all(part.is_dir() for part in parts) else [folder, folder]
    try:
        tokenizer = AutoTokenizer.from_pretrained(home[0], local_files_only=True)
        model = UMT5EncoderModel.from_pretrained(home[1], local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise PromptError(f"{folder} holds no UMT5 encoder and tokenizer: {error}") from error
    return tokenizer, model.eval()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm prompt`."""
    parser.add_argument("sentence", help='what to ask for, such as "a person."')
    parser.add_argument("--out", type=Path, required=True, help="the .npy file to write")
    parser.add_argument(
        "--encoder", required=True, help="folder of the UMT5-XXL encoder and its tokenizer"
    )
    parser.add_argument(
        "--length", type=int, default=LENGTH, help=f"rows, zeros included (default {LENGTH})"
    )


def run(args: argparse.Namespace) -> int:
    """Write the embeddings of one sentence."""
    if args.out.suffix != ".npy":
        raise PromptError(f"--out is {args.out}; give it the ending .npy, by which it is found.")
    (rows,) = embed([args.sentence], args.encoder, args.length)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = args.out.with_name(args.out.name + ".part")
    with unfinished.open("wb") as file:
        np.save(file, rows)
    unfinished.replace(args.out)
    used = int((rows != 0).any(axis=1).sum())
    sys.stdout.write(f"{args.out}: {used} rows of {args.length}, {rows.shape[1]} wide\n")
    return 0

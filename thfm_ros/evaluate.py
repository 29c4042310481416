"""`thfm evaluate`: how good a checkpoint is on held-out synthetic people, beside its baselines."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table: what is measured, and the numbers it is to be held against."""

    title: str
    key: str
    decimals: int
    to_pass: str
    goal: str
    baseline: str | None = None  # key of the baseline's figure
    baseline_means: str = ""


LINES: tuple[Line, ...] = (
    Line("mask IoU", "mask_iou", 3, "0.86", "0.92", "mask_iou_box", "the true box, filled"),
    Line("part mIoU, 16 parts", "part_miou", 3, "0.45", "0.60", "part_miou_torso", "all torso"),
    Line(
        "PCK@0.1 of the box", "pck10", 3, "0.78", "0.90", "pck10_mean", "mean pose in the true box"
    ),
    Line("PCK@0.05", "pck05", 3, "", "", "pck05_mean", "mean pose in the true box"),
    *(
        Line(f"PCK@0.1, {limb}", f"pck10_{limb}", 3, to_pass, "", f"pck10_mean_{limb}", "same")
        for limb, to_pass in {
            "head": "",
            "shoulders": "",
            "elbows": "",
            "wrists": "0.60",
            "hips": "",
            "knees": "",
            "ankles": "0.65",
            "feet": "",
        }.items()
    ),
    Line("left and right exchanged, share of people", "swapped", 3, "", ""),
    Line("MPJPE, mm", "mpjpe_mm", 0, "", "", "mpjpe_mm_mean_pose", "mean pose"),
    Line("PA-MPJPE, mm", "pa_mpjpe_mm", 0, "110", "70", "pa_mpjpe_mm_mean_pose", "mean pose"),
    Line("error along the axis, mm", "z_error_mm", 0, "", ""),
    Line("normals, degrees", "normals_deg", 1, "24", "18", "normals_deg_constant", "mean normal"),
    Line("depth relief, cm RMSE", "relief_cm", 1, "8", "5", "relief_cm_constant", "flat person"),
    Line("dense pose, share of pixels within 1/8 turn and 0.1", "surface_near", 3, "", ""),
    Line("ln of the picture's width in metres, mean error", "log_width_error", 3, "", ""),
)


def table(scores: dict[str, float], lines: Sequence[Line] = LINES) -> str:
    """The figures as Markdown."""
    rows = [
        "| figure | this checkpoint | baseline | to be passed | goal |",
        "|---|---|---|---|---|",
    ]
    for line in lines:
        baseline = ""
        if line.baseline is not None:
            baseline = f"{scores[line.baseline]:.{line.decimals}f} ({line.baseline_means})"
        value = f"{scores[line.key]:.{line.decimals}f}"
        rows.append(f"| {line.title} | {value} | {baseline} | {line.to_pass} | {line.goal} |")
    return "\n".join(rows)


def write_table(page: Path, text: str) -> None:
    """Put the table between the page's markers.

    Raises:
        ValueError: the page has no markers.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no lines '{BEGIN}' and '{END}' to write the table between")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument("--data", type=Path, required=True, help="folder whose val/ is held out")
    parser.add_argument("--checkpoint", default="nano", help="'nano' (shipped) or a file")
    parser.add_argument("--crops", type=int, default=1000, help="how many held-out crops at most")
    parser.add_argument("--page", type=Path, help="write the table into this Markdown page too")


def run(args: argparse.Namespace) -> int:
    """Print the table; 0."""
    import torch

    from thfm_ros.model.weights import load_network, shipped_checkpoint
    from thfm_ros.training.batches import held_out
    from thfm_ros.training.scoring import baselines, score

    torch.set_num_threads(1)
    path = shipped_checkpoint() if args.checkpoint == "nano" else Path(args.checkpoint)
    network, card = load_network(path)
    batches = held_out(args.data, card.crop_size[0], args.crops)
    scores = {**score(network, batches), **baselines(batches)}
    people = sum(len(batch.instances) for batch in batches)
    text = f"{people} held-out crops of {card.crop_size[0]} px.\n\n{table(scores)}"
    print(text)
    if args.page is not None:
        write_table(args.page, text)
    return 0


def main() -> int:
    """Run as `python -m thfm_ros.evaluate`."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())

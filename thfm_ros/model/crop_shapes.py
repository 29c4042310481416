# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The shapes of person crops: square ones, and tall ones for people who stand.

A tall crop has a little fewer pixels than a square one, and shows a standing person larger. It is
the middle of a square crop with the side of its height: positions in the image, the axes of the
view and the metric length of the longer side are those of that square.
"""


def tall_crop_size(square: tuple[int, int]) -> tuple[int, int] | None:
    """Width and height of the tall crops of a network whose square ones have this size.

    None: it has none, because its images are not square, or their side is no multiple of 64.
    """
    width, height = square
    if width != height or width % 64:
        return None
    return 3 * width // 4, 5 * width // 4


def crop_sizes(square: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Widths and heights of all crops that such a network takes; ``square`` is the first."""
    tall = tall_crop_size(square)
    return (square,) if tall is None else (square, tall)

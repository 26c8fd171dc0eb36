"""Draw one frame of a side-by-side video: two pictures, a header band, and the curve of their distance.

Every outcome is written in words as well as in colour. Axis letters: H, W rows and columns of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PANE = 384
"""Pixels of a side of one picture."""
GAP = 16
"""Pixels between the two pictures."""
HEADER = 72
"""Pixels of the band above the pictures."""
FOOTER = 120
"""Pixels of the band below the pictures."""
WIDTH, HEIGHT = 2 * PANE + GAP, HEADER + PANE + FOOTER
"""Size of a frame; both are multiples of 16, which H.264 encodes without padding."""

PAPER, INK, SOFT, GRID = "#14171c", "#f2f4f7", "#a3adb8", "#39414b"
CURVE, MARK = "#7db7ff", "#ffb454"
OUTCOME_COLOURS = {"success": "#1f8a4c", "failure": "#c23b3b"}


@dataclass(frozen=True)
class Side:
    """One of the two episodes."""

    name: str
    """The method."""
    outcome: str
    """"success" or "failure"."""
    steps: int
    """Control steps that the episode took."""


@dataclass(frozen=True)
class Story:
    """What stays the same in all frames of one video."""

    instruction: str
    """The task in words."""
    left: Side
    """Full precision."""
    right: Side
    """Quantized."""
    distance_mm: np.ndarray
    """float64[T]: distance of the two end effectors after each control step that both episodes took."""
    divergence_step: int | None
    """First control step beyond the threshold, or None if there was none."""
    threshold_mm: float | None
    """The threshold, or None if the record has none."""


def draw_frame(story: Story, left: np.ndarray, right: np.ndarray, step: int) -> np.ndarray:
    """uint8[HEIGHT, WIDTH, 3]: both pictures (uint8[H, W, 3], the last one of an episode that is over) after `step`."""
    canvas = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(canvas)
    _text(draw, (12, 8), story.instruction, 20, INK, WIDTH - 170)
    _text(draw, (WIDTH - 12, 10), f"step {step}", 18, SOFT, 150, "ra")
    for x, side, picture in ((0, story.left, left), (PANE + GAP, story.right, right)):
        over = step >= side.steps
        _text(draw, (x + 12, 42), side.name, 19, INK, PANE - 24)
        canvas.paste(_fit(picture), (x, HEADER))
        if over:
            _ribbon(draw, x, f"{side.outcome} at step {side.steps}", OUTCOME_COLOURS[side.outcome])
    _curve(draw, story, step)
    return np.asarray(canvas)


def _ribbon(draw: ImageDraw.ImageDraw, x: int, words: str, colour: str) -> None:
    bottom = HEADER + PANE
    draw.rectangle((x, bottom - 36, x + PANE - 1, bottom - 1), fill=colour)
    draw.rectangle((x, HEADER, x + PANE - 1, bottom - 1), outline=colour, width=4)
    _text(draw, (x + PANE // 2, bottom - 18), words, 20, "white", PANE - 16, "mm")


def _curve(draw: ImageDraw.ImageDraw, story: Story, step: int) -> None:
    """The distance so far: the number on the left, the curve on a fixed scale on the right."""
    top = HEADER + PANE
    known = story.distance_mm[:step]
    _text(draw, (12, top + 12), "end effectors apart", 16, SOFT, 200)
    _text(draw, (12, top + 34), f"{known[-1]:.1f} mm" if known.size else "–", 28, CURVE, 200)
    if step > story.distance_mm.size and known.size:
        _text(draw, (12, top + 68), f"while both moved (to step {known.size})", 13, SOFT, 215)
    box = (250, top + 14, WIDTH - 16, top + FOOTER - 24)
    last = max(story.left.steps, story.right.steps, 1)
    peak = float(np.max(story.distance_mm, initial=story.threshold_mm or 0.0)) or 1.0

    def place(at: float, mm: float) -> tuple[float, float]:
        return box[0] + (box[2] - box[0]) * at / last, box[3] - (box[3] - box[1]) * mm / peak

    draw.line((box[0], box[3], box[2], box[3]), fill=GRID, width=2)
    _text(draw, (box[0] - 6, box[1]), f"{peak:.0f} mm", 12, SOFT, 60, "rm")
    _text(draw, (box[2], box[3] + 4), f"{last} steps", 12, SOFT, 80, "ra")
    if story.threshold_mm is not None:
        y = place(0, story.threshold_mm)[1]
        for x in range(box[0], box[2], 10):
            draw.line((x, y, x + 4, y), fill=SOFT)
    if story.divergence_step is not None and step > story.divergence_step:
        x = place(story.divergence_step + 1, 0)[0]
        draw.line((x, box[1], x, box[3]), fill=MARK, width=2)
        words = f"first divergence: step {story.divergence_step}"
        _text(draw, (min(x, box[2] - 240), box[3] + 4), words, 12, MARK, 170)
    points = [place(i + 1, mm) for i, mm in enumerate(known)]
    if len(points) > 1:
        draw.line(points, fill=CURVE, width=2, joint="curve")
    if points:
        x, y = points[-1]
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=CURVE)


def _fit(picture: np.ndarray) -> Image.Image:
    """The picture in a PANE x PANE square, undistorted, with bars if it is not square."""
    image = Image.fromarray(picture)
    scale = PANE / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    pane = Image.new("RGB", (PANE, PANE), "black")
    pane.paste(image, ((PANE - image.width) // 2, (PANE - image.height) // 2))
    return pane


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The font inside Pillow, so that a video looks the same on a machine without any fonts.
    return ImageFont.load_default(size)


def _text(draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, size: int, colour: str, room: int,
          anchor: str = "la") -> None:
    """Write `words` in at most `room` pixels: smaller first, then shortened."""
    while size > 13 and draw.textlength(words, _font(size)) > room:
        size -= 1
    while len(words) > 1 and draw.textlength(words, _font(size)) > room:
        words = words.removesuffix("...")[:-1].rstrip() + "..."
    draw.text(at, words, fill=colour, font=_font(size), anchor=anchor)

"""What the two cameras see of every task of a suite, for a person to look at.

    python -m bench.suite_sheet libero_object docs/libero_object.png
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from textwrap import wrap

import imageio.v3 as imageio
import numpy as np
from PIL import Image, ImageDraw

from bench.golden import scene_picture
from envs.registry import SUITES, find_task

TILE_PX, INSET_PX, CAPTION_PX, COLUMNS = 256, 96, 30, 5
LETTERS = 42
"""Letters of an instruction in a line."""


def tile(suite: str, index: int) -> Image.Image:
    """The first official init state of a task, settled: the room, the wrist camera in its corner, the instruction."""
    module, task = find_task(suite, index)
    env = module.open_task(suite, task.index, TILE_PX, SUITES[suite].assets[0], False, SUITES[suite].stepping[0])
    try:
        images = scene_picture(env).images
    finally:
        env.close()
    page = Image.new("RGB", (TILE_PX, TILE_PX + CAPTION_PX), (13, 17, 23))
    page.paste(Image.fromarray(images["agentview"]), (0, CAPTION_PX))
    inset = Image.fromarray(images["wrist"]).resize((INSET_PX, INSET_PX), Image.Resampling.LANCZOS)
    page.paste(inset, (TILE_PX - INSET_PX, TILE_PX + CAPTION_PX - INSET_PX))
    ImageDraw.Draw(page).text((4, 2), "\n".join(wrap(task.instruction, LETTERS)), fill="white")
    return page


def sheet(suite: str) -> np.ndarray:
    """uint8[H, W, 3]: every task of a suite."""
    tiles = [tile(suite, task.index) for task in import_module(SUITES[suite].module).tasks(suite)]
    page = Image.new("RGB", (COLUMNS * TILE_PX, -(-len(tiles) // COLUMNS) * (TILE_PX + CAPTION_PX)))
    for k, picture in enumerate(tiles):
        page.paste(picture, (k % COLUMNS * TILE_PX, k // COLUMNS * (TILE_PX + CAPTION_PX)))
    return np.asarray(page)


def main(argv: list[str] | None = None) -> int:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", choices=list(SUITES), help="suite to draw")
    parser.add_argument("out", type=Path, help="PNG file to write")
    wanted = parser.parse_args(argv)
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(wanted.out, sheet(wanted.suite))
    return 0


if __name__ == "__main__":
    sys.exit(main())

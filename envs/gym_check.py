"""Run gymnasium's own checker over every registered id: `python -m envs.gym_check [PART_OF_ID ...]`.

The first time a scene is compiled takes seconds, so all of them take some minutes. Warnings of the checker count as
failures. The last line on stdout is one JSON object.
"""

from __future__ import annotations

import json
import sys
import warnings

import gymnasium
from gymnasium.utils.env_checker import check_env

from envs.gym import IDS

IMAGE_SIZE = 16
"""Side of the pictures: small, for the checker looks at none of them."""


def complaint(name: str) -> str | None:
    """What the checker has against an id; None if it is content."""
    env = gymnasium.make(name, render_mode="rgb_array", image_size=IMAGE_SIZE, disable_env_checker=True).unwrapped
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", module="gymnasium")
            check_env(env)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        env.close()
    return None


def main(parts: list[str]) -> int:
    """Check the ids that contain one of `parts`, all for none; returns the exit code."""
    ids = [name for name in IDS if not parts or any(part in name for part in parts)]
    found = {}
    for number, name in enumerate(ids, start=1):
        reason = complaint(name)
        print(f"{number}/{len(ids)} {name}: {reason or 'clean'}", flush=True)
        if reason is not None:
            found[name] = reason
    print(json.dumps({"ids": len(ids), "clean": len(ids) - len(found), "complaints": found}))
    return 1 if found or not ids else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The renderer is chosen before any test imports MuJoCo."""

from __future__ import annotations

import pytest

from envs.libero.process import hear_warnings, prepare_to_draw


@pytest.fixture(scope="session", autouse=True)
def chosen_renderer() -> None:
    """MuJoCo settles on a backend when it is imported."""
    prepare_to_draw()
    hear_warnings()

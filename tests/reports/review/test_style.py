"""Contrast of the review page's colours, by the formula of WCAG 2.2 (success criteria 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = (files("reports.review") / "web" / "review.css").read_text()
COLOURS = {name: pair for name, *pair in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", STYLE)}
WORDS = ["ink", "soft", "accent", "good", "bad", "odd", *(f"series-{i}" for i in range(6))]


def luminance(colour: str) -> float:
    channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "band"])
@pytest.mark.parametrize("name", WORDS)
def test_words_and_curves_stand_out_from_their_ground(name, ground, scheme):
    assert contrast(COLOURS[name][scheme], COLOURS[ground][scheme]) >= 4.5


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "good", "bad", "odd"])
def test_words_stand_out_in_the_chosen_row(name, scheme):
    assert contrast(COLOURS[name][scheme], COLOURS["chosen"][scheme]) >= 4.5


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_edges_of_controls_can_be_seen(scheme):
    assert contrast(COLOURS["edge"][scheme], COLOURS["paper"][scheme]) >= 3

"""Where LeRobot's checkpoints for LIBERO lie; each is one checkpoint for all four suites. No torch is imported here."""

from __future__ import annotations

from policies.openvla.published import Family

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
"""Suites that the published checkpoints were trained on together."""

PI0 = Family("pi0", dict.fromkeys(SUITES, "lerobot/pi0_libero_finetuned"))
PI05 = Family("pi05", dict.fromkeys(SUITES, "lerobot/pi05_libero_finetuned"))

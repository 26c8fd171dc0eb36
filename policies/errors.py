"""What a policy refuses on purpose.

PolicyError
+-- CheckpointError       a folder that is not the checkpoint that it should be
+-- CheckpointMissing     a checkpoint that is not on this machine
+-- CalibrationMissing    there is nothing to calibrate on
"""

from __future__ import annotations


class PolicyError(ValueError):
    """Base of every error that a policy raises on purpose."""


class CheckpointError(PolicyError):
    """A folder that is not the checkpoint that it should be."""


class CheckpointMissing(PolicyError):
    """A checkpoint that is not on this machine and could not be downloaded."""


class CalibrationMissing(PolicyError):
    """There is nothing to calibrate on."""

"""`pocket-oft`: the embedded vision-language-action policy with parallel decoding and a regression head."""

from __future__ import annotations

from policies.pocket.checkpoint import weights_folder
from policies.pocket.policy import PocketPolicy

WEIGHTS = weights_folder("oft")
"""Folder of the shipped checkpoint."""


class PocketOFT(PocketPolicy):
    """See `policies.base.QuantizablePolicy`; the network answers at once."""

    head = "oft"

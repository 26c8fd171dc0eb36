"""`pocket-oft`: the embedded vision-language-action policy with parallel decoding and a regression head."""

from __future__ import annotations

from policies.pocket.policy import PocketPolicy


class PocketOFT(PocketPolicy):
    """See `policies.base.QuantizablePolicy`; the network answers at once."""

    head = "oft"

"""Large networks in parts: layers that are worked on at once, so that what is known of them fits beside the network.

What QVLA knows of a layer while it measures takes more than its weight does: codes at every width, and before that
second moments of its inputs. Parts that must be rewritten together, because their calls lie between each other's, form
a unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from quantizers.blocks import in_turn, stages
from quantizers.calibration import CalibrationSet
from quantizers.layout import ModelLayout
from quantizers.ledger import held_bytes

WHOLE_BYTES = 25 << 20
"""A network of whose layers no more than so much is known is one part."""
LEAST_BYTES = 10 << 20
"""So much may be known at once of any other, so that not every layer is a part and takes its own passes."""
SHARE = 0.05
"""Of a larger network, so much of its own size."""

Part = tuple[str, ...]
"""Names of layers in the order of the layout."""


@dataclass(frozen=True)
class Parts:
    """Layers in forward order."""

    units: tuple[tuple[Part, ...], ...]
    """Parts by unit."""

    def all(self) -> Iterator[Part]:
        """The parts in forward order."""
        for unit in self.units:
            yield from unit

    def several(self) -> bool:
        """Whether there is more than one part."""
        return len(list(self.all())) > 1


def in_parts(
    module: nn.Module,
    layout: ModelLayout,
    linears: Mapping[str, nn.Linear],
    calibration: CalibrationSet,
    widths: int,
) -> Parts:
    """The layers of `linears` in parts of which the codes at so many widths fit the limit; one part if all are few."""
    limit = limit_bytes(module)
    size = {name: widths * layer.weight.numel() for name, layer in linears.items()}
    if sum(size.values()) <= max(WHOLE_BYTES, limit):
        return Parts(((tuple(linears),),))
    blocks = stages(layout, list(linears))
    units: list[list[Part]] = []
    for group in in_turn(module, layout, list(blocks), calibration):
        unit = cut([name for block in group for name in blocks[block]], size, limit)
        if units and len(units[-1]) == len(unit) == 1 and sum(map(size.get, units[-1][0] + unit[0])) <= limit:
            units[-1] = [units[-1][0] + unit[0]]
        else:
            units.append(unit)
    return Parts(tuple(map(tuple, units)))


def limit_bytes(module: nn.Module) -> float:
    """What may be known at once of the layers of `module`."""
    return max(LEAST_BYTES, SHARE * held_bytes(module))


def cut(names: Iterable[str], size: Mapping[str, int], limit: float) -> list[Part]:
    """The names in order, in parts whose sizes add up to no more than the limit, or that are a single name."""
    parts: list[Part] = []
    for name in names:
        if parts and sum(map(size.get, parts[-1])) + size[name] <= limit:
            parts[-1] += (name,)
        else:
            parts.append((name,))
    return parts

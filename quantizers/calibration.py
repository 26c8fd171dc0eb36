"""What a method may look at before it quantizes: batches of observations, with a digest that says which ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class CalibrationSet:
    """Batches for `ModelLayout.forward`. Build one with `CalibrationSet.of`, which computes the digest."""

    batches: tuple[Mapping[str, torch.Tensor], ...]
    """Each maps names to tensors of one batch; the first axis is the sample."""
    digest: str
    """sha256 over names, shapes, dtypes and bytes of all tensors, in order."""
    episodes: tuple[str, ...]
    """The episodes that the samples come from, to show that none of them is evaluated on."""

    def __post_init__(self) -> None:
        if not self.batches:
            raise ValueError("the calibration set is empty; record at least one batch of observations")
        for index, batch in enumerate(self.batches):
            if not batch:
                raise ValueError(f"batch {index} of the calibration set has no tensors")
            samples = {name: len(tensor) if tensor.ndim else 0 for name, tensor in batch.items()}
            for name, tensor in batch.items():
                if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                    raise ValueError(f"{name!r} in batch {index} of the calibration set holds NaN or infinite values")
            if len(set(samples.values())) > 1 or 0 in samples.values():
                raise ValueError(f"batch {index} of the calibration set disagrees on the number of samples: {samples}")
        actual = _digest(self.batches)
        if self.digest != actual:
            raise ValueError(f"calibration digest {self.digest} does not match the batches, which have {actual}")

    def samples(self) -> int:
        """Observations in all batches."""
        return sum(len(next(iter(batch.values()))) for batch in self.batches)

    def in_batches(self, size: int | None) -> Iterator[Mapping[str, torch.Tensor]]:
        """The samples in order, in batches of at most `size`; None leaves the batches as they are."""
        for batch in self.batches:
            count = len(next(iter(batch.values())))
            for start in range(0, count, size or count):
                yield {name: tensor[start : start + (size or count)] for name, tensor in batch.items()}

    @classmethod
    def of(cls, batches: Iterable[Mapping[str, torch.Tensor]], episodes: Iterable[str] = ()) -> CalibrationSet:
        """The set of these batches. Raises ValueError if there are none."""
        batches = tuple(batches)
        return cls(batches, _digest(batches), tuple(episodes))


def _digest(batches: tuple[Mapping[str, torch.Tensor], ...]) -> str:
    sha = hashlib.sha256()
    for batch in batches:
        for name in sorted(batch):
            tensor = batch[name].detach().cpu().contiguous()
            sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
            sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        sha.update(b"|")
    return sha.hexdigest()

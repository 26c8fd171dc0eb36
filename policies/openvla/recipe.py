"""Everything around the network: pictures, words, units. Read from a checkpoint, or from what a saved variant keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from policies.errors import CheckpointError
from policies.openvla.checkpoint import CONFIG, read_json
from policies.openvla.pictures import Normalization
from policies.openvla.statistics import Bounds, of_suite
from policies.openvla.words import Words

ACTION_DIM, STATE_DIM = 7, 8
STATISTICS = "dataset_statistics.json"


@dataclass(frozen=True)
class Recipe:
    """How observations become inputs and answers become actions."""

    pictures: Normalization
    """Pixels to inputs."""
    words: Words
    """The tokenizer."""
    actions: Bounds
    """Units of the actions."""
    state: Bounds | None
    """Units of proprioception, None for a network that takes none."""

    @classmethod
    def read(cls, folder: Path, suite: str | None, with_state: bool) -> Recipe:
        """From a checkpoint's folder. Raises `CheckpointError` for what is missing, the suite's statistics included."""
        statistics, where = read_json(folder, CONFIG).get("norm_stats") or {}, folder / CONFIG
        if (folder / STATISTICS).is_file():
            statistics, where = read_json(folder, STATISTICS), folder / STATISTICS
        if not (folder / "tokenizer.json").is_file():
            raise CheckpointError(f"{folder} has no tokenizer.json; a checkpoint without it cannot read instructions")
        try:
            own = of_suite(statistics, suite, str(where))
            return cls(Normalization.of(read_json(folder, "preprocessor_config.json")),
                       Words((folder / "tokenizer.json").read_bytes()),
                       Bounds.of(own.get("action"), ACTION_DIM, "actions"),
                       Bounds.of(own.get("proprio"), STATE_DIM, "proprioception") if with_state else None)
        except CheckpointError:
            raise
        except ValueError as error:
            raise CheckpointError(f"{folder}: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` gives an equal recipe."""
        return {"pictures": asdict(self.pictures), "words": self.words.to_json(), "actions": asdict(self.actions),
                "state": None if self.state is None else asdict(self.state)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_json` wrote. Raises TypeError or ValueError for other data."""
        if set(data) != {"pictures", "words", "actions", "state"}:
            raise ValueError(f"a recipe has pictures, words, actions and state, got {sorted(data)}")
        pictures = {name: value if name == "size" else tuple(map(tuple, value))
                    for name, value in data["pictures"].items()}
        return cls(Normalization(**pictures), Words.from_json(data["words"]), _bounds(data["actions"]),
                   None if data["state"] is None else _bounds(data["state"]))


def _bounds(data: Mapping[str, Any]) -> Bounds:
    return Bounds(**{name: tuple(values) for name, values in data.items()})

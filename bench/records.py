"""The only product of a run: a header, and one line per finished episode.

A line is appended and synced before the next episode begins, so a run can be killed at any point and goes on where it
stopped. The store is a set of keys: what is left to do is `spec.episodes()` minus `store.keys()`.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.errors import StoreCorrupt, StoreLocked, StoreMismatch, UsageError
from bench.folder import RunFolder, full, write_all, write_bytes, write_json
from bench.spec import BenchSpec, EpisodeKey

SCHEMA_VERSION = 1
"""The layout of a run folder; readers refuse another."""

Outcome = Literal["success", "failure", "error"]
"""`failure`: the goal was not reached within the cap. `error`: the episode could not be judged."""


@dataclass(frozen=True)
class EpisodeRecord:
    """What one episode gave."""

    key: EpisodeKey
    """Which episode."""
    task_name: str
    """Identifier of the task."""
    instruction: str
    """The task in words."""
    outcome: Outcome
    """How it ended."""
    reason: str | None
    """Why it is an error, None otherwise."""
    steps: int
    """Control steps taken, settling excluded."""
    latencies_ms: tuple[float, ...]
    """Wall time of each decision of the policy, in order."""
    wall_s: float
    """Wall time of the episode with reset and settling."""
    peak_rss_bytes: int | None
    """Greatest resident size of the process during the episode, None where the system does not tell."""
    trace: str | None
    """Path of the trace below the run folder, None if the episode ended in an error."""
    finished: str
    """ISO time, UTC."""
    protocol: str
    """Name of the profile that it was played by."""
    stepping: str
    """How its physics were computed; see `envs.types.Environment`."""
    drift: Mapping[str, Any] | None = None
    """How far it is from full precision (`bench.drift`), None for the baseline and for errors."""
    latency: str = "paused"
    """Name of the simulated time that decisions took, see `bench.latency`."""
    realtime: Mapping[str, Any] | None = None
    """`latency_ms` of each decision in simulated time, `waited_steps` that passed meanwhile, `held_steps` of them
    without a plan, `deadline_misses`: decisions longer than one control step. None if the world waited."""
    peak_device_bytes: int | None = None
    """Greatest memory that PyTorch had allocated on the accelerator during the episode, None without one."""
    recording_s: Mapping[str, float] | None = None
    """Recorder -> wall seconds that it took of `wall_s` while the episode ran; `saving`: what was written after it."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EpisodeRecord:
        """The record that `to_json` wrote; raises `TypeError` for unknown or missing fields."""
        return cls(**{**data, "key": EpisodeKey(**data["key"]), "latencies_ms": tuple(data["latencies_ms"])})


@dataclass(frozen=True)
class RunHeader:
    """Under which conditions the run was made."""

    spec: BenchSpec
    """What is measured."""
    assets: Mapping[str, Any]
    """Kind and digest of the scenes' assets."""
    protocol: Mapping[str, Any]
    """The protocol profile, in full, with `deviations`: what keeps the run from being the published evaluation."""
    machine: Mapping[str, Any]
    """Where it ran."""
    packages: Mapping[str, str]
    """Versions that results depend on."""
    code: Mapping[str, str]
    """Package of this project -> digest of its sources; a run does not go on with other ones."""
    commit: str | None
    """Commit of this project, None if it was not run from a checkout."""
    dirty: bool | None
    """Whether tracked files were changed since that commit, None without a commit."""
    renderer: str | None
    """What draws the images, None if nothing does."""
    args: tuple[str, ...]
    """The command line."""
    created: str
    """ISO time, UTC."""

    def to_json(self) -> dict[str, Any]:
        """The content of `header.json`."""
        variants = [{"variant_id": v.variant_id, "policy": v.policy, "method": v.method, "baseline": v.baseline}
                    for v in self.spec.variants]
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "spec"}
        return {"schema_version": SCHEMA_VERSION, "spec": self.spec.to_json(), "variants": variants,
                "episodes_per_variant": len(self.spec.tasks) * self.spec.trials, **fields}


class RunStore:
    """A run folder opened for writing by this process alone. Use it as a context manager.

    Raises `StoreLocked` if another process has it open, `StoreMismatch` if it holds another run, `StoreCorrupt` if a
    line other than the last cannot be read. A last line that was cut off is dropped: that episode runs again.
    """

    def __init__(self, root: Path, header: RunHeader) -> None:
        self.folder = RunFolder(root)
        self.header = header
        root.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder)
        try:
            self._write_header()
            self._records = _read_repaired(self.folder.episodes)
            self._file = open(self.folder.episodes, "ab", buffering=0)
        except BaseException:
            self._lock.close()
            raise

    def keys(self) -> set[EpisodeKey]:
        """Keys of the episodes that ended in success or failure; errors are not among them, so they are retried."""
        return {key for key, record in self._records.items() if record.outcome != "error"}

    def records(self) -> list[EpisodeRecord]:
        """The last record of each key, in the order in which keys first appeared."""
        return list(self._records.values())

    def append(self, record: EpisodeRecord) -> None:
        """Add a finished episode; on return it is on the disk.

        Raises `ValueError` if the key is finished already, `StoreFull` if it cannot be written; then nothing is.
        """
        if record.key in self.keys():
            raise ValueError(f"{record.key} is finished already")
        line = (json.dumps(record.to_json(), allow_nan=False) + "\n").encode()
        before = os.fstat(self._file.fileno()).st_size
        try:
            write_all(self._file.fileno(), line)
        except OSError as error:
            # What was written of the line must not become the beginning of the next one.
            os.ftruncate(self._file.fileno(), before)
            raise full(self.folder.episodes, error) from error
        self._records[record.key] = record

    def note_nodes(self, processors: Mapping[str, str]) -> None:
        """Keep in the header, with this start of the run, which machines play and what processors they have."""
        header = json.loads(self.folder.header.read_text())
        header["starts"][-1]["nodes"] = dict(processors)
        write_json(self.folder.header, header)

    def close(self) -> None:
        """Let go of the folder."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write_header(self) -> None:
        """Write the header of a new run; for an old one check that it may go on, and note the new start."""
        new = self.header.to_json()
        start = {name: new[name] for name in ("created", "args", "commit", "dirty")}
        if not self.folder.header.exists():
            write_json(self.folder.header, {**new, "starts": [start]})
            return
        old = json.loads(self.folder.header.read_text())
        conflicts = self._conflicts(old, new)
        if conflicts:
            raise StoreMismatch(f"{self.folder.root} holds another run; name a new one (RUN=...) or delete it. "
                                "It differs in " + "; ".join(conflicts))
        kept = {name: old[name] for name in new if name not in ("spec", "variants", "episodes_per_variant")}
        write_json(self.folder.header, {**new, **kept, "starts": [*old["starts"], start]})

    def _conflicts(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
        if old.get("schema_version") != SCHEMA_VERSION:
            return [f"schema_version: {old.get('schema_version')!r} in the folder, {SCHEMA_VERSION} now"]
        try:
            found = self.header.spec.conflicts(BenchSpec.from_json(old["spec"]))
        except UsageError as error:
            return [f"spec: it was written by another release ({error})"]
        new = json.loads(json.dumps(new))
        # Equal assets are equal wherever they lie.
        old, new = ({**header, "assets": {**header["assets"], "folder": None}} for header in (old, new))
        for name in ("assets", "protocol", "packages", "code", "renderer"):
            if old.get(name) != new[name]:
                found.append(f"{name}: {_difference(old.get(name), new[name])}")
        return found


def _difference(old: Any, new: Any) -> str:
    """The entries in which two headers' mappings differ."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return f"{old!r} in the folder, {new!r} now"
    names = [n for n in {**old, **new} if old.get(n) != new.get(n)]
    return ", ".join(f"{n} {old.get(n)!r} in the folder, {new.get(n)!r} now" for n in names)


def _lock(folder: RunFolder) -> Any:
    """The open lock file; the system frees it when the process ends, however it ends."""
    file = open(folder.lock, "a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise StoreLocked(f"another process is writing to {folder.root}; wait for it, or name another run "
                          "(RUN=...)") from error
    return file


def _read_repaired(path: Path) -> dict[EpisodeKey, EpisodeRecord]:
    """The last record of each key; cuts off an unfinished last line."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[:content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        write_bytes(path, whole)
    records: dict[EpisodeKey, EpisodeRecord] = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            record = EpisodeRecord.from_json(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise StoreCorrupt(f"{path} line {number} is not an episode record ({error}); remove the line, and that "
                               "episode runs again") from error
        records[record.key] = record
    return records

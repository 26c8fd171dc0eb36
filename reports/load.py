"""Read a run folder from disk, and nothing else.

A report is a function of files: `header.json`, `episodes.jsonl`, `audits/`, `timings/`. This module turns them into
one `RunData` and refuses what it cannot understand. It knows no other package of the project, so a run made on a
machine with a simulator and a GPU can be read on one that has neither.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

SCHEMA_VERSION = 1
"""The one layout of a run folder that this module reads."""

KEY_FIELDS = ("variant_id", "suite", "task", "init_state", "seed")
"""What names an episode; all but `variant_id` is the same for the two episodes of a pair."""

PAIR_FIELDS = KEY_FIELDS[1:]
"""What two episodes share that are compared with each other."""

OUTCOMES = ("success", "failure", "error")
"""How an episode can end. An error is a crash, never a failure of the policy."""

RECORD_FIELDS = (
    "task_name", "instruction", "outcome", "reason", "steps", "latencies_ms", "wall_s", "drift", "peak_rss_bytes",
    "trace", "finished",
)
"""What a record holds besides its key."""

LATER_FIELDS = ("realtime", "peak_device_bytes", "recording_s")
"""What older records lack; None there."""

HEADER_FIELDS = ("spec", "variants", "assets", "protocol", "machine", "packages", "commit", "dirty", "created")
"""What a header must state, besides its schema version."""

PAUSED = "paused"
"""Name of the latency of a world that waits for the policy."""


class RunFolderError(ValueError):
    """Base of every error about a folder that cannot be read as a run.

    RunFolderError
    +-- NotARunFolder         the folder or one of its required files is missing
    +-- UnsupportedSchema     the run was written in another layout
    +-- CorruptRun            a file is there and is not what it should be; file and line are named
        +-- MixedProtocols    an episode was played by another protocol than the header's
        +-- MixedStepping     an episode's physics were computed in another way than the header says
        +-- MixedLatencies    decisions of an episode took another simulated time than the header's
    """


class NotARunFolder(RunFolderError):
    """The folder or one of its required files is missing."""


class UnsupportedSchema(RunFolderError):
    """The run was written in another layout."""


class CorruptRun(RunFolderError):
    """A file of the run is there and is not what it should be."""


class MixedProtocols(CorruptRun):
    """An episode was played by another protocol than the header's: success counts of the two cannot be added."""


class MixedStepping(CorruptRun):
    """An episode's physics were computed in another way than the header says: such episodes are not paired."""


class MixedLatencies(CorruptRun):
    """Decisions of an episode took another simulated time than the header's: the world was not the same."""


@dataclass(frozen=True)
class Variant:
    """A policy and a quantization, as the header lists them."""

    variant_id: str
    """Identifier that keys, audits, traces and frames use."""
    policy: str
    """The policy as the user named it."""
    method: str
    """The quantization as the user typed it; "fp" is full precision."""
    baseline: bool
    """True for the full-precision variant that the others of the same policy are compared with."""

    @property
    def served(self) -> bool:
        """True for a policy that runs on a server, at whatever precision the server has it."""
        return self.policy.startswith("remote:")

    @property
    def repeat(self) -> bool:
        """True for full precision played a second time, which shows the noise of the comparison itself."""
        return self.method == "aa"


@dataclass(frozen=True, eq=False)
class RunData:
    """One run, read from disk. Equal only to itself, so that what is computed of it can be remembered."""

    header: Mapping[str, Any]
    """The content of `header.json`."""
    variants: tuple[Variant, ...]
    """In report order: policies as the header lists them, the baseline of each first."""
    episodes: pd.DataFrame
    """A row per finished episode (success or failure): the key, `RECORD_FIELDS`, `LATER_FIELDS`, `success` (bool),
    `line`."""
    errors: pd.DataFrame
    """Same columns: the last error of each key that has no finished episode. Never part of any n."""
    audits: Mapping[str, Mapping[str, Any]]
    """variant_id -> the content of its audit; a variant without an audit is not in it."""
    timings: Mapping[str, Mapping[str, Any]] | None
    """Device -> the content of `timings/DEVICE.json`, or None if nothing was timed."""
    path: Path
    """The run folder."""

    def baseline_of(self, variant: Variant) -> Variant | None:
        """The full-precision variant of the same policy, or None if the run has none."""
        return next((v for v in self.variants if v.baseline and v.policy == variant.policy), None)

    def episodes_of(self, variant: Variant) -> pd.DataFrame:
        """The finished episodes of one variant. They are shared: do not change them."""
        return self._by_variant.get(variant.variant_id, self.episodes.iloc[:0])

    @cached_property
    def _by_variant(self) -> dict[str, pd.DataFrame]:
        # Asked for some twenty times by one report, of up to 100 000 rows.
        return dict(list(self.episodes.groupby("variant_id", sort=False)))


def load_run(path: str | Path) -> RunData:
    """Read the run folder at `path`.

    Raises `NotARunFolder`, `UnsupportedSchema` or `CorruptRun`; each names the file, and the line where there is one.
    """
    folder = Path(path)
    if not (folder / "header.json").is_file():
        raise NotARunFolder(f"{folder} is not a run folder: it has no header.json; name a folder that a run wrote")
    header = _read_header(folder / "header.json")
    variants = _read_variants(header, folder / "header.json")
    with _without_collector():
        episodes, errors = _read_episodes(folder / "episodes.jsonl", {v.variant_id for v in variants},
                                          header["protocol"].get("name"), header["spec"].get("stepping"),
                                          latency_name(header))
    audits = {v.variant_id: _read_json(folder / "audits" / f"{v.variant_id}.json") for v in variants
              if (folder / "audits" / f"{v.variant_id}.json").is_file()}
    timings = {file.stem: _read_json(file) for file in sorted((folder / "timings").glob("*.json"))}
    return RunData(header, variants, episodes, errors, audits, timings or None, folder)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Records have no cycles: looking for them among millions of numbers took as long as reading them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was:
            gc.enable()


def latency_name(header: Mapping[str, Any]) -> str:
    """The simulated time of decisions; "paused" if the world waited, as it did before there was a choice."""
    return header["spec"].get("latency", {}).get("name", PAUSED)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CorruptRun(f"{file} line {error.lineno} is not JSON: {error.msg}") from error
    if not isinstance(content, dict):
        raise CorruptRun(f"{file} holds a {type(content).__name__}, legal is a JSON object")
    return content


def _read_header(file: Path) -> dict[str, Any]:
    header = _read_json(file)
    version = header.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UnsupportedSchema(f"{file} has schema_version {version!r}, legal is {SCHEMA_VERSION}; "
                                "report it with the release that wrote it")
    missing = [field for field in HEADER_FIELDS if field not in header]
    if missing:
        raise CorruptRun(f"{file} lacks {', '.join(missing)}")
    return header


def _read_variants(header: Mapping[str, Any], file: Path) -> tuple[Variant, ...]:
    fields = tuple(Variant.__annotations__)
    for entry in header["variants"]:
        missing = [field for field in fields if field not in entry]
        if missing:
            raise CorruptRun(f"{file}: variant {entry!r} lacks {', '.join(missing)}")
    variants = [Variant(**{field: entry[field] for field in fields}) for entry in header["variants"]]
    policies = list(dict.fromkeys(v.policy for v in variants))
    return tuple(sorted(variants, key=lambda v: (policies.index(v.policy), not v.baseline)))


def _read_episodes(file: Path, variant_ids: set[str], protocol: str | None, stepping: str | None,
                   latency: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The finished records and the outstanding errors; a run that was cut off before its first episode has neither."""
    finished: dict[tuple, dict] = {}
    errors: dict[tuple, dict] = {}
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    # Not splitlines(): an instruction may hold a Unicode line separator, which does not end a JSON line.
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        record = _read_record(file, number, line, variant_ids)
        _refuse_mixture(f"{file} line {number}", record, protocol, stepping, latency)
        key = tuple(record[field] for field in KEY_FIELDS)
        if record["outcome"] == "error":
            errors[key] = record
        elif key in finished:
            raise CorruptRun(f"{file} line {number}: {dict(zip(KEY_FIELDS, key, strict=True))} finished before, "
                             f"on line {finished[key]['line']}; remove the record that is not wanted")
        else:
            finished[key] = record
    outstanding = [record for key, record in errors.items() if key not in finished]
    columns = [*KEY_FIELDS, *RECORD_FIELDS, *LATER_FIELDS, "success", "line"]
    return (pd.DataFrame(list(finished.values()), columns=columns, dtype=object),
            pd.DataFrame(outstanding, columns=columns, dtype=object))


def _read_record(file: Path, number: int, line: str, variant_ids: set[str]) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise CorruptRun(f"{file} line {number} is not JSON ({error.msg}, column {error.colno}); if it is the last "
                         "line, a write was cut off: run the same command again to resume") from error
    key = record.get("key") if isinstance(record, dict) else None
    if not isinstance(key, dict):
        raise CorruptRun(f"{file} line {number} is not an episode record: it has no key")
    missing = [field for field in KEY_FIELDS if field not in key]
    missing += [field for field in RECORD_FIELDS if field not in record]
    if missing:
        raise CorruptRun(f"{file} line {number} lacks {', '.join(missing)}")
    if record["outcome"] not in OUTCOMES:
        raise CorruptRun(f"{file} line {number} has outcome {record['outcome']!r}, legal are {', '.join(OUTCOMES)}")
    if key["variant_id"] not in variant_ids:
        raise CorruptRun(f"{file} line {number} names variant {key['variant_id']!r}, "
                         f"the header has {', '.join(sorted(variant_ids))}")
    row = {field: key[field] for field in KEY_FIELDS} | {field: record[field] for field in RECORD_FIELDS}
    row |= {stamp: record[stamp] for stamp in ("protocol", "stepping", "latency") if stamp in record}
    row |= {field: record.get(field) for field in LATER_FIELDS}
    return row | {"success": record["outcome"] == "success", "line": number}


def _refuse_mixture(where: str, record: Mapping[str, Any], protocol: str | None, stepping: str | None,
                    latency: str) -> None:
    # A record without a stamp is older than the stamp; its run could have nothing but what the header has.
    if record.get("protocol", protocol) != protocol:
        raise MixedProtocols(f"{where} was played by protocol {record['protocol']!r}, the run by {protocol!r}; report "
                             "each protocol from a run of its own")
    if record.get("stepping", stepping) != stepping:
        raise MixedStepping(f"{where} was played with stepping {record['stepping']!r}, the run with {stepping!r}; "
                            "report each from a run of its own")
    if record.get("latency", PAUSED) != latency:
        raise MixedLatencies(f"{where} was played with latency {record.get('latency', PAUSED)!r}, the run with "
                             f"{latency!r}; report each latency from a run of its own")

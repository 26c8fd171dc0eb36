"""Everything that the harness refuses on purpose.

BenchError
+-- UsageError         a name, number or combination that the user gave is not legal (exit code 2)
+-- WorkerError        jobs that ran in processes of their own ended in an error
+-- StoreError
    +-- StoreLocked    another process is writing to the run folder
    +-- StoreMismatch  the run folder was made by another spec, other assets or other packages
    +-- StoreCorrupt   a line in the middle of the records cannot be read
    +-- StoreFull      the system did not write what it was given
"""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Iterable, Mapping
from typing import TypeVar

Entry = TypeVar("Entry")


class BenchError(Exception):
    """Base of every error that the harness raises on purpose."""


class UsageError(BenchError):
    """A name, number or combination that is not legal."""


class WorkerError(BenchError):
    """Jobs that ran in processes of their own ended in an error."""


class StoreError(BenchError):
    """A run folder that cannot be written to."""


class StoreLocked(StoreError):
    """Another process is writing to the run folder."""


class StoreMismatch(StoreError):
    """The run folder was made by another spec, other assets or other packages."""


class StoreCorrupt(StoreError):
    """A line in the middle of the records cannot be read."""


class StoreFull(StoreError):
    """The system did not write what it was given: no space, a quota, a failing disk."""


def sendable(error: Exception) -> Exception:
    """The error itself, or its words if it cannot be sent to another process."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return BenchError(f"in another process: {type(error).__name__}: {error}")


def lookup(kind: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """The entry called `name`, or a `UsageError` with the legal names and the near match."""
    if name in table:
        return table[name]
    raise UsageError(unknown(kind, name, table))


def unknown(kind: str, name: str, legal: Iterable[str]) -> str:
    """The sentence that answers an unknown name."""
    names = list(legal)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r};{hint} legal: {', '.join(names)}"

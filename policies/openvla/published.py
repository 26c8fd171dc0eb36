"""Where the checkpoints of a name lie: published ones by suite, local ones by folder. No torch is imported here.

What stands behind the colon of a policy's name is `SUITE`, `SUITE@REVISION`, or a folder; in full form a folder has its
suite before it, `SUITE=FOLDER`, because a checkpoint may have statistics of several.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from policies.errors import CheckpointMissing

CHECKPOINTS = Path("checkpoints")
"""Below it a repository ORG/NAME may lie as a folder, before the hub's own cache is asked."""
PATTERNS = ("*.json", "*.safetensors", "*.pt", "*.npz")
"""Files of a repository that are needed; its code is not."""
ALIASES = {"libero_long": "libero_10"}
"""Other names of suites."""


@dataclass(frozen=True)
class Place:
    """What stands behind a colon, taken apart."""

    suite: str | None
    """Suite whose statistics give the units; None if only the checkpoint can say."""
    revision: str | None
    """Commit, tag or branch of the repository; None for its newest."""
    folder: Path | None
    """Local folder, None for the published repository of the suite."""

    @classmethod
    def of(cls, argument: str) -> Place:
        """From the full form."""
        name, equals, folder = argument.partition("=")
        if not equals and not name:
            return cls(None, None, None)
        suite, _, revision = name.partition("@")
        return cls(suite or None, revision or None, Path(folder) if equals else None)

    def full(self) -> str:
        """The full form."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.suite or ''}{revision}" + (f"={self.folder}" if self.folder else "")


@dataclass(frozen=True)
class Family:
    """Checkpoints of one kind."""

    name: str
    """Name of the policy in the registry."""
    repositories: Mapping[str, str]
    """Suite -> repository on the hub."""
    folder_per_suite: bool = False
    """Whether a repository holds a folder for each suite."""

    def resolve(self, typed: str, suite: str | None = None) -> str:
        """The full form of what was typed, for a run of `suite`. Raises ValueError with what is legal."""
        legal = f"legal are {', '.join([*self.repositories, *ALIASES])}, or the folder of a checkpoint"
        name, equals, folder = typed.partition("=")
        name, at, revision = name.partition("@")
        named = ALIASES.get(name, name)
        if equals and not folder or at and not revision:
            raise ValueError(f"{typed!r} is not whole: SUITE, SUITE@REVISION, FOLDER or SUITE=FOLDER; {legal}")
        if not typed:
            if suite not in self.repositories:
                raise ValueError(f"it has many checkpoints; name one behind a colon; {legal}")
            return suite
        if equals or named in self.repositories:
            if named and suite not in (None, named):
                raise ValueError(f"this is the checkpoint for {named}, the run is of {suite}")
            return Place(named or suite, revision or None, _existing(folder) if equals else None).full()
        if Path(typed).is_dir():
            return Place(suite, None, Path(typed)).full()
        near = difflib.get_close_matches(name, [*self.repositories, *ALIASES], n=1, cutoff=0.5)
        hint = f" did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{typed!r} is neither a suite with a published checkpoint nor a folder;{hint} {legal}")

    def folder(self, argument: str) -> Path:
        """Absolute path of the checkpoint. Raises `CheckpointMissing` with what to download and where to put it."""
        place = Place.of(argument)
        if place.folder is not None:
            return _at_revision(_existing(str(place.folder)), place.revision).absolute()
        repository = self.repositories[place.suite]
        local = CHECKPOINTS / repository
        found = _at_revision(local, place.revision) if local.is_dir() else self._from_hub(repository, place)
        return (self._of_suite(found, place.suite) if self.folder_per_suite else found).absolute()

    def _from_hub(self, repository: str, place: Place) -> Path:
        return downloaded(repository, place.revision, PATTERNS, f"name a folder: {self.name}:{place.suite}=FOLDER")

    def _of_suite(self, folder: Path, suite: str) -> Path:
        """The one folder in it that has a checkpoint and the suite's name, or `folder` if it is a checkpoint itself."""
        if (folder / "config.json").is_file():
            return folder
        short = suite.removeprefix("libero_")
        found = [path.parent for path in sorted(folder.rglob("config.json"))
                 if short in path.parent.name.replace("-", "_").split("_")]
        if len(found) != 1:
            raise CheckpointMissing(f"{folder} has {len(found)} checkpoints of {suite}; name its folder: "
                                    f"{self.name}:{suite}=FOLDER")
        return found[0]


def downloaded(repository: str, revision: str | None, patterns: tuple[str, ...], otherwise: str) -> Path:
    """A repository's files of these patterns in the hub's cache, downloaded if need be.

    Raises `CheckpointMissing` with what to download and where to put it, and what can be done `otherwise`.
    """
    from huggingface_hub import snapshot_download

    try:
        try:
            return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns,
                                          local_files_only=True))
        except FileNotFoundError:
            return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except Exception as error:  # whatever the network or the hub says, the user needs the same advice
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        at = f" --revision {revision}" if revision else ""
        raise CheckpointMissing(
            f"the checkpoint {repository}{f' at revision {revision}' if revision else ''} is not on this machine and "
            f"could not be downloaded ({reason}); where there is a network, run `hf download {repository}{at} "
            f"--local-dir {CHECKPOINTS / repository}` and put that folder here, or {otherwise}") from error


def recorded_revision(folder: Path) -> str | None:
    """The commit that a downloaded folder is of, None if nothing says so."""
    if folder.absolute().parent.name == "snapshots":
        return folder.name
    note = folder / ".cache" / "huggingface" / "download" / "config.json.metadata"
    return note.read_text().splitlines()[0].strip() if note.is_file() else None


def _existing(folder: str) -> Path:
    if not Path(folder).is_dir():
        raise CheckpointMissing(f"there is no folder {folder}; name one that holds a checkpoint")
    return Path(folder)


def _at_revision(folder: Path, revision: str | None) -> Path:
    """`folder`, after checking that it is of this commit, whole or by its first digits."""
    recorded = recorded_revision(folder)
    if revision is not None and not (recorded or "").startswith(revision):
        raise CheckpointMissing(f"{folder} is of revision {recorded or '(not recorded)'}, wanted is {revision}; "
                                f"download that one, or leave out @{revision}")
    return folder


def _by_suite(pattern: str) -> Mapping[str, str]:
    return {f"libero_{suite}": pattern.format(suite) for suite in ("spatial", "object", "goal", "10")}


OPENVLA = Family("openvla", _by_suite("openvla/openvla-7b-finetuned-libero-{}"))
OFT = Family("openvla-oft", _by_suite("moojink/openvla-7b-oft-finetuned-libero-{}"))
UNIVLA = Family("univla", _by_suite("qwbu/univla-7b-224-sft-libero"), folder_per_suite=True)

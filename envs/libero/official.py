"""LIBERO's own asset tree: a folder that the user has, or the download that LIBERO itself would make.

Nothing in it is changed, replaced or reduced. The files' SHA-256 are listed once, in the format of `sha256sum`, and
compared at every later run, so a tree that has changed is noticed before the first episode. Nothing is written under
HOME or into a folder that the user named.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envs.types import AssetsError

VARIABLE = "LIBERO_ASSETS"
"""Environment variable that names the user's own folder; it also reaches child processes."""

REPOSITORY = "lerobot/libero-assets"
"""Data set on the Hugging Face hub that hf-libero downloads its assets from."""

_OBJECTS = {
    "articulated_objects": "flat_stove microwave white_cabinet wooden_cabinet",
    "stable_hope_objects": "alphabet_soup bbq_sauce butter chocolate_pudding cookies cream_cheese ketchup milk "
                           "new_salad_dressing orange_juice salad_dressing tomato_sauce",
    "stable_scanned_objects": "akita_black_bowl basket chefmate_8_frypan glazed_rim_porcelain_ramekin plate white_bowl",
    "turbosquid_objects": "black_book desk_caddy moka_pot porcelain_mug red_coffee_mug white_yellow_mug wine_bottle "
                          "wine_rack wooden_tray wooden_two_layer_shelf yellow_book",
}
"""Folder -> objects of the 130 tasks; an articulated object lies flat in its folder, the others in one of their own."""

REQUIRED: tuple[str, ...] = (
    *(f"{folder}/{name}.xml" if folder == "articulated_objects" else f"{folder}/{name}/{name}.xml"
      for folder, names in _OBJECTS.items() for name in names.split()),
    *(f"scenes/libero_{name}_base_style.xml"
      for name in ("floor", "kitchen_tabletop", "living_room_tabletop", "study", "tabletop")),
    *(f"textures/{name}.png" for name in ("gray_ceramic_tile", "light-gray-floor-tile", "light-gray-plaster",
                                          "seamless_wood_planks_floor", "yellow_linen_wall_texture")),
)
"""What the 130 tasks open by name; what these files refer to is required as well."""

LAYOUT = ("LIBERO's asset folder has scenes/*.xml, textures/*.png, articulated_objects/NAME.xml, and "
          "{stable_hope,stable_scanned,turbosquid}_objects/NAME/NAME.xml with their meshes")

_SHOWN = 5
"""Files that an error names at most."""


@dataclass(frozen=True)
class Download:
    """What a download gave."""

    revision: str
    """Commit of the repository."""
    files: Mapping[str, int]
    """Path -> bytes, as the repository lists them."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Path -> "sha256:HEX" or "git:HEX", as the repository lists them."""


def given() -> Path | None:
    """The folder that the user named, None if none was. The one place that reads `LIBERO_ASSETS`."""
    value = os.environ.get(VARIABLE)
    return Path(value).expanduser().resolve() if value else None


def from_hub(draft: Path) -> Download:
    """Download `REPOSITORY` into `draft`. Raises `AssetsError` that names both ways out."""
    caches = {"HF_HOME": str(draft.parent / "hub"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    child = subprocess.run([sys.executable, "-P", str(Path(__file__).with_name("hub.py")), REPOSITORY, str(draft)],
                           stdout=subprocess.PIPE, text=True, env=caches | os.environ)
    lines = child.stdout.strip().splitlines()
    answer = json.loads(lines[-1]) if lines else {"error": f"the download ended with code {child.returncode}"}
    if "error" in answer:
        raise AssetsError(
            f"LIBERO's assets cannot be downloaded from huggingface.co/datasets/{REPOSITORY} ({answer['error']}). "
            "Either connect to the internet and give the same command again (it goes on where it stopped), or copy the "
            f"folder from another machine and name it: {VARIABLE}=DIR, or --official-assets DIR. {LAYOUT}")
    return Download(answer["revision"], answer["files"], answer["digests"])


def ensure(root: Path, download: Callable[[Path], Download] = from_hub) -> Path:
    """The absolute folder of the complete tree: the user's, or `root`/official, downloaded first if need be.

    Raises `AssetsError` if a file is missing, or if the download is not possible or not whole.
    """
    folder = given()
    if folder is None:
        folder = root.resolve() / "official"
        if not folder.is_dir():
            _download(folder, download)
    elif not folder.is_dir():
        raise AssetsError(f"{VARIABLE} names {folder}, and there is no such folder. {_way_out(folder)}")
    missing = missing_files(folder)
    if missing:
        raise AssetsError(f"the official assets in {folder} lack {len(missing)} files, first "
                          f"{', '.join(missing[:_SHOWN])}. {LAYOUT}. {_way_out(folder)}")
    return folder


def stamp(root: Path, download: Callable[[Path], Download] = from_hub) -> dict[str, Any]:
    """`{"kind", "digest", "files", "bytes", "folder"}` of the tree; every file is read.

    Raises `AssetsError` if the tree is not the one of the first run; see `verify`.
    """
    folder = ensure(root, download)
    sums = verify(folder, _list_of(folder, root))
    digest = hashlib.sha256("".join(f"{path} {sha}\n" for path, sha in sums.items()).encode()).hexdigest()
    return {"kind": "official", "digest": f"sha256:{digest}", "files": len(sums),
            "bytes": sum((folder / path).stat().st_size for path in sums), "folder": str(folder)}


def bundles(folder: Path, root: Path) -> Path:
    """Where scenes compiled from the tree in `folder` are kept; another folder as soon as one of its files changes."""
    files = [(path, (folder / path).stat()) for path in _files(folder)]
    state = "".join(f"{path} {stat.st_size} {stat.st_mtime_ns}\n" for path, stat in files)
    return root.resolve() / "official-bundles" / hashlib.sha256(f"{folder}\n{state}".encode()).hexdigest()[:12]


def missing_files(folder: Path) -> list[str]:
    """What the 130 tasks need and `folder` lacks, as paths below it."""
    missing = [path for path in REQUIRED if not (folder / path).is_file()]
    for path in (path for path in REQUIRED if path.endswith(".xml") and path not in missing):
        try:
            elements = ElementTree.parse(folder / path).iter()
        except ElementTree.ParseError as error:
            raise AssetsError(f"{folder / path} is not an XML file ({error}); copy it again") from error
        named = [os.path.normpath(Path(path).parent / e.get("file")) for e in elements if e.get("file")]
        missing += [name for name in dict.fromkeys(named) if not (folder / name).is_file() and name not in missing]
    return missing


def verify(folder: Path, listing: Path) -> dict[str, str]:
    """Path -> hex SHA-256 of every file of the tree, in order; written to `listing` the first time, compared later.

    Raises `AssetsError` naming what has changed, appeared or gone.
    """
    sums = {path: _sha256(folder / path) for path in _files(folder)}
    if not listing.is_file():
        _write(listing, f"# {folder}; check it there with: sha256sum -c\n", sums)
        return sums
    lines = [line for line in listing.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    listed = {path: sha for sha, _, path in (line.partition("  ") for line in lines)}
    differing = [path for path in {**listed, **sums} if listed.get(path) != sums.get(path)]
    if differing:
        states = [f"{path} ({'new' if path not in listed else 'gone' if path not in sums else 'changed'})"
                  for path in differing[:_SHOWN]]
        raise AssetsError(f"{len(differing)} files in {folder} are not those of the list {listing}: "
                          f"{', '.join(states)}. Restore them, or delete the list to accept the folder as it is now")
    return sums


def _download(target: Path, download: Callable[[Path], Download]) -> None:
    # Under another name until it is whole, so that an interrupted download is never taken for a tree.
    draft = target.with_name("official.part")
    draft.mkdir(parents=True, exist_ok=True)
    try:
        got = download(draft)
    finally:
        if not any(draft.iterdir()):
            draft.rmdir()
    wrong = [path for path, size in got.files.items()
             if not (draft / path).is_file() or (draft / path).stat().st_size != size]
    if wrong or not got.files:
        raise AssetsError(f"the download into {draft} is not whole: {len(wrong)} of {len(got.files)} files are missing "
                          f"or of another size, first {', '.join(wrong[:_SHOWN])}; give the same command again")
    altered = [path for path, digest in got.digests.items() if not _matches(draft / path, digest)]
    for path in altered:
        (draft / path).unlink()  # or the next attempt would take it for downloaded
    if altered:
        raise AssetsError(f"{len(altered)} downloaded files do not have the checksum that the repository lists, first "
                          f"{', '.join(altered[:_SHOWN])}; they were deleted: give the same command again")
    shutil.rmtree(draft / ".cache", ignore_errors=True)
    _write(target.with_suffix(".sha256"), f"# {REPOSITORY} at revision {got.revision}\n",
           {path: _sha256(draft / path) for path in _files(draft)})
    os.rename(draft, target)


def _files(folder: Path) -> Iterable[str]:
    """Every file of the tree, sorted; hidden ones and the repository's own notes are no assets."""
    paths = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return [p.as_posix() for p in paths if not any(part.startswith(".") for part in p.parts)
            and not (len(p.parts) == 1 and p.suffix == ".md")]


def _matches(path: Path, digest: str) -> bool:
    kind, _, wanted = digest.partition(":")
    if kind == "sha256":
        return _sha256(path) == wanted
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == wanted


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _list_of(folder: Path, root: Path) -> Path:
    """Where the checksums are kept: below `root`, for a folder of the user may be read-only."""
    if folder == root.resolve() / "official":
        return folder.with_suffix(".sha256")
    return root.resolve() / f"official-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}.sha256"


def _write(listing: Path, comment: str, sums: Mapping[str, str]) -> None:
    listing.parent.mkdir(parents=True, exist_ok=True)
    draft = listing.with_name(f".{listing.name}.{os.getpid()}")
    draft.write_text(comment + "".join(f"{sha}  {path}\n" for path, sha in sums.items()), encoding="utf-8")
    draft.replace(listing)


def _way_out(folder: Path) -> str:
    for below in ("assets", "libero/assets", "libero/libero/assets"):
        if (folder / below / "scenes").is_dir():
            return f"Did you mean {folder / below}?"
    if given() is None:
        return f"Delete {folder} to download it again, or name another folder with {VARIABLE}=DIR"
    return f"Name another folder with {VARIABLE}=DIR, or leave it unset to download LIBERO's own"

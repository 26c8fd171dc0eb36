"""Where training begins: at another head's backbone, at an earlier run, or with a backbone whose states are known."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from tqdm import tqdm

from policies.pocket.frames import Frames
from policies.pocket.model import Backbone
from policies.pocket.precision import autocast

EMBEDDING = "language.embed_tokens.weight"
SHARED = ("vision.", "projector.", "state_projector.", "language.", "slots", "state_mean", "state_scale")
"""Beginnings of the names of what belongs to the backbone."""


def start_from_(module: Backbone, auxiliary: nn.Module, path: Path) -> bool:
    """Copy what fits from a run's `last.pt` or from a checkpoint folder; whether that was all of the network.

    From another head only the backbone is taken, and of the embedding the rows of the words. Raises ValueError if the
    backbone has other sizes.
    """
    if path.is_dir():
        tensors = load_file(path / "model.safetensors")
    else:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        tensors = saved["average"]
        auxiliary.load_state_dict(saved["auxiliary"])
    own = module.state_dict()
    whole = own.keys() == tensors.keys() and own[EMBEDDING].shape == tensors[EMBEDDING].shape
    if not whole:
        tensors = {name: tensor for name, tensor in tensors.items() if name.startswith(SHARED)}
        rows = min(len(tensors[EMBEDDING]), len(own[EMBEDDING]))
        tensors[EMBEDDING] = torch.cat([tensors[EMBEDDING][:rows].float(), own[EMBEDDING][rows:]])
    for name, tensor in tensors.items():
        if own[name].shape != tensor.shape:
            raise ValueError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the network needs {tuple(own[name].shape)}")
    module.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=whole)
    return whole


def known_context(module: Backbone, frames: Frames, device: torch.device, path: Path, threads: int = 1,
                  batch: int = 64) -> np.ndarray:
    """float16[N, K, D]: `module.context` of every sample, without augmentation, from `path` if it is there already.

    Batches are shared among `threads`. The file's name gets a digest of backbone and samples, so that a stale one is
    never read.
    """
    sha = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if name.startswith(SHARED):
            sha.update(tensor.cpu().numpy().tobytes())
    for folder in frames.folders:
        sha.update(str(folder).encode())
    sha.update(frames.states.numpy().tobytes())
    path = path.with_name(f"{path.stem}-{sha.hexdigest()[:12]}.npy")
    if not path.is_file():
        _write_context(module, frames, device, path, threads, batch)
    return np.load(path, mmap_mode="r")


def _write_context(module: Backbone, frames: Frames, device: torch.device, path: Path, threads: int,
                   batch: int) -> None:
    def states(rows: torch.Tensor) -> np.ndarray:
        inputs = {name: tensor.to(device) for name, tensor in frames.batch(rows).inputs().items()}
        with torch.no_grad(), autocast(device):
            return module.context(**inputs).half().cpu().numpy()

    beginning, *others = torch.arange(len(frames)).split(batch)
    first = states(beginning)
    partial = path.with_suffix(".partial")
    out = np.lib.format.open_memmap(partial, "w+", np.float16, (len(frames), *first.shape[1:]))
    out[:len(first)] = first

    def fill(rows: torch.Tensor) -> None:
        out[rows.numpy()] = states(rows)

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for _ in tqdm(pool.map(fill, others), total=len(others), desc="states of the backbone", unit="batch"):
            pass
    out.flush()
    partial.replace(path)

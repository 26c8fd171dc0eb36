"""Train `pocket-oft` on collected episodes: `python -m policies.pocket.train --data data/pocket --out data/pocket/run`.

L1 on the expert's chunk (OpenVLA-OFT, Kim et al. 2025), with one head that exists in training only: from the same
features it names where the object and the container are relative to the hand and whether the object is held, which
teaches a small network from few episodes what to look at. Resumes from its last checkpoint; logs one CSV row a period.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from policies.pocket.model import ACTION_DIM, CHUNK, PocketConfig, PocketOFTNet
from policies.pocket.oft import save_weights
from policies.pocket.words import encode

TRUTH_SCALE = 0.1
"""Metres that count as one in the auxiliary loss."""


@dataclass(frozen=True)
class Recipe:
    """What a run is made of; together with the data it fixes the weights."""

    samples: int
    """Training samples to draw in all."""
    batch: int = 64
    """Samples a step."""
    lr: float = 6e-4
    """Peak of the learning rate; warm-up over 300 steps, cosine to zero."""
    weight_decay: float = 0.01
    """AdamW's."""
    auxiliary: float = 0.3
    """Weight of the auxiliary loss."""
    state_noise: float = 0.02
    """Noise on the normalized proprioception."""
    seed: int = 0
    """Of weights, order and augmentation."""


class Samples:
    """All decisions of a data folder in memory."""

    def __init__(self, folder: Path, instructions: dict[str, str]):
        images, states, chunks, truth, texts = [], [], [], [], []
        files = sorted(folder.glob("round*/*/*.npz"))
        files = [file for file in files if not file.name.endswith(".partial.npz")]
        if not files:
            raise FileNotFoundError(f"{folder} holds no round*/TASK/*.npz; `python -m bench.collect` makes them")
        for file in files:
            with np.load(file) as data:
                images.append(data["images"])
                states.append(data["states"])
                chunks.append(data["chunks"])
                truth.append(data["truth"])
                texts += [instructions[file.parent.name]] * len(data["states"])
        self.images = torch.from_numpy(np.concatenate(images))
        self.states = torch.from_numpy(np.concatenate(states))
        self.chunks = torch.from_numpy(np.concatenate(chunks))
        self.truth = torch.from_numpy(np.concatenate(truth))
        self.truth[:, :6] /= TRUTH_SCALE
        self.words, self.mask = encode(texts)

    def __len__(self) -> int:
        return len(self.states)


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """uint8[B, C, S, S, 3] with brightness, contrast and tint changed per image."""
    shape = (*images.shape[:2], 1, 1, 1)
    gain = 1.0 + 0.2 * (torch.rand(shape, generator=generator) - 0.5)
    shift = 24.0 * (torch.rand(shape, generator=generator) - 0.5)
    tint = 1.0 + 0.1 * (torch.rand((*images.shape[:2], 1, 1, 3), generator=generator) - 0.5)
    return (images.float() * (gain * tint) + shift).clamp_(0, 255).to(torch.uint8)


class Trainer:
    """One resumable run."""

    def __init__(self, samples: Samples, recipe: Recipe, out: Path, start: Path | None):
        torch.manual_seed(recipe.seed)
        self.samples, self.recipe, self.out = samples, recipe, out
        self.module = PocketOFTNet(PocketConfig())
        self.module.state_mean.copy_(samples.states.mean(0))
        self.module.state_scale.copy_(samples.states.std(0).clamp_min(1e-3))
        self.auxiliary = nn.Linear(CHUNK * self.module.config.width, samples.truth.shape[1])
        parameters = [*self.module.parameters(), *self.auxiliary.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, recipe.lr, (0.9, 0.95), weight_decay=recipe.weight_decay)
        self.step = 0
        self.checkpoint = out / "last.pt"
        out.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.is_file():
            self._load(self.checkpoint, optimizer=True)
        elif start is not None:
            self._load(start, optimizer=False)

    def _load(self, path: Path, optimizer: bool) -> None:
        saved = torch.load(path, weights_only=True)
        self.module.load_state_dict(saved["module"])
        self.auxiliary.load_state_dict(saved["auxiliary"])
        if optimizer:
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step = saved["step"]

    def save(self) -> None:
        """Write the resumable state and the fp16 weights."""
        state = {
            "module": self.module.state_dict(), "auxiliary": self.auxiliary.state_dict(),
            "optimizer": self.optimizer.state_dict(), "step": self.step,
        }
        torch.save(state, self.checkpoint.with_suffix(".partial"))
        self.checkpoint.with_suffix(".partial").replace(self.checkpoint)
        save_weights(self.module, self.out / "weights")

    def _rate(self, total: int) -> float:
        warm = min(1.0, (self.step + 1) / 300)
        return self.recipe.lr * warm * (0.5 + 0.5 * math.cos(math.pi * min(1.0, self.step / total)))

    def run(self, period: int = 100) -> None:
        """Train to the recipe's number of samples."""
        total = self.recipe.samples // self.recipe.batch
        sums, count, begun = np.zeros(3), 0, time.time()
        while self.step < total:
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(total)
            sums, count = sums + self._one_step(), count + 1
            self.step += 1
            if self.step % period == 0 or self.step == total:
                self._log(sums / count, count * self.recipe.batch / (time.time() - begun))
                sums, count, begun = np.zeros(3), 0, time.time()
            if self.step % (5 * period) == 0 or self.step == total:
                self.save()

    def _one_step(self) -> np.ndarray:
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        rows = torch.randint(len(self.samples), (self.recipe.batch,), generator=generator)
        s = self.samples
        noise = torch.randn((len(rows), s.states.shape[1]), generator=generator)
        state = s.states[rows] + self.recipe.state_noise * self.module.state_scale * noise
        images = augment(s.images[rows], generator)
        with torch.autocast("cpu", torch.bfloat16):
            features = self.module.features(images, state, s.words[rows], s.mask[rows])
            actions = self.module.action_head(features).float()
            truth = self.auxiliary(features.flatten(1)).float()
        error = (actions - s.chunks[rows]).abs()
        action_loss = error[..., : ACTION_DIM - 1].mean() + 0.5 * error[..., -1].mean()
        auxiliary_loss = nn.functional.smooth_l1_loss(truth, s.truth[rows], beta=0.1)
        self.optimizer.zero_grad()
        (action_loss + self.recipe.auxiliary * auxiliary_loss).backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        return np.array([error[..., :3].mean().item(), error[..., -1].mean().item(), auxiliary_loss.item()])

    def _log(self, means: np.ndarray, rate: float) -> None:
        row = {
            "step": self.step, "samples": self.step * self.recipe.batch, "translation_l1": round(float(means[0]), 5),
            "gripper_l1": round(float(means[1]), 5), "auxiliary": round(float(means[2]), 5),
            "samples_per_s": round(rate, 1),
        }
        path = self.out / "log.csv"
        fresh = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/pocket"))
    parser.add_argument("--out", type=Path, default=Path("data/pocket/run"))
    parser.add_argument("--samples", type=int, default=200_000, help="training samples to draw in all")
    parser.add_argument("--start", type=Path, help="last.pt of an earlier run to begin from")
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    instructions = json.loads((args.data / "instructions.json").read_text())
    Trainer(Samples(args.data, instructions), Recipe(args.samples, lr=args.lr), args.out, args.start).run()


if __name__ == "__main__":
    main()

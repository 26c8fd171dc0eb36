"""Train a pocket policy: `python -m policies.pocket.train --head oft --frames FOLDER --out DIR --samples 500000`.

The head's own loss (`losses.py`), with one head that exists in training only: from the decoder's states at the slots it
names where the object and its target are relative to the hand and whether the object is held, which teaches a small
network from few episodes what to look at. What is kept is the running average of the weights. A run that was cut off
goes on from its last checkpoint when it is started again the same way, and ends where an uninterrupted one does.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from policies.pocket.checkpoint import NETWORKS, save_weights
from policies.pocket.frames import Batch, Frames, augment
from policies.pocket.losses import LOSSES, answers
from policies.pocket.model import CHUNK, PocketConfig
from policies.pocket.optimizer import Optimizers
from policies.pocket.precision import autocast
from policies.pocket.start import SHARED, known_context, start_from_
from policies.pocket.team import Team

LOG_STEPS = 100
"""Steps in a row of the log; a checkpoint is only written at the end of one."""
VALIDATION_SAMPLES = 256
"""Held-out samples that a row of the log is measured on."""


@dataclass(frozen=True)
class Recipe:
    """What a run is made of; together with the samples it fixes the weights."""

    head: str
    """Key of `checkpoint.NETWORKS`."""
    samples: int
    """Training samples to draw in all."""
    lr: float = 6e-4
    """Peak of the learning rate; warm-up over 300 steps or a tenth of the run, then cosine to zero."""
    batch: int = 64
    """Samples a step."""
    freeze: bool = False
    """Whether the backbone stays as it is; its states are computed once then, of pictures without augmentation."""
    shift: int = 2
    """Pixels that pictures are moved by at most."""
    weight_decay: float = 0.01
    """Of the matrices and of all else."""
    auxiliary: float = 0.3
    """Weight of the auxiliary loss."""
    state_noise: float = 0.02
    """Noise on the proprioception, in units of its spread."""
    average: float = 0.999
    """Decay of the running average of the weights; shorter at first."""
    seed: int = 0
    """Of weights, order, noise and augmentation."""


class Trainer:
    """One resumable run."""

    def __init__(self, frames: Frames, recipe: Recipe, config: PocketConfig, out: Path, start: Path | None,
                 device: str = "cpu", threads: int = 1):
        """On a CPU a batch is split among `threads`. Raises ValueError if `out` holds a run of another recipe."""
        torch.manual_seed(recipe.seed)
        self.frames, self.recipe, self.out, self.device = frames, recipe, out, torch.device(device)
        self.module = NETWORKS[recipe.head][0](config)
        self.auxiliary = nn.Linear(CHUNK * config.width, frames.focus.shape[1])
        self._normalize()
        self.checkpoint, self.step = out / "last.pt", 0
        out.mkdir(parents=True, exist_ok=True)
        found = self.checkpoint.is_file()
        resumed = torch.load(self.checkpoint, weights_only=True, map_location="cpu") if found else None
        if resumed is None and start is not None:
            start_from_(self.module, self.auxiliary, start)
        self.module, self.auxiliary = self.module.to(self.device), self.auxiliary.to(self.device)
        self.average = copy.deepcopy(self.module).eval().requires_grad_(False)
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(not (recipe.freeze and name.startswith(SHARED)))
        self.optimizer = Optimizers((self.module, self.auxiliary), recipe.lr, recipe.weight_decay)
        if resumed is not None:
            self._resume(resumed)
        self.team = Team((self.module, self.auxiliary), threads if self.device.type == "cpu" else 1)
        self.context = None
        if recipe.freeze:
            self.context = known_context(self.module, frames, self.device, out / "context.npy",
                                         len(self.team.members))

    def _normalize(self) -> None:
        chosen = self.frames.training
        states, chunks = self.frames.states[chosen], self.frames.chunks[chosen]
        self.module.state_mean.copy_(states.mean(0))
        self.module.state_scale.copy_(states.std(0).clamp_min(1e-3))
        if self.recipe.head == "flow":
            self.module.action_mean.copy_(chunks.mean((0, 1)))
            self.module.action_scale.copy_(chunks.flatten(0, 1).std(0).clamp_min(0.02))

    def _resume(self, saved: dict) -> None:
        if saved["recipe"] != asdict(self.recipe):
            changed = [name for name, value in asdict(self.recipe).items() if saved["recipe"].get(name) != value]
            raise ValueError(f"{self.out} holds a run with another {', '.join(changed)}; name another folder, or "
                             f"begin from it with --start {self.checkpoint}")
        for name in ("module", "average", "auxiliary", "optimizer"):
            getattr(self, name).load_state_dict(saved[name])
        self.step = saved["step"]
        self._cut_log()

    def save(self) -> None:
        """Write the resumable state, and the averaged weights as a checkpoint."""
        parts = {name: getattr(self, name).state_dict() for name in ("module", "average", "auxiliary", "optimizer")}
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(parts | {"step": self.step, "recipe": asdict(self.recipe)}, partial)
        partial.replace(self.checkpoint)
        save_weights(self.average, self.out / "weights")

    def run(self, seconds_per_save: float = 180.0, log_steps: int = LOG_STEPS) -> None:
        """Train to the recipe's number of samples."""
        total = self.recipe.samples // self.recipe.batch
        sums, count, begun, saved = np.zeros(2), 0, time.monotonic(), time.monotonic()
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self._prepare, self.step)
            while self.step < total:
                batch, context, generator = coming.result()
                coming = ahead.submit(self._prepare, self.step + 1)
                rate = self._rate(total)
                sums, count = sums + self._one_step(batch, context, generator, rate), count + 1
                self.step += 1
                if self.step % log_steps == 0 or self.step == total:
                    per_second = count * self.recipe.batch / (time.monotonic() - begun)
                    self._log(rate, sums / count, per_second)
                    if time.monotonic() - saved >= seconds_per_save:
                        self.save()
                        saved = time.monotonic()
                    sums, count, begun = np.zeros(2), 0, time.monotonic()
        self.save()

    def _rate(self, total: int) -> float:
        warm = min(1.0, (self.step + 1) / min(300, max(1, total // 10)))
        return self.recipe.lr * warm * (0.5 + 0.5 * math.cos(math.pi * self.step / total))

    def _prepare(self, step: int) -> tuple[Batch, torch.Tensor | None, torch.Generator]:
        """The batch of a step, which follows from seed and step alone, and the generator for what else is random."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step)
        rows = self.frames.draw(self.recipe.batch, generator)
        if self.context is not None:
            known = torch.from_numpy(self.context[rows.numpy()]).float()
            return self.frames.batch(rows, torch.empty(0)), known, generator
        images = augment(self.frames.images(rows), self.recipe.shift, generator)
        return self.frames.batch(rows, images), None, generator

    def _one_step(self, batch: Batch, context: torch.Tensor | None, generator: torch.Generator,
                  rate: float) -> np.ndarray:
        """Means of the head's and the auxiliary loss."""
        noise = torch.randn(batch.state.shape, generator=generator)
        state = batch.state + self.recipe.state_noise * self.module.state_scale.cpu() * noise
        losses = self.team.gradients(self._weighed, replace(batch, state=state), context, generator)
        nn.utils.clip_grad_norm_([p for p in self.module.parameters() if p.requires_grad], 1.0)
        self.optimizer.step(rate, self.team.threads)
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.module.parameters()), 1.0 - decay)
        return losses

    def _weighed(self, modules: tuple[nn.Module, ...], batch: Batch, context: torch.Tensor | None,
                 generator: torch.Generator, share: float) -> np.ndarray:
        """Add the gradient of a share of the batch; its part of the means of the head's and the auxiliary loss."""
        head, auxiliary = self._losses(modules, batch, context, generator)
        (share * (head + self.recipe.auxiliary * auxiliary)).backward()
        return share * np.array([head.item(), auxiliary.item()])

    def _losses(self, modules: tuple[nn.Module, ...], batch: Batch, context: torch.Tensor | None,
                generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        module, auxiliary = modules
        inputs = {name: tensor.to(self.device) for name, tensor in batch.inputs().items()}
        context = None if context is None else context.to(self.device)
        with autocast(self.device):
            head, slots = LOSSES[self.recipe.head](module, inputs, batch.chunks.to(self.device), generator, context)
            named = auxiliary(slots.flatten(1)).float()
        return head, nn.functional.smooth_l1_loss(named, batch.focus.to(self.device), beta=0.1)

    def validate(self) -> dict[str, float | None]:
        """The averaged weights on held-out episodes: the loss, and the policy's own answers; None without such ones."""
        held = self.frames.validation
        rows = held[torch.linspace(0, len(held) - 1, min(VALIDATION_SAMPLES, len(held))).long()]
        generator, measured = torch.Generator().manual_seed(self.recipe.seed), []
        for part in rows.split(64) if len(rows) else ():
            batch = self.frames.batch(part)
            inputs = {name: tensor.to(self.device) for name, tensor in batch.inputs().items()}
            with torch.no_grad():
                loss, _ = self._losses((self.average, self.auxiliary), batch, None, generator)
                with autocast(self.device):
                    answer = answers(self.recipe.head, self.average, inputs, generator).float().cpu()
            moved = (answer - batch.chunks)[..., :3].abs().mean().item()
            wrong = ((answer[..., -1] > 0) != (batch.chunks[..., -1] > 0)).float().mean().item()
            measured.append(np.array([loss.item(), moved, wrong]) * len(part))
        names = ("val_loss", "val_translation_l1", "val_gripper_wrong")
        means = (np.sum(measured, axis=0) / len(rows)).tolist() if measured else [None] * len(names)
        return dict(zip(names, means, strict=True))

    def _log(self, rate: float, means: np.ndarray, per_second: float) -> None:
        row = {"step": self.step, "samples": self.step * self.recipe.batch, "lr": rate, "loss": float(means[0]),
               "auxiliary": float(means[1]), **self.validate(), "samples_per_s": per_second}
        row = {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in row.items()}
        path = self.out / "log.csv"
        fresh = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        print(row, flush=True)

    def _cut_log(self) -> None:
        """Drop the rows after the checkpoint, which will be written again."""
        path = self.out / "log.csv"
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        path.write_text("".join(lines[:1] + [line for line in lines[1:] if int(line.split(",")[0]) <= self.step]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", choices=tuple(NETWORKS), required=True)
    parser.add_argument("--frames", type=Path, nargs="+", required=True, help="folders with images.npy, or parents")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, log.csv and weights/ go here")
    parser.add_argument("--samples", type=int, required=True, help="training samples to draw in all")
    parser.add_argument("--lr", type=float, default=Recipe.lr)
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--shift", type=int, default=Recipe.shift, help="pixels that pictures are moved by at most")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--start", type=Path, help="last.pt or checkpoint folder, of any head, to begin from")
    parser.add_argument("--freeze", choices=("backbone",), help="train the head alone")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(),
                        help="CPU threads that share a batch (all cores)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seconds-per-save", type=float, default=180.0)
    parser.add_argument("--log-steps", type=int, default=LOG_STEPS, help="steps in a row of the log")
    parser.add_argument("--ram-gb", type=float, default=10.0, help="read pictures into memory up to this size")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    recipe = Recipe(args.head, args.samples, args.lr, args.batch, args.freeze is not None, args.shift, seed=args.seed)
    frames = Frames(args.frames, int(args.ram_gb * 1e9))
    print(f"{len(frames)} samples, {len(frames.validation)} held out, {len(frames.instructions)} tasks, "
          f"{'in memory' if frames.in_memory else 'from files'}, on {device}", flush=True)
    trainer = Trainer(frames, recipe, NETWORKS[args.head][1](), args.out, args.start, device, args.threads)
    trainer.run(args.seconds_per_save, args.log_steps)


if __name__ == "__main__":
    main()

"""The Linears of published policies, inputs -> outputs, and how many tokens they get.

Read from the published configurations: OpenVLA-7B (Llama-2-7B, DINOv2-L/14, SigLIP-So400m/14), pi0.5 (Gemma-2B and its
300M action expert), GR00T N1.5 (twelve layers of Qwen3-1.7B and its diffusion transformer).
"""

from __future__ import annotations

TOKENS = (1, 49, 280, 551, 968)
"""One token decoded, a diffusion transformer's sequence, and prompts with one, two and three pictures."""

SHAPES: dict[str, dict[str, tuple[int, int]]] = {
    "OpenVLA-7B": {
        "llama q/k/v/o": (4096, 4096), "llama gate/up": (4096, 11008), "llama down": (11008, 4096),
        "dino qkv": (1024, 3072), "dino fc1": (1024, 4096), "dino fc2": (4096, 1024),
        "siglip qkv": (1152, 3456), "siglip fc1": (1152, 4304), "siglip fc2": (4304, 1152),
    },
    "pi0.5": {
        "gemma q/o": (2048, 2048), "gemma k/v": (2048, 256), "gemma gate/up": (2048, 16384),
        "gemma down": (16384, 2048), "expert q": (1024, 2048), "expert k/v": (1024, 256), "expert o": (2048, 1024),
        "expert gate/up": (1024, 4096), "expert down": (4096, 1024),
    },
    "GR00T N1.5": {
        "qwen q/o": (2048, 2048), "qwen k/v": (2048, 1024), "qwen gate/up": (2048, 6144), "qwen down": (6144, 2048),
        "dit q/out": (1536, 1536), "dit cross k/v": (2048, 1536), "dit ff in": (1536, 6144), "dit ff out": (6144, 1536),
    },
}
"""Policy -> kind of Linear -> (inputs, outputs)."""

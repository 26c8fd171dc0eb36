"""What all tests share."""

from __future__ import annotations

import os
import shutil

from hypothesis import settings

# A busy machine makes a first call slow; that says nothing about the code.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

# Triton looks at this when it is imported, whoever imports it: without a card its kernels are interpreted on the CPU.
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")

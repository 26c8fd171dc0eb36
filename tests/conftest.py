"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# A busy machine makes a first call slow; that says nothing about the code.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

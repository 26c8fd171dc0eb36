"""The colours of the built-in pack, as red, green, blue between 0 and 1."""

from __future__ import annotations

RED, WHITE, BLUE = (0.80, 0.10, 0.10), (0.93, 0.93, 0.90), (0.13, 0.25, 0.70)
YELLOW, GREEN, ORANGE = (0.95, 0.80, 0.15), (0.15, 0.55, 0.20), (0.96, 0.55, 0.08)
BROWN, DARK, METAL, WICKER = (0.36, 0.17, 0.07), (0.12, 0.13, 0.12), (0.72, 0.72, 0.74), (0.62, 0.44, 0.26)
BLACK, CHARCOAL, STEEL, SILVER = (0.05, 0.05, 0.06), (0.22, 0.22, 0.23), (0.46, 0.46, 0.48), (0.82, 0.82, 0.80)
WALNUT, WALNUT_LIGHT, OFFWHITE = (0.24, 0.15, 0.10), (0.36, 0.23, 0.15), (0.84, 0.83, 0.82)
PINE, PINE_DARK, MAHOGANY = (0.80, 0.63, 0.45), (0.60, 0.43, 0.27), (0.36, 0.12, 0.09)
BOTTLE_GREEN, CORK, BEIGE = (0.10, 0.16, 0.08), (0.72, 0.55, 0.36), (0.86, 0.76, 0.42)
PAPER, CREAM, BISCUIT, GREEN_GLOW = (0.92, 0.90, 0.84), (0.90, 0.84, 0.66), (0.78, 0.56, 0.28), (0.25, 0.85, 0.45)

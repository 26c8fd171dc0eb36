"""Every object of the built-in pack: category -> what is written for it.

Footprints, heights, masses, inertias, joints, sites and origins follow the official collision shapes (measured from
the compiled models); looks are our own and follow what each object is called.
"""

from __future__ import annotations

from envs.pack.spec import ObjectSpec
from envs.pack.table_articulated import ARTICULATED_OBJECTS
from envs.pack.table_food import FOOD
from envs.pack.table_furniture import FURNITURE
from envs.pack.table_kitchenware import KITCHENWARE

OBJECTS: dict[str, ObjectSpec] = FOOD | KITCHENWARE | FURNITURE | ARTICULATED_OBJECTS
"""Category -> what the pack writes for it."""

"""How the inputs of matrix products are to become integers: what ``FitProducts`` found, for the passes behind it.

It travels as JSON in a module attribute, by the name of the layer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tvm import IRModule

ATTRIBUTE = "tvmq.products"

CHOSEN = "scales"
"""Of a layer's details: what was chosen for it, and why."""

STATIC, DYNAMIC, FLOAT_PRODUCT = "static", "dynamic", "float"


@dataclass(frozen=True)
class ProductChoice:
    """The choice for one layer.

    Attributes
    ----------
    way : one of the three.
    reason : what users are told.
    """

    way: str
    reason: str


def with_product_choices(mod: IRModule, choices: Mapping[str, ProductChoice]) -> IRModule:
    """Return the module with the choices by layer."""
    return mod.with_attr(ATTRIBUTE, json.dumps({name: asdict(choice) for name, choice in choices.items()}))


def product_choices(mod: IRModule) -> dict[str, ProductChoice]:
    """Return the choices by layer; none where nothing chose."""
    text = mod.attrs[ATTRIBUTE] if mod.attrs and ATTRIBUTE in mod.attrs else "{}"
    return {name: ProductChoice(**choice) for name, choice in json.loads(str(text)).items()}

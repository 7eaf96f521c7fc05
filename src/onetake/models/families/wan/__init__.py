"""The Wan family: Wan 2.1 and 2.2, and models in their layout."""

from onetake.models.families import Family

FAMILY = Family(
    loader="onetake.models.families.wan.model:load",
    techniques=frozenset({"attention", "compiled", "lean", "linears", "reuse", "timesteps"}),
    quantiser="onetake.models.families.wan.int8:quantise",
    stock_loader="onetake.models.families.wan.stock:load_stock",
)

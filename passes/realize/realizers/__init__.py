"""How each kind of operator becomes integers: one file a kind, tried in the order of ``realize.RULES``."""

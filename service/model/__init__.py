"""Values that the rest of the house hands around: frozen, typed, without behaviour that needs a database or a network."""

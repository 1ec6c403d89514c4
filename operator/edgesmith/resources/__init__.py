"""Pure builders: one module per child kind, each returning what to apply."""

"""The language that templates are written in: values, loader, linter."""

"""A definition as values, and the shape of its graph. Pure."""

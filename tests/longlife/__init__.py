"""A long life: many short runs, after which everything is back where it was (I22)."""

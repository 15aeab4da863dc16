"""A shop that survives ``kill -9``: ``durable demo``."""

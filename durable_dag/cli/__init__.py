"""Commands of the command line that need this package: ``durable dag``, and ``durable runs export``."""

"""Commands of the command line that need this package: ``durable server``, ``tokens``, ``webhooks``."""

"""Three workers on one SQLite file in a storm of SIGKILLs, stalls and locks: ``python -m tests.storm --seconds 60``."""

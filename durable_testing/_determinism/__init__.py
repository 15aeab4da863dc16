"""The parts of ``check_determinism``: a run on the core alone, the scenes that it is played in, and what differed."""

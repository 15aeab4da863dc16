"""Which step is next, and what a step asks for: the machine behind an execution. Pure."""

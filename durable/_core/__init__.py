"""Pure decisions: workflow code run against its journal, without effects, clock, chance or threads.

Rule: everything that decides what a run does next lives here; everything that does it lives in ``durable._engine``.
"""

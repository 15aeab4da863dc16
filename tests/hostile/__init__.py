"""The ordinary tests under settings in which an engine shows what it leans on: ``python -m tests.hostile``.

``DURABLE_HOSTILE`` names the configuration. It is applied by turning real knobs as modules are imported, and by a
layer between the engine and its stores; nothing is mocked. The list, and what a run of it came to, is in
``docs/internals/hostile-configurations.md``.
"""

"""Definitions as other things: a program in Python."""

from durable_dag.export.python import NotExportable, python_program

__all__ = ["NotExportable", "python_program"]

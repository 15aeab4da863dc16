"""Whether a document is a good definition: everything that is wrong with it, each with its place."""

from durable_dag.validation.check import Checked, Checks, check
from durable_dag.validation.schema import definition_schema

__all__ = ["Checked", "Checks", "check", "definition_schema"]

"""``durable dag``: its commands, each imported when it is called."""

from __future__ import annotations

from durable.cli.lazy import LazyGroup

__all__ = ["dag"]

_ROOM = "durable_dag.cli"

dag = LazyGroup(
    "dag",
    short_help="Check, keep, try out and export definitions: workflows that are data.",
    help="Definitions: workflows that are data, as JSON. FILE may be - for stdin; YAML needs pyyaml.",
    lazy={
        "validate": (f"{_ROOM}.validate_command:validate", "Say everything that is wrong with definitions."),
        "test": (f"{_ROOM}.test_command:test", "Carry a definition out here, with made-up answers."),
        "register": (f"{_ROOM}.register_command:register", "Keep definitions: each the next version of its id."),
        "list": (f"{_ROOM}.list_command:list_definitions", "List the newest versions."),
        "show": (f"{_ROOM}.show_command:show", "Draw one definition, and list its steps."),
        "diff": (f"{_ROOM}.diff_command:diff", "Compare two versions, or a version with a file."),
        "export": (f"{_ROOM}.export_command:export", "Write a definition as a program or a picture."),
        "schema": (f"{_ROOM}.schema_command:schema", "Print the JSON Schema of definitions."),
    },
)

"""The component's own tests and types."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from durable_convex.install import install
from tests.convex.packages import installed

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "howto" / "convex-from-typescript.md"
EXAMPLE = HERE.parents[2] / "examples" / "convex"

pytestmark = pytest.mark.xdist_group("convex")


def passes(directory: Path, *command: str) -> None:
    """Run a program of the directory's npm packages; fail with what it says."""
    program = installed(directory) / "node_modules" / ".bin" / command[0]
    done = subprocess.run([str(program), *command[1:]], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_the_component_does_on_convex_test_what_its_tests_say() -> None:
    passes(HERE, "vitest", "run")


def test_the_component_is_typed_without_generated_code_and_without_the_types_of_node_or_browsers() -> None:
    passes(HERE, "tsc", "--noEmit", "-p", "tsconfig.component.json")


def test_the_components_tests_are_typed() -> None:
    passes(HERE, "tsc", "--noEmit")


def test_the_example_app_and_its_page_are_typed() -> None:
    install(EXAMPLE / "convex")
    passes(EXAMPLE, "tsc", "--noEmit")


API = """
import { componentsGeneric } from "convex/server";
import type { DurableComponent } from "../components/durable/expose";
export const components = componentsGeneric() as unknown as { durable: DurableComponent };
"""
SERVER = 'export { mutationGeneric as mutation, queryGeneric as query } from "convex/server";\n'


def test_the_pages_examples_are_typed(tmp_path: Path) -> None:
    """Each block as a file of an app; one that leaves the imports out goes on from the block before it."""
    app = tmp_path / "convex"
    install(app)
    (app / "_generated").mkdir()
    (app / "_generated" / "api.ts").write_text(API)
    (app / "_generated" / "server.ts").write_text(SERVER)
    blocks = re.findall(r"^```ts\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    imports = ""
    for number, block in enumerate(blocks):
        if "_generated" in block:
            imports = "".join(line for line in block.splitlines(True) if line.startswith("import"))
            (app / f"page{number}.ts").write_text(block)
        else:
            (app / f"page{number}.ts").write_text(imports + block)
    types = installed(HERE) / "node_modules" / "convex" / "dist" / "esm-types"
    paths = {f"convex/{name}": [str(types / name / "index.d.ts")] for name in ("server", "values")}
    options = json.loads((HERE / "tsconfig.component.json").read_text())["compilerOptions"]
    options |= {"paths": paths, "noUnusedLocals": False}
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "include": ["convex"]}))
    passes(HERE, "tsc", "--noEmit", "-p", str(tmp_path / "tsconfig.json"))

"""What docs/convex.md shows runs: its programs on the stand-in; and the file that ``init`` writes is the one shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from durable_convex.install import install
from tests.convex.deployments import TOKEN
from tests.convex.standin import running
from tests.docs.test_code_blocks import blocks

PAGE = Path(__file__).parents[2] / "docs" / "convex.md"
PROGRAMS = [block.text for block in blocks(PAGE) if block.language == "python" and "asyncio.run" in block.text]
USERS = """
import { mutationGeneric, queryGeneric } from "convex/server";
import { v } from "convex/values";

const known = (ctx, id) => ctx.db.query("users").filter((q) => q.eq(q.field("id"), id)).first();

export const get = queryGeneric({
  args: { id: v.string() },
  handler: async (ctx, { id }) => (id === "u1" ? { id, email: "ada@example.org" } : await known(ctx, id)),
});
export const update = mutationGeneric({
  args: { id: v.string(), status: v.string(), requestId: v.string() },
  handler: async (ctx, args) => { await ctx.db.insert("users", args); },
});
export const onboarded = mutationGeneric({
  args: { workflowId: v.string(), workflow: v.string(), result: v.any(), context: v.any() },
  handler: async (ctx, { workflowId, ...rest }) => { await ctx.db.insert("users", { id: workflowId, ...rest }); },
});
"""
MAIL = """
import { actionGeneric } from "convex/server";
import { v } from "convex/values";

export const send = actionGeneric({ args: { to: v.string() }, handler: async (_, { to }) => `sent to ${to}` });
"""


@pytest.mark.slow
def test_the_programs_of_the_page_run_on_the_stand_in(tmp_path: Path) -> None:
    app = tmp_path / "convex"
    install(app)
    (app / "users.ts").write_text(USERS)
    (app / "mail.ts").write_text(MAIL)
    with running(app, tmp_path, "--env", f"DURABLE_TOKEN={TOKEN}") as server:
        environment = {**os.environ, "DURABLE_STORE": f"convex+{server.url}", "DURABLE_TOKEN": TOKEN}
        environment.pop("CONVEX_URL", None)
        said = []
        for n, program in enumerate(PROGRAMS):
            path = tmp_path / f"program{n}.py"
            path.write_text(program)
            done = subprocess.run(
                [sys.executable, "-X", "dev", str(path)], env=environment, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stderr[-3000:]
            said.append(done.stdout.strip())
    assert said == ["receipt for order-42", "ada@example.org"]


def test_the_wrapper_of_the_page_is_the_one_that_init_writes(tmp_path: Path) -> None:
    install(tmp_path)
    (shown,) = [block.text for block in blocks(PAGE) if block.language == "ts"]
    assert (tmp_path / "durable.ts").read_text() == shown


def test_the_costs_of_the_page_are_those_of_the_stores_rhythm() -> None:
    from durable_convex import ConvexStore

    rhythm = ConvexStore("convex+http://127.0.0.1:1").rhythm
    text = PAGE.read_text(encoding="utf-8")
    month = 30 * 86_400
    assert f"every {rhythm.poll_seconds:.0f} s" in text
    assert f"a poll every {rhythm.unhinted_seconds:.0f} s" in text
    assert rhythm.purge_seconds is not None
    calls = month / rhythm.poll_seconds + month / rhythm.purge_seconds
    assert re.search(r"some 90,000 calls a month", text) and 85_000 < calls < 95_000

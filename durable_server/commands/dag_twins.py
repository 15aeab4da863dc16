"""``durable dag ...`` and ``durable runs export`` over a server; what is printed, the commands themselves print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click

from durable.cli.failures import Exit
from durable.cli.inputs import pairs
from durable.cli.options import Settings
from durable.cli.output import Printer

if TYPE_CHECKING:
    from durable_dag.cli.sources import Source
    from durable_server.remote.client import RemoteClient

Json = Any

__all__ = ["TWINS"]

_ADDED: Final = ("version", "createdAt", "enabled")
"""Members that a server adds to a definition; its own label ``version``, if it has one, gives way to the number."""


def _validate(settings: Settings, *, files: tuple[str, ...], strict: bool, **given: Any) -> int:
    from durable_dag.cli.validate_command import each_document, tell_checks
    from durable_server.remote.calls import remote

    _without_app(given)
    params = {"strict": "true"} if strict else {}
    with remote(settings) as client:
        found = [
            (document, bad or client.call("POST", "/workflows/validate", document.value, params=params))
            for document, bad in each_document(files)
        ]
    return tell_checks(Printer(settings), found)


def _register(settings: Settings, *, files: tuple[str, ...], if_match: int | None, strict: bool, **given: Any) -> int:
    from durable_dag.cli.documents import read_document
    from durable_dag.cli.register_command import tell_refusal, tell_registered
    from durable_server.remote.calls import remote

    _without_app(given)
    if if_match is not None and len(files) > 1:
        raise click.UsageError("--if-match is for one FILE.")
    printer, good = Printer(settings), True
    documents = [read_document(file) for file in files]
    params = {"strict": "true"} if strict else {}
    with remote(settings) as client:
        for document in documents:
            checked = client.call("POST", "/workflows/validate", document.value, params=params)
            if not checked["valid"]:
                tell_refusal(printer, document, checked)
                good = False
        for document in documents if good else ():
            answer = client.call("POST", "/workflows", document.value, params=params, if_match=if_match)
            tell_registered(printer, document, {name: answer[name] for name in answer if name != "success"})
    return int(Exit.OK if good else Exit.FAILED)


def _without_app(given: Mapping[str, Any]) -> None:
    if given.get("app") is not None or given.get("allow_unknown"):
        raise click.UsageError("A server knows its own actions: leave --app and --allow-unknown out.")


def _list(settings: Settings, *, text: str | None, tag: tuple[str, ...], limit: int) -> None:
    from durable_dag.cli.list_command import tell_list
    from durable_server.remote.calls import remote

    tags = [f"{name}:{value}" for name, value in pairs(tag, "--tag").items()]
    params: dict[str, Json] = {"tag": tags, "limit": min(limit + 1, 1000)}
    if text:
        params["q"] = text
    with remote(settings) as client:
        tell_list(settings, client.call("GET", "/workflows", params=params), limit)


def _show(settings: Settings, *, what: str, version: int | None) -> None:
    from durable_dag.cli.show_command import tell_source

    tell_source(settings, _either(settings, what, version))


def _diff(settings: Settings, *, workflow_id: str, old: str, new: str | None) -> int:
    from durable_dag.cli.diff_command import asked_versions, tell_difference
    from durable_dag.cli.sources import Source, from_file
    from durable_server.remote.calls import remote

    with remote(settings) as client:
        before, after = (
            from_file(one) if isinstance(one, str) else _fetched(client, workflow_id, one)
            for one in asked_versions(old, new)
        )
    plain = (Source(one.name, _plain(one.document), one.version, one.enabled) for one in (before, after))
    return tell_difference(settings, *plain)


def _export(settings: Settings, *, what: str, form: str, version: int | None) -> None:
    from durable_dag.cli.export_command import tell_export

    tell_export(settings, _either(settings, what, version), form)


def _either(settings: Settings, what: str, version: int | None) -> Source:
    from durable_dag.cli.documents import looks_like_file
    from durable_dag.cli.sources import from_either
    from durable_server.remote.calls import remote

    if looks_like_file(what):
        return from_either(settings, what, version)
    with remote(settings) as client:
        return _fetched(client, what, version)


def _fetched(client: RemoteClient, id: str, version: int | None) -> Source:
    from durable_dag.cli.sources import Source

    params = {} if version is None else {"version": version}
    value = client.call("GET", f"/workflows/{quote(id, safe='')}", params=params)
    return Source(f"{id} v{value['version']}", _plain(value), value["version"], value["enabled"])


def _plain(document: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in document.items() if name not in _ADDED}


def _schema(settings: Settings, *, app: str | None) -> None:
    from durable_server.remote.calls import remote

    _without_app({"app": app})
    with remote(settings) as client:
        Printer(settings).value(client.call("GET", "/schema/workflow.json"))


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _export_run(settings: Settings, *, run_id: str, form: str, timeline: bool) -> None:
    from durable.cli.text import json_text
    from durable_dag.cli.export_command import print_lines
    from durable_dag.cli.runs_export import told_timeline
    from durable_server.remote.calls import find, remote

    with remote(settings) as client:
        id = find(client, run_id)
        run = client.get(id)
        if form == "json":
            text = json_text({"execution": run, "history": client.history(id)}, indent=2)
        elif run["kind"] == "dag" and not timeline:
            text = client.text(f"/executions/{quote(id, safe='')}/visualize", params={"format": form})
        else:
            text = told_timeline(_timeline(run), form)
    print_lines(Printer(settings), text)


def _timeline(run: Mapping[str, Json]) -> Any:
    """A bar for each step, from its first attempt to its end: a server tells no more in one answer."""
    from durable.clock import SystemClock
    from durable_dag.pictures import Stretch, Timeline, Track

    strokes = {"success": "ok", "failed": "bad"}
    now = SystemClock().now() if run["endTime"] is None else run["endTime"] / 1000
    tracks: list[Track] = []
    for step in run.get("stepResults", {}).values():
        start, end = step.get("startTime"), step.get("endTime")
        stroke: Any = strokes.get(step["status"], "busy")
        bars = () if start is None else (Stretch(start / 1000, now if end is None else end / 1000, stroke),)
        tracks.append(Track(step["stepId"], step["status"], bars, step.get("error") or ""))
    title = f"{run['executionId']}  {run['workflowId']}  {run['status']}"
    return Timeline(title, run["startTime"] / 1000, now, tuple(tracks))


TWINS: Final[Mapping[str, Callable[..., int | None]]] = {
    "dag validate": _validate,
    "dag register": _register,
    "dag list": _list,
    "dag show": _show,
    "dag diff": _diff,
    "dag export": _export,
    "dag schema": _schema,
    "runs export": _export_run,
}

"""Pictures of definitions and executions: SVG, Mermaid, DOT and plain text, all from one drawing."""

from durable_dag.pictures.ascii import ascii_text
from durable_dag.pictures.dot import dot
from durable_dag.pictures.drawing import Drawing, drawing_of
from durable_dag.pictures.mermaid import mermaid
from durable_dag.pictures.svg import svg
from durable_dag.pictures.timeline import Stretch, Timeline, Track, gantt, timeline_svg

__all__ = [
    "Drawing",
    "Stretch",
    "Timeline",
    "Track",
    "ascii_text",
    "dot",
    "drawing_of",
    "gantt",
    "mermaid",
    "svg",
    "timeline_svg",
]

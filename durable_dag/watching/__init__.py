"""Executions as people and programs see them: from their rows, their journals and the workers."""

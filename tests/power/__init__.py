"""Power cuts: what the disk may hold after one, and whether the SQLite store keeps its promises on it."""

"""The API seen from the other side: a client, and the command line's commands over it."""

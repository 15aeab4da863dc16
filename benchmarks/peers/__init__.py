"""Other engines, each in an environment of its own, driven through their documented interfaces."""

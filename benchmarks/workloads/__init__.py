"""What is measured of the engine: a module for each table."""

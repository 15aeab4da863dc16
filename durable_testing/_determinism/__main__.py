"""The other process of ``check_determinism``."""

from durable_testing._determinism.elsewhere import main

if __name__ == "__main__":
    main()

"""``python -m inrbench``: the same as the console script."""

from inrbench.cli import main

if __name__ == "__main__":
    main()

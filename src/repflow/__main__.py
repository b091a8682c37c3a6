"""``python -m repflow``: the command line."""

from repflow.cli import app

if __name__ == "__main__":
    app()

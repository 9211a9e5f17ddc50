"""`python -m ems_streams` is the same as the `ems-streams` command."""

from ems_streams.cli.main import run

if __name__ == "__main__":
    run()

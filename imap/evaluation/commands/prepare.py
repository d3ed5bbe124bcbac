"""To be written."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    raise NotImplementedError

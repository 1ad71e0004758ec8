"""Runs the command line as `python -m mfa_service`."""

from mfa_service.cli import main

main()

"""A self-hosted one-time-password second factor over HTTP."""

"""What operators see of the service: its logs."""

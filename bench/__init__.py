"""What the stores' calls cost, measured on this machine: `make bench-stores`."""

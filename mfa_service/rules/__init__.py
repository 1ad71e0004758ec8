"""What is allowed, and in which order; no HTTP, no SQL, no Redis, no clock of its own."""

"""One-time passwords by the RFCs: pure functions of key, parameters and time; no clock, no I/O."""

"""Root keys that are kept elsewhere: services that wrap and unwrap single keys (`sealing.KeyWrapping`)."""

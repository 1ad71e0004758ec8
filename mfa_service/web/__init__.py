"""The HTTP layer: turns requests into calls of the rules, and what they return or raise into answers."""

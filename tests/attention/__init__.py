"""The meaning of attention, and that every executor keeps it."""

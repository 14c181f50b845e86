"""Draw figures and tables; this room computes no result."""

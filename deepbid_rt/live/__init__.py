"""A running session: threads, bounded queues, latency, status."""

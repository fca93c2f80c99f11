"""A running session: its threads, bounded queues, latencies, status, report and log."""

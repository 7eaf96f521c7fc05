"""What any process needs: errors, settings, logs, progress and metrics."""

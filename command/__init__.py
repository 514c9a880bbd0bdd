"""The person's command line: `eigenline`, one verb a task."""

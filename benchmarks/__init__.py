"""Speed and quality beside the peers: one module a topic, each with a `main()` that prints its tables."""

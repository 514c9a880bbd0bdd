"""JSON and JSON Lines: documents and lines of instances to rows."""

"""A person's files as tables: CSV, JSON Lines, Parquet, .npz, svmlight and recordIO, in chunks of bounded size."""

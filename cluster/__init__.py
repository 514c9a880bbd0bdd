"""Records that lie on many workers: passes over them by Dask futures, the same model for any number."""

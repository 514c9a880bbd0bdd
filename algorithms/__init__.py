"""The maths: PCA and Linear Learner. Arrays in, arrays and frozen result objects out; no files, clock or log."""

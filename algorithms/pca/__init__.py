"""Principal component analysis: regular (exact) and randomized, streamed, dense and sparse."""

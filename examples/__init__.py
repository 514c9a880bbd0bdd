"""The walkthroughs, as a person would run them."""

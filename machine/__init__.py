"""What the machine, or the container around us, lets this process use."""

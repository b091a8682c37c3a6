"""The coordinate check: real training against what a plan says of each layer's first steps."""

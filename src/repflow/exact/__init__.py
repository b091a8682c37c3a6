"""The exact oracle: the whole density of the Gram entry of one input, at any width."""

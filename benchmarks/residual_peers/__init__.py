"""Residual networks against mup, CompleteP and the plain model: models, methods, scans, tables."""

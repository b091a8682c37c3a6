"""Pages for people who train networks: results in, one HTML file out."""

from repflow.reporting.build import report
from repflow.reporting.result import Report

__all__ = ["Report", "report"]

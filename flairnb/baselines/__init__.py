"""Comparison algorithms."""

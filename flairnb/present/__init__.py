"""Figures, tables and pictures; computes nothing."""

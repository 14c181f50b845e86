"""Simulated subjects: anatomy, lesions, MR signal, scanners."""

"""Subjects and data: manifest, split, fetch and the phantom cohort."""

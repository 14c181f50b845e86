"""Run the notebooks, render the report, segment one patient.

The last room before the command line: it puts the other rooms' work in
order and on disk, and computes no result of its own.
"""

"""What is measured inside a Python process: named functions, each run in a process of its own.

A workload is a function that takes keyword arguments JSON can carry and returns its figures by name.
"""

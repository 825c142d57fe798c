# SPDX-License-Identifier: MIT
"""Random and mutated frames through the real programs, and what the reference says of each.

A run is a number of rounds. Each begins with empty tables, and all that happens in it follows from
the run's seed and its own number: so a round can be repeated alone (`python -m fuzz --help`).
"""

# SPDX-License-Identifier: MIT
"""Random and mutated frames through the real programs and through the reference.

A run has a number of rounds. Each round begins with empty tables. All that happens in it follows
from the run's seed and the round's number. So a round can be repeated alone (`python -m fuzz
--help`).
"""

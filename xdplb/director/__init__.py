# SPDX-License-Identifier: MIT
"""One director: its state, its tables, its interfaces."""

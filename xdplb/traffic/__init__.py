# SPDX-License-Identifier: MIT
"""Load for a director, from the operator's own hardware, and what it did to this machine."""

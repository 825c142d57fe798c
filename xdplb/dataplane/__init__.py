# SPDX-License-Identifier: MIT
"""Everything that touches BPF: source text, compiler, system calls, tables."""

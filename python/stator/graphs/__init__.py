# SPDX-License-Identifier: Apache-2.0
"""FX graphs: what several parts ask of them, and how they reach the C++ side."""

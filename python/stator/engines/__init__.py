# SPDX-License-Identifier: Apache-2.0
"""Engines, and the modules that run them."""

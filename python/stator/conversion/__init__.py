# SPDX-License-Identifier: Apache-2.0
"""Converters written in Python."""

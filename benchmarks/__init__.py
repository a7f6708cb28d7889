# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of Stator against its peers, and the models that they and the tests run."""

# SPDX-License-Identifier: Apache-2.0
"""Options of a compilation, and the words for types, devices and inputs."""

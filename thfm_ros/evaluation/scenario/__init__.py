# SPDX-License-Identifier: Apache-2.0
"""Scenarios: a film, who is in it, and conditions that the results must meet."""

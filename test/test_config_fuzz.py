# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Any values of parameters are within their limits, or refused with a reason.

With THFM_FUZZ_EXAMPLES=20000 that many new inputs are tried per test.
"""

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import VALUES
from mutated_bytes import refused_or
from property_tests import FUZZ_EXAMPLES, fuzz

from thfm_ros.config import Config, config_from, parameters, values_of
from thfm_ros.config_option import ConfigError
from thfm_ros.config_text import settings_from

pytestmark = pytest.mark.timeout(600 + FUZZ_EXAMPLES // 5)

DEFAULTS = values_of(Config())
LIMITS = {parameter.name: (parameter.min, parameter.max) for parameter in parameters()}
NAMES = st.sampled_from(sorted(DEFAULTS))


def check(config: Config | None) -> None:
    for name, value in values_of(config).items() if config else ():
        assert type(value) is type(DEFAULTS[name])
        low, high = LIMITS[name]
        if isinstance(value, int | float):
            assert math.isfinite(value)
            assert (low is None or value >= low) and (high is None or value <= high)
    assert config is None or dataclasses.replace(config) == config


@given(values=st.dictionaries(NAMES | st.text(max_size=8), VALUES, max_size=4))
@fuzz(examples=50)
def test_any_values_of_parameters_are_within_their_limits_or_refused(
    values: dict[str, Any],
) -> None:
    check(refused_or(lambda: config_from(values), ConfigError))


@given(
    texts=st.lists(
        st.builds(
            "{}{}{}".format,
            NAMES | st.text(max_size=8),
            st.sampled_from(["=", "=", "=", "", ":="]),
            st.text(max_size=8)
            | st.sampled_from(["1", "0.5", "-1", "nan", "inf", "1e400", "true", "[]", "depth"])
            | st.integers().map(str),
        ),
        max_size=3,
    )
)
@fuzz(examples=50)
def test_any_setting_of_a_command_line_is_within_its_limits_or_refused(texts: list[str]) -> None:
    check(refused_or(lambda: config_from(settings_from(texts)), ConfigError))

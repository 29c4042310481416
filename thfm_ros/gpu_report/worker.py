# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The process of one step: calls its function, which writes each result as soon as it has it."""

import argparse
import faulthandler
import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from thfm_ros.gpu_report.step_context import (
    NOT_AVAILABLE,
    REASON,
    NotAvailableError,
    StepContext,
    reason_of,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one step; exit code 0, or 1 if it raised an error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", help="module:function")
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--limit-s", type=float, required=True)
    parser.add_argument("--stand-in", action="store_true")
    args = parser.parse_args(argv)
    context = StepContext(
        stand_in=args.stand_in, work=args.work, limit_s=args.limit_s, records=args.records
    )
    # A step that hangs is killed at its limit; the log then says where it was.
    faulthandler.dump_traceback_later(0.9 * args.limit_s, repeat=True)
    module, _, function = args.target.partition(":")
    try:
        getattr(importlib.import_module(module), function)(context)
    except NotAvailableError as error:
        context.record({NOT_AVAILABLE: str(error)})
    except Exception as error:
        traceback.print_exc()
        context.record({REASON: reason_of(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

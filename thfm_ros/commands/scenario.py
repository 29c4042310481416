# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm scenario`: run short films against the conditions beside them, with a verdict for each.

The exit code is 0 if all conditions end as their files say, 1 if one does not, and 2 if a scenario
cannot be run. docs/scenarios.md describes the files.
"""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thfm_ros import __version__
from thfm_ros.config import Config, config_from
from thfm_ros.config_option import ConfigError
from thfm_ros.config_text import add_set_option, settings_from
from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation.markdown_report import check_page, group_table, write_section
from thfm_ros.evaluation.scenario.contents import Condition, Kind, Scenario, ScenarioError
from thfm_ros.evaluation.scenario.reader import find_scenario, read_scenario, shipped_scenarios
from thfm_ros.evaluation.scenario.run import ScenarioResult, run_scenario
from thfm_ros.evaluation.scenario.verdicts import ConditionResult
from thfm_ros.loading import Pipeline, load_pipeline

SECTION = "scenarios"
"""Of the page that --page writes into."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm scenario`."""
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="scenario files, or names of shipped ones"
    )
    parser.add_argument("--all", action="store_true", help="also run all that ship with thfm_ros")
    parser.add_argument("--list", action="store_true", help="show those that ship, and stop")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the results as JSON")
    parser.add_argument(
        "--overlay", type=Path, metavar="DIR", help="also write DIR/NAME.mp4 of each scenario"
    )
    parser.add_argument(
        "--page", type=Path, metavar="MD", help="also write the table into this Markdown page"
    )
    parser.add_argument("--checkpoint", default="nano", help="name or path of the weights")
    add_set_option(
        parser,
        "any other parameter; it wins over those of the file (docs/parameters.md lists them)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the scenarios; 0 if all pass, 1 if one fails.

    Raises:
        PerceptionError: a scenario cannot be run; the text says why.
    """
    if args.list:
        for path in shipped_scenarios():
            print(f"{path.stem:<22}{read_scenario(path).description}")
        return 0
    paths = [find_scenario(text) for text in args.files]
    paths += [path for path in shipped_scenarios() if args.all and path not in paths]
    if not paths:
        raise ScenarioError("Nothing to run: name a scenario file, or give --all or --list.")
    # All files are checked before the first one runs.
    scenarios = [(each, _config(args, each)) for each in map(read_scenario, paths)]
    _check_outputs(args, [scenario for scenario, _ in scenarios])
    results, pipeline = [], load_pipeline(scenarios[0][1])
    for scenario, config in scenarios:
        if config.engine != pipeline.config.engine:
            pipeline = load_pipeline(config)
        pipeline = pipeline.with_config(config)
        target = args.overlay / f"{scenario.name}.mp4" if args.overlay else None
        results.append(run_scenario(pipeline, scenario, target))
        print(report(results[-1]), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(as_json(results, pipeline), indent=1) + "\n", "utf-8")
    if args.page is not None:
        write_section(args.page, SECTION, _page(results, pipeline))
    return 0 if all(result.passed for result in results) else 1


def _config(args: argparse.Namespace, scenario: Scenario) -> Config:
    # A fixed seed: the same film gives the same ids.
    settings = {"engine.checkpoint": args.checkpoint, "track.seed": 1}
    try:
        return config_from({**settings, **scenario.parameters, **settings_from(args.set)})
    except (ConfigError, OverflowError) as error:  # OverflowError: a whole number of 400 digits
        raise ScenarioError(f"{scenario.name}: parameters: {error}") from error


def _check_outputs(args: argparse.Namespace, scenarios: list[Scenario]) -> None:
    """Find out before the films run that a result could not be written."""
    if args.page is not None:
        check_page(args.page, [SECTION])
    if args.json is not None and not args.json.parent.is_dir():
        raise PerceptionError(f"--json: there is no folder {args.json.parent}.")
    if args.overlay is None:
        return
    names = [scenario.name for scenario in scenarios]
    if twice := {name for name in names if names.count(name) > 1}:
        raise PerceptionError(f"--overlay: two files are called {', '.join(twice)}.")
    args.overlay.mkdir(parents=True, exist_ok=True)
    for scenario in scenarios:
        if scenario.film.resolve() == (args.overlay / f"{scenario.name}.mp4").resolve():
            raise PerceptionError(f"{scenario.film} would be overwritten: give another --overlay.")


def report(result: ScenarioResult) -> str:
    """A scenario's verdict and those of its conditions, one line each."""
    verdict = "PASS" if result.passed else "FAIL"
    lines = [f"{result.scenario.name}: {verdict} ({result.frames} frames)"]
    for each in result.conditions:
        reason = each.condition.known_failure
        lines.append(
            f"  {each.verdict.value:<16}{each.condition.name}: {measured(each)}"
            + (f" [known failure: {reason}]" if reason else "")
        )
    return "\n".join(lines)


def measured(result: ConditionResult) -> str:
    """What was measured, and what is demanded."""
    condition = result.condition
    if math.isnan(result.measured):
        return f"never detected in {result.frames} frames"
    if condition.kind in (Kind.MAX_IDS, Kind.MAX_ID_CHANGES):
        return f"{result.measured:.0f} in {result.frames} frames (at most {condition.limit})"
    return (
        f"{100 * result.measured:.1f} % of {result.frames} frames "
        f"(at least {100 * condition.pass_rate:g} %)"
    )


def as_json(results: list[ScenarioResult], pipeline: Pipeline) -> dict[str, Any]:
    """The results for programs."""
    return {
        "format": 1,
        "thfm_ros": __version__,
        "checkpoint": pipeline.engine.card.name,
        "engine": pipeline.engine.description,
        "scenarios": [
            {
                "name": result.scenario.name,
                "passed": result.passed,
                "frames": result.frames,
                "conditions": [_condition_json(each) for each in result.conditions],
            }
            for result in results
        ],
    }


def _condition_json(result: ConditionResult) -> dict[str, Any]:
    demanded = {key: value for key, value in asdict(result.condition).items() if _is_set(value)}
    measured = None if math.isnan(result.measured) else result.measured
    return {
        **demanded,
        "verdict": result.verdict.value,
        "measured": measured,
        "frames": result.frames,
    }


def _is_set(value: Any) -> bool:
    return value not in ("", (), math.inf)


def _page(results: list[ScenarioResult], pipeline: Pipeline) -> str:
    rows = [
        (result.scenario.name, _escaped(each.condition), measured(each), each.verdict.value)
        for result in results
        for each in result.conditions
    ]
    passed = sum(result.passed for result in results)
    return (
        f"{passed} of {len(results)} scenarios pass; {pipeline.engine.card.name}, "
        f"{pipeline.engine.description}.\n\n"
        + group_table(("scenario", "condition", "measured", "verdict"), rows)
    )


def _escaped(condition: Condition) -> str:
    reason = f" ({condition.known_failure})" if condition.known_failure else ""
    return f"{condition.name}{reason}".replace("|", "\\|")

"""The command line: verbs, help and exit codes. Everything heavy is imported inside the verb that needs it.

Exit codes: 0 all done, 2 a command or input that cannot be used, 3 some cells failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from harness.types import ConfigError, HarnessError

PROGRAM = "python -m harness"
OK, USAGE, FAILED, INTERRUPTED = 0, 2, 3, 130

_ABOUT = """Parallax trains reference implementations of 3D-aware image generators under equal budgets and scores them
against exact ground truth.

Start here:
  {p} run suite=3d_aware tier=smoke      one minute, to see that everything works
  {p} run suite=3d_aware                 the default comparison, one seed
  {p} leaderboard suite=3d_aware         the table of everything finished
  {p} claims suite=3d_aware              which of the papers' claims hold
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors of the harness are one message on stderr."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        return _dispatch(list(sys.argv[1:] if argv is None else argv))
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command continues where this one stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _dispatch(argv: list[str]) -> int:
    if argv and argv[0] in _VERBS:
        return _VERBS[argv[0]][1](argv[1:])
    if argv and not argv[0].startswith("-"):
        from harness.naming import unknown

        raise unknown("command", argv[0], _VERBS, "command line")
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} VERB ...",
        description=_ABOUT.format(p=PROGRAM),
        epilog="verbs:\n"
        + "\n".join(f"  {verb:<12}{text}" for verb, (text, _) in _VERBS.items())
        + f"\n\n'{PROGRAM} VERB --help' says more about a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"parallax-harness {_version()}")
    parser.parse_args(argv)
    parser.print_help()
    return OK if argv else USAGE


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("parallax-harness")
    except PackageNotFoundError:
        return "unknown (not installed)"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, where=self.prog, remedy=f"'{self.prog} --help' shows the usage.")


def _parser(verb: str, about: str, words: str = "key=value", example: str = "") -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"{PROGRAM} {verb}",
        description=about,
        epilog=example and f"examples:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", metavar=words)
    return parser


def _of_words(parser: argparse.ArgumentParser, verb: str, argv: list[str]) -> int:
    """The function of ``harness.verbs`` that takes nothing but the words."""
    arguments = parser.parse_intermixed_args(argv)
    from harness import verbs

    code: int = getattr(verbs, verb)(arguments.words)
    return code


# ------------------------------------------------------------------------------------------------------- verbs
_RUN_EXAMPLES = f"""  {PROGRAM} run suite=3d_aware methods=[hologan] seeds=3 device=cuda hologan.identity_weight=0
  {PROGRAM} run suite=3d_aware methods=[hologan] hologan.train_rotation=random,none seeds=5 budget=claims
  {PROGRAM} run suite=3d_aware methods=[hologan,path/to/my_method] executor=processes workers=2

keys:
  suite=NAME          which comparison          methods=[a,b,path]   names or folders with a card.yaml
  tier=TIER           smoke micro small paper   seeds=3 or [1,5]     a count or a list
  budget=NAME|IMAGES  training images per cell  references=[...]     floor and oracle rows
  setting=NAME        where a suite has several, its first one unless named
  part=NAME           one of a suite's parts (main: its own rows); all of them unless named
  METHOD.KEY=VALUE    change a preset; several values make one variant each
  data=NAME data.options.KEY=VALUE root=DIR     other samples, or a folder of pictures
  settings.KEY=VALUE  what the protocol reads   precision=auto       auto fp32 bf16
  device=auto         auto cpu cuda cuda:1      executor=auto        auto local processes slurm ray
  workers=N threads=1 processes, threads each   rerun=failed         failed never stale score
  store=DIR cache=DIR out=DIR                   results, data sets, tables"""


def _run(argv: list[str]) -> int:
    parser = _parser("run", "Train and score every cell of a suite, then write its leaderboard.", example=_RUN_EXAMPLES)
    parser.add_argument("--dry-run", action="store_true", help="show the plan with its expected cost and stop")
    arguments = parser.parse_intermixed_args(argv)
    from harness.running import session

    return session.run(arguments.words, dry_run=arguments.dry_run)


def _plan(argv: list[str]) -> int:
    parser = _parser("plan", "Show the cells a run would work on, and what they cost.", example=_RUN_EXAMPLES)
    arguments = parser.parse_intermixed_args(argv)
    from harness.running import session

    return session.run(arguments.words, dry_run=True)


def _leaderboard(argv: list[str]) -> int:
    parser = _parser(
        "leaderboard",
        "Write metrics.csv, leaderboard.csv and leaderboard.md of everything finished, and show the table.",
        example=f"  {PROGRAM} leaderboard suite=3d_aware\n  {PROGRAM} leaderboard suite=3d_aware tier=small out=DIR\n"
        f"  {PROGRAM} leaderboard suite=3d_aware kept=results   with the archived results of that folder beside yours\n"
        f"  {PROGRAM} leaderboard suite=3d_aware price_per_hour=2.5   with money per result (on a CPU: per core-hour)",
    )
    return _of_words(parser, "leaderboard", argv)


def _claims(argv: list[str]) -> int:
    parser = _parser(
        "claims",
        "Judge the papers' claims from everything finished: claims.csv and claims.md, verdicts by paired seeds.",
        example=f"  {PROGRAM} claims\n  {PROGRAM} claims suite=3d_aware tier=micro out=DIR\n"
        f"  {PROGRAM} claims suite=3d_aware kept=results   with the archived results of that folder beside yours",
    )
    return _of_words(parser, "claims", argv)


_VERIFY_EXAMPLES = f"""  {PROGRAM} verify results
  {PROGRAM} verify results suite=segmentation methods=[fst] limit=1   one cell of one method
  {PROGRAM} verify results limit=0                    tables only, which needs neither store nor torch

Cells without predictions in the store are listed and not counted as errors. Exit code 3: something differs.

keys:
  suite=NAME tier=TIER      which tables; all below the folder unless named
  methods=[a,b] limit=N     which cells are scored again: at most N of each method, in the order of their keys
  store=DIR cache=DIR       results with predictions, data sets and judges"""


def _verify(argv: list[str]) -> int:
    parser = _parser(
        "verify",
        "Make committed tables anew from their archives and score kept predictions anew, and compare with what stands "
        "in the tables, bit for bit. The store is only read.",
        words="FOLDER|key=value",
        example=_VERIFY_EXAMPLES,
    )
    return _of_words(parser, "verify", argv)


def _report(argv: list[str]) -> int:
    parser = _parser(
        "report",
        "Write one self-contained HTML page of everything in the store: tables, verdicts, plots, pictures, failures.",
        example=f"  {PROGRAM} report                          every suite that has cells, to STORE/report.html\n"
        f"  {PROGRAM} report suite=3d_aware out=page.html\n"
        f"  {PROGRAM} report kept=results out=page.html   with the archived results of that folder beside yours\n\n"
        "keys:\n"
        "  suite=NAME  one suite      tier=TIER  smoke micro small paper     store=DIR  the cells\n"
        "  kept=DIR    tables that earlier commands left                     out=FILE   the page to write",
    )
    return _of_words(parser, "report", argv)


def _list(argv: list[str]) -> int:
    parser = _parser("list", "List methods, suites and protocols.", words="methods|suites|protocols")
    return _of_words(parser, "listing", argv)


def _data(argv: list[str]) -> int:
    parser = _parser(
        "data",
        "Build, verify, preview or export the samples of a suite, or check by finished trainings that they are neither "
        "too easy nor too hard (calibrate); the keys are those of 'run'.",
        words="build|verify|preview|export|calibrate key=value",
        example=f"  {PROGRAM} data build suite=3d_aware workers=2\n"
        f"  {PROGRAM} data preview suite=3d_aware tier=smoke data.options.prior=ring out=sheet.png\n"
        f"  {PROGRAM} data export suite=anomaly out=DIR   train and test as folders of images in MVTec-AD's layout\n"
        f"  {PROGRAM} data export suite=segmentation setting=ssl out=DIR   all splits in Cityscapes' layout\n"
        f"  {PROGRAM} data export suite=3d_aware part=rooms out=DIR   pictures beside 16-bit depth maps\n"
        f"  {PROGRAM} data calibrate suite=segmentation   calibration.json from finished cells",
    )
    parser.add_argument("--full", action="store_true", help="verify: also render anew and compare")
    arguments = parser.parse_intermixed_args(argv)
    from harness.data_verbs import data

    return data(arguments.words, arguments.full)


def _check(argv: list[str]) -> int:
    parser = _parser("check", "Run the conformance tests on method folders.", words="FOLDER|NAME")
    arguments = parser.parse_intermixed_args(argv)
    from harness.conformance import report

    return report(arguments.words)


_SCORE_EXAMPLES = """  {p} score generation real=DIR fake=DIR features=pixels
  {p} score anomaly maps=DIR root=DIR size=256 smoothing=4 out=DIR
  {p} score segmentation pred=DIR target=DIR classes=19 names=cityscapes out=DIR

keys of anomaly:
  maps=DIR            CATEGORY/test/DEFECT/NAME.npy (or .tif, .tiff) for every test image, 'test' may be left out
  root=DIR            images and masks in MVTec-AD's layout; only=first+second keeps some categories
  size=PIXELS         side at which maps (bilinear) and masks (nearest) meet; default: each mask's own size
  smoothing=0         standard deviation of a Gaussian over the maps, in pixels at that size
  connectivity=8      8 4: neighbours that join a region
  score=max           max pooled_max mean topk std: how a map becomes the image's score
  out=DIR             scores.csv and scores.json

keys of segmentation:
  pred=DIR target=DIR PNG files of one class number per pixel (grey or palette), paired by path or Cityscapes name
  classes=19          number of classes; ignore=255 is the label of the truth that counts nowhere
  subset=16           16 13: mean over SYNTHIA's part of the 19 classes; missing=row|ignore: truth outside it
                      still makes false positives (default), or is left out
  absent=skip         skip zero: classes in neither truth nor prediction
  names=cityscapes    cityscapes voc, or names joined by +
  ids=labelTrainIds   labelIds: the truth holds Cityscapes' own numbers
  out=DIR             scores.csv and scores.json (with the confusion matrix)"""


def _score(argv: list[str]) -> int:
    parser = _parser(
        "score",
        "Score samples, anomaly maps or label maps you already have, without training.",
        words="generation|anomaly|segmentation key=value",
        example=_SCORE_EXAMPLES.format(p=PROGRAM),
    )
    return _of_words(parser, "score", argv)


def _replay(argv: list[str]) -> int:
    parser = _parser(
        "replay",
        "Repeat the failing step of a failed cell, and say which operation gave the first NaN or infinity.",
        words="CELL|BUNDLE",
        example=f"  {PROGRAM} replay 4921655c\n  {PROGRAM} replay results/runs/4921655c.../failure",
    )
    return _of_words(parser, "replay", argv)


_PROFILE_EXAMPLES = """  {p} profile tier=smoke device=cpu
  {p} profile methods=[stylegan2,hologan] tier=small precision=bf16 batch=64 trace=traces
  {p} profile suite=anomaly compile=true out=results
  {p} profile methods=[stylegan2] stylegan2.modulation=scaled,grouped

keys:
  suite=throughput    every method, or those of one suite       setting=NAME    of a suite that has several
  methods=[a,b,path]  only these                                tier=micro      smoke micro small paper
  METHOD.KEY=VALUE    change a preset, as in run                batch=N         instead of the preset's
  device=auto         auto cpu cuda cuda:1                      precision=auto  auto fp32 tf32 bf16
  compile=false       torch.compile the modules of the step     threads=N       CPU: instead of one and all
  resolution=PIXELS   made-up pictures of that side             data=NAME root=DIR  as in run
  at=0.75             share of the schedule to begin at         seconds=S       wall time of each measurement
  deterministic=true  kernels as in run                         largest=true    search the largest batch (CUDA)
  trace=DIR           Chrome traces of training steps
  store=DIR cache=DIR out=DIR                                   results, data sets, tables"""


def _profile(argv: list[str]) -> int:
    parser = _parser(
        "profile",
        "Measure training step and inference of every method: rates, phases, memory, work, energy.",
        example=_PROFILE_EXAMPLES.format(p=PROGRAM),
    )
    parser.add_argument("--tables-only", action="store_true", help="write the tables of earlier measurements and stop")
    arguments = parser.parse_intermixed_args(argv)
    from harness.running.profiling import session

    return session.run(arguments.words, tables_only=arguments.tables_only)


_VERBS: dict[str, tuple[str, Callable[[list[str]], int]]] = {
    "run": ("train and score a suite, then write its leaderboard", _run),
    "plan": ("the cells of a run and their cost, without running", _plan),
    "leaderboard": ("write and show the tables of everything finished", _leaderboard),
    "claims": ("judge the papers' claims from everything finished", _claims),
    "verify": ("compare committed tables with archives and kept predictions", _verify),
    "report": ("one HTML page of everything in the store", _report),
    "profile": ("speed, memory and cost of every method", _profile),
    "list": ("methods, suites and protocols", _list),
    "data": ("build, verify, preview, export or calibrate the samples of a suite", _data),
    "check": ("conformance tests for a method folder of your own", _check),
    "score": ("score samples, anomaly maps or label maps you already have", _score),
    "replay": ("repeat the failing step of a failed cell", _replay),
}

"""``examples/demo/run``."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from .kube import CLUSTER, NAMESPACE, OPERATOR_NAMESPACE, RELEASE, Kube, cluster_environment, with_plugin
from .output import Output, StepFailed
from .steps import BUILD_SECONDS, Demo, clean, token

_DESCRIPTION = """\
A snapshot and a rollback of a running application on a local cluster: brings the cluster up, installs the operator,
starts a shop whose customers keep writing, takes a snapshot, destroys data, rolls back and checks that all data is
back. Then it makes a neutralised staging environment from the snapshot, undoes the rollback, and takes a snapshot and
rolls back over REST. Can be repeated.

The first run builds a Kubernetes and six images beside each other. Skipped are the images that the demo does not run:
PostgreSQL 15, its mover and the image of `kubectl ocore`; `localcluster/cluster images` builds them. Skipped as well: a
second node, CloudNativePG, other versions of Kubernetes (docs/local-cluster.md).

OCORE_CLUSTER names the cluster (default: ocore), CLUSTER=kind uses kind. Details: docs/demo.md."""

#: What the demo runs: its manifests, the chart with the REST facade, and Jobs for PostgreSQL 17. No others are built.
IMAGES = ("postgres:17", "s3:dev", "mover:17", "operator:dev", "api:dev", "demo:dev")

#: Headings of a run.
STEPS = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: all data is back. 1: a step failed; the output names commands that show details. 130:
    interrupted."""
    parser = argparse.ArgumentParser(
        prog="examples/demo/run", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ci", action="store_true", help="plain lines: no colours, nothing redrawn")
    parser.add_argument("--clean", action="store_true", help="remove the demo and the operator from the cluster")
    parser.add_argument("--token", action="store_true", help="print a token for the page and the REST API of the demo")
    options = parser.parse_args(arguments)
    output = Output(ci=options.ci, steps=2 if options.clean else STEPS)
    kube: Kube | None = None
    try:
        if options.token:
            _print_token(output)
            return 0
        if options.clean:
            env = cluster_environment()
            if env is None:
                output.say("No cluster is running: there is nothing to remove.")
                return 0
            clean(output, Kube(env, plain=True))
            return 0
        kube = _cluster(output)
        _story(output, Demo(output, kube))
    except StepFailed as failure:
        _explain(output, failure, kube)
        return 1
    except KeyboardInterrupt:
        output.say("\ninterrupted; run it again to continue", "yellow")
        return 130
    return 0


def _print_token(output: Output) -> None:
    env = cluster_environment()
    if env is None:
        raise StepFailed("no cluster is running: run `make demo` first")
    output.say(token(Kube(env, plain=True)))


def _cluster(output: Output) -> Kube:
    output.heading("A Kubernetes on this machine, and the images")
    # Making an image keeps one processor busy at a time, and waits for the network in between.
    beside, then = (("up",), ("digests", *IMAGES)), ("images", *IMAGES)
    output.say(" & ".join(f"localcluster/cluster {' '.join(command)}" for command in beside))
    builder = Kube(dict(os.environ), plain=not output.live)
    failed = builder.show_beside(*((str(CLUSTER), *command) for command in beside), timeout=BUILD_SECONDS)
    if failed is None:
        output.say(f"localcluster/cluster {' '.join(then)}")
        command = (str(CLUSTER), *then)
        failed = command if builder.show(*command, timeout=BUILD_SECONDS) != 0 else None
    if failed is not None:
        raise StepFailed(f"localcluster/cluster {failed[1]} failed; see above", "localcluster/cluster status")
    env = cluster_environment()
    if env is None:
        raise StepFailed("the cluster is up, but `localcluster/cluster env` fails", "localcluster/cluster env")
    return Kube(with_plugin(env), plain=not output.live)


def _story(output: Output, demo: Demo) -> None:
    output.heading("The operator")
    demo.operator()
    output.heading("The application: PostgreSQL, an S3 store, a shop")
    demo.application()
    output.heading("Customers place orders with attachments and delete drafts; garbage is collected")
    demo.load()
    output.heading("A snapshot, while the customers continue")
    mark = demo.snapshot()
    output.heading("Something goes wrong")
    demo.damage(mark)
    output.heading("A rollback to the snapshot")
    demo.rollback()
    output.heading("Is everything back?")
    demo.check(mark)
    output.heading("A staging environment from production's snapshot, neutralised")
    demo.staging(mark)
    output.heading("Undo")
    demo.undo(mark)
    output.heading("The same over REST, with curl")
    demo.rest()
    output.heading("Figures")
    demo.figures()
    demo.epilogue()


def _explain(output: Output, failure: StepFailed, kube: Kube | None) -> None:
    output.say(f"\n✗ {failure}", "bold red")
    if kube is not None:
        _print_surroundings(output, kube)
    if failure.look_at:
        output.say('\nCommands that show details (after `eval "$(localcluster/cluster env)"`):')
        for command in failure.look_at:
            output.say(f"  {command}")
    output.say("\nNothing was removed: run it again to continue, or `make demo-clean` to remove it.")


def _print_surroundings(output: Output, kube: Kube) -> None:
    """Prints pods, the latest events and the operator's last log lines. Best effort: the failure itself is printed
    already."""
    for command in (
        ("kubectl", "-n", NAMESPACE, "get", "pods,jobs,oenv,ostore,osnap,orb"),
        ("kubectl", "-n", NAMESPACE, "events", "--types=Warning"),
        ("kubectl", "-n", OPERATOR_NAMESPACE, "logs", "-l", f"app.kubernetes.io/instance={RELEASE}", "--tail=10"),
    ):
        output.say(f"\n$ {' '.join(command)}", "dim")
        try:
            done = subprocess.run(command, env=kube.env, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            output.say(str(error))
        else:
            output.say("\n".join((done.stdout + done.stderr).splitlines()[-15:]))


if __name__ == "__main__":
    sys.exit(main())

"""Slots: limits hold, namespaces take turns, the one that has waited longest goes first, and what is urgent never
waits."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.commands.base import LimitsClass
from ocore_kube.errors import ApiError, Forbidden, Unavailable
from ocore_operator.context import Context
from ocore_operator.errors import Waiting
from ocore_operator.jobs.slots import running
from ocore_operator.jobs.slots import slots as slots_module
from ocore_operator.jobs.slots.running import COUNT, SEEN, RunningJobs, job_class
from ocore_operator.jobs.slots.slots import Slots, owner_of
from ocore_operator.kube.resources import Key, Object
from ocore_operator.settings import Settings
from support.operator.catalogs import new_catalog
from support.operator.objects import OTHER_UID, at, controller, job, snapshot_object

MANY = 100


NAMESPACES = ("shop", "other", "third")


class Jobs:
    """Stands for the API server's Jobs: nothing else of it is asked here."""

    def __init__(self) -> None:
        self.there: list[Object] = []
        self.refused: dict[str, ApiError] = {}
        self.unreadable: dict[str, ApiError] = {}
        self.read: list[str] = []
        self.listed: list[str] = []
        self.time = 0.0

    def slots(self, total: int, per_namespace: int) -> Slots:
        """Slots with this clock."""
        return Slots(total, per_namespace, now=lambda: self.time)

    def end(self, slots: Slots, *ended: Object) -> None:
        """They are deleted (none: all), and the watch says so."""
        for each in ended or tuple(self.there):
            self.there.remove(each)
            slots.changed(each, deleted=True)

    def put(self, slots: Slots, made: Object) -> None:
        """Another one made it, and the watch says so."""
        self.there.append(made)
        slots.changed(made, deleted=False)

    async def metadata(self, _: Any, namespace: str, *, labels: str, keep: Callable[[Object], bool]) -> list[Object]:
        assert labels == "app.kubernetes.io/managed-by=ocore-snapshots"
        self.listed.append(namespace)
        if namespace in self.refused:
            raise self.refused[namespace]
        found = [{"metadata": j["metadata"]} for j in self.there if j["metadata"]["namespace"] == namespace]
        return [j for j in found if keep(j)]

    async def get(self, _: Any, namespace: str, name: str) -> Object | None:
        self.read.append(name)
        if namespace in self.unreadable:
            raise self.unreadable[namespace]
        found = [j for j in self.there if (j["metadata"]["namespace"], j["metadata"]["name"]) == (namespace, name)]
        return found[0] if found else None


def context(jobs: Jobs) -> Context:
    class Fake:
        kube = jobs
        catalog = new_catalog()
        settings = Settings(namespaces=NAMESPACES)

    for namespace in NAMESPACES:
        Fake.catalog.put("Snapshot", snapshot_object(namespace=namespace))
    return cast(Context, Fake())


def new(number: int, command: str = "snapshot", store: str = "store", namespace: str = "shop") -> Object:
    made = job(f"{command}-{number}", command)
    made["metadata"]["labels"]["ocore.dev/store"] = store
    made["metadata"]["namespace"] = namespace
    return made


def with_uid(uid: str) -> Object:
    """The first Job, of that uid."""
    made = new(1)
    made["metadata"]["uid"] = uid
    return made


def counted(jobs: list[Object], class_: LimitsClass) -> int:
    """How many of these Jobs take a slot of the class."""
    found = RunningJobs(MANY, MANY, MANY)
    for each in jobs:
        found.changed(each, deleted=False)
    return found.load(class_).total(MANY)


async def ask(slots: Slots, jobs: Jobs, wanted: Object, since: float) -> bool:
    """Whether the Job may start; it exists then."""
    try:
        async with slots.slot(context(jobs), wanted, at(since)) as started:
            jobs.there.append(wanted)
            started(wanted)
    except Waiting:
        return False
    return True


@given(st.integers(1, 5), st.lists(st.sampled_from(["snapshot", "extract", "verify"]), max_size=12))
def test_the_limit_holds(total: int, commands: list[str]) -> None:
    async def main() -> None:
        slots, jobs = Slots(total, MANY), Jobs()
        for number, command in enumerate(commands):
            await ask(slots, jobs, new(number, command), number)
        assert len(jobs.there) == counted(jobs.there, "heavy") == min(total, len(commands))

    asyncio.run(main())


def test_a_store_has_a_limit_of_its_own() -> None:
    async def main() -> None:
        slots, jobs = Slots(10, MANY), Jobs()
        slots.set_store("shop", "small", 1)
        assert await ask(slots, jobs, new(1, store="small"), 1)
        assert not await ask(slots, jobs, new(2, store="small"), 2)
        assert await ask(slots, jobs, new(3, store="large"), 3)
        assert slots.waiting() == 1

    asyncio.run(main())


def test_the_oldest_goes_first() -> None:
    async def main() -> None:
        slots, jobs = Slots(1, MANY), Jobs()
        first = new(1)
        assert await ask(slots, jobs, first, 1)
        assert not await ask(slots, jobs, new(2), 2)
        assert not await ask(slots, jobs, new(3), 3)
        jobs.end(slots, first)
        assert not await ask(slots, jobs, new(3), 3)
        assert await ask(slots, jobs, new(2), 2)

    asyncio.run(main())


def test_a_waiter_for_a_full_store_does_not_delay_others() -> None:
    async def main() -> None:
        slots, jobs = Slots(2, MANY), Jobs()
        slots.set_store("shop", "small", 1)
        assert await ask(slots, jobs, new(1, store="small"), 1)
        assert not await ask(slots, jobs, new(2, store="small"), 2)
        assert await ask(slots, jobs, new(3, store="large"), 3)

    asyncio.run(main())


@pytest.mark.parametrize("command", ["switch", "cleanup"])
def test_what_is_urgent_never_waits(command: str) -> None:
    async def main() -> None:
        slots, jobs = Slots(1, MANY), Jobs()
        assert await ask(slots, jobs, new(1), 1)
        assert await ask(slots, jobs, new(2, "probe"), 1)
        assert not await ask(slots, jobs, new(3, "probe"), 2)
        assert await ask(slots, jobs, new(4, command), 3)

    asyncio.run(main())


def test_who_has_given_up_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "WAITER_PAUSES", -1)

    async def main() -> None:
        slots, jobs = Slots(1, MANY), Jobs()
        first = new(1)
        assert await ask(slots, jobs, first, 1)
        assert not await ask(slots, jobs, new(2), 2)
        jobs.end(slots, first)
        assert await ask(slots, jobs, new(3), 3)

    asyncio.run(main())


def test_jobs_that_are_over_do_not_count() -> None:
    jobs = [job("a", condition="Complete"), job("b", condition="Failed"), job("c"), job("d", "probe")]
    assert counted(jobs, "heavy") == 1


def test_whom_a_job_works_for() -> None:
    assert owner_of(job("a")) == Key("Snapshot", "shop", "before")


def test_a_namespace_has_a_limit_of_its_own() -> None:
    async def main() -> None:
        slots, jobs = Slots(10, 2), Jobs()
        assert await ask(slots, jobs, new(1), 1)
        assert await ask(slots, jobs, new(2), 2)
        with pytest.raises(
            Waiting, match=r"Namespace shop has 2 running Jobs.*OCORE_MAX_CONCURRENT_JOBS_PER_NAMESPACE"
        ):
            async with slots.slot(context(jobs), new(3), at(3)):
                pass
        assert await ask(slots, jobs, new(4, namespace="other"), 4)
        assert await ask(slots, jobs, new(5, "probe"), 5), "probes have a pool of their own"
        jobs.end(slots, jobs.there[0])
        assert await ask(slots, jobs, new(3), 3)

    asyncio.run(main())


def test_namespaces_take_turns() -> None:
    """One that asks for a hundred Jobs does not delay those that ask for one."""

    async def main() -> None:
        slots, jobs = Slots(1, MANY), Jobs()
        assert await ask(slots, jobs, new(0), 0)
        waiting = {n: new(n) for n in (1, 2, 3)}
        waiting |= {4: new(4, namespace="other"), 5: new(5, namespace="other"), 6: new(6, namespace="third")}
        order = []
        while waiting:
            for number, wanted in waiting.items():
                assert not await ask(slots, jobs, wanted, number)
            jobs.end(slots)
            granted = [n for n, wanted in waiting.items() if await ask(slots, jobs, wanted, n)]
            assert len(granted) == 1
            del waiting[granted[0]]
            order += granted
        assert order == [4, 6, 1, 5, 2, 3]

    asyncio.run(main())


def test_a_waiter_for_a_full_namespace_does_not_delay_others() -> None:
    async def main() -> None:
        slots, jobs = Slots(2, 1), Jobs()
        assert await ask(slots, jobs, new(1), 1)
        assert not await ask(slots, jobs, new(2), 2)
        assert await ask(slots, jobs, new(3, namespace="other"), 3)

    asyncio.run(main())


@pytest.mark.parametrize("command", ["probe", "probe-store", "inspect"])
@pytest.mark.parametrize("others", ["snapshot", "delete"])
def test_probes_and_inspections_do_not_wait_for_snapshots_and_deletions(command: str, others: str) -> None:
    async def main() -> None:
        slots, jobs = Slots(1, 1), Jobs()
        assert await ask(slots, jobs, new(1, others), 1)
        assert not await ask(slots, jobs, new(2, others), 2)
        assert await ask(slots, jobs, new(3, command), 3)
        assert await ask(slots, jobs, new(4, "verify", namespace="other"), 4) == (others == "delete")

    asyncio.run(main())


def forged(number: int, **metadata: object) -> Object:
    made = new(number)
    made["metadata"].update(metadata)
    return made


@pytest.mark.parametrize(
    "reference",
    [
        [],
        [controller("Snapshot", "before", OTHER_UID)],
        [controller("Snapshot", "none", OTHER_UID)],
        [controller("Job", "before", OTHER_UID)],
    ],
)
def test_jobs_with_forged_labels_take_no_slot(reference: list[Object]) -> None:
    async def main() -> None:
        slots, jobs = Slots(1, 1), Jobs()
        jobs.there = [forged(n, ownerReferences=reference) for n in range(10)]
        jobs.there += [forged(n, ownerReferences=reference, namespace="other") for n in range(10)]
        assert await ask(slots, jobs, new(20), 1)

    asyncio.run(main())


def test_a_namespace_takes_no_more_than_its_share_whatever_is_in_it() -> None:
    """A tenant can name an object of its own as the owner of a Job. That takes its own slots only."""

    async def main() -> None:
        slots, jobs = Slots(4, 2), Jobs()
        jobs.there = [new(n) for n in range(10)]
        assert "Namespace shop has 10 running Jobs. Its limit is 2" in await refusal(slots, jobs, new(20))
        assert await ask(slots, jobs, new(21, namespace="other"), 2)

    asyncio.run(main())


def test_a_namespace_that_cannot_be_read_does_not_stop_the_others() -> None:
    async def main() -> None:
        slots, jobs = Slots(4, 2), Jobs()
        jobs.refused["shop"] = Forbidden(403, "Forbidden", "no Role")
        assert await ask(slots, jobs, new(1, namespace="other"), 1)
        with pytest.raises(Forbidden):
            await ask(slots, jobs, new(2), 2)
        jobs.refused["shop"] = Unavailable(0, "NoAnswer", "no answer")
        with pytest.raises(Unavailable):
            await ask(slots, jobs, new(3, namespace="other"), 3)

    asyncio.run(main())


def test_the_namespaces_after_one_that_cannot_be_read_are_listed() -> None:
    async def main() -> None:
        slots, jobs = Slots(4, 1), Jobs()
        jobs.refused["shop"] = Forbidden(403, "Forbidden", "no Role")
        jobs.there = [new(1, namespace="other")]
        assert not await ask(slots, jobs, new(2, namespace="other"), 1)

    asyncio.run(main())


def test_a_namespace_that_can_be_read_again_is_listed() -> None:
    """Those before it were listed a second ago."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(2, 2)
        jobs.refused["third"] = Forbidden(403, "Forbidden", "no Role")
        assert await ask(slots, jobs, new(1), 1)
        jobs.refused.clear()
        jobs.there.append(new(2, namespace="third"))
        jobs.time = 1.0
        assert not await ask(slots, jobs, new(3), 2)

    asyncio.run(main())


def test_jobs_that_cannot_be_read_any_more_take_no_slot_of_another_namespace() -> None:
    """The Role of that namespace was removed."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(1, 1)
        jobs.there = [new(1, namespace="other")]
        jobs.unreadable["other"] = Forbidden(403, "Forbidden", "no Role")
        assert await ask(slots, jobs, new(2), 1)
        slots.changed(jobs.there[0], deleted=False)
        jobs.time = SEEN
        with pytest.raises(Forbidden):
            await ask(slots, jobs, new(3, namespace="other"), 2)

    asyncio.run(main())


def test_row_78_what_a_tenant_has_with_our_labels_is_never_read() -> None:
    """100 Jobs of 1.2 MB were read at each request for a slot."""

    async def main() -> None:
        jobs = Jobs()
        jobs.there = [forged(n, ownerReferences=[]) for n in range(100, 200)]
        assert await ask(Slots(10, 3), jobs, new(1), 1)
        assert jobs.read == []
        # Of those that name an object of the tenant as their owner, no more than count.
        jobs.there += [new(n) for n in range(2, 50)]
        assert not await ask(Slots(10, 3), jobs, new(50), 2)
        assert len(jobs.read) == 3

    asyncio.run(main())


def test_a_job_that_has_ended_is_read_once() -> None:
    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(10, 2)
        ended = [new(n) for n in range(5)]
        for each in ended:
            each["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        jobs.there = [*ended, new(7)]
        assert await ask(slots, jobs, new(8), 1)
        assert len(jobs.read) == 6
        assert not await ask(slots, jobs, new(9), 2)
        assert len(jobs.read) == 6
        jobs.time = SEEN
        assert not await ask(slots, jobs, new(9), 2)
        assert len(jobs.read) == 8  # those that run, again
        jobs.time = COUNT
        assert not await ask(slots, jobs, new(9), 2)
        assert len(jobs.read) == 10  # the list has those that have ended, too

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "command", "expected"),
    [
        ("Rollback", "inspect", "free"),
        ("Environment", "inspect", "light"),
        ("SnapshotStore", "inspect", "light"),
        ("Rollback", "restore", "rollback"),
        ("Rollback", "delete", "background"),
        ("Rollback", "switch", "free"),
    ],
)
def test_the_inspection_of_a_rollback_never_waits(kind: str, command: str, expected: str) -> None:
    """Its environment is stopped. The rollback's restore has a limit as any other one."""
    made = new(1, command)
    made["metadata"]["labels"]["ocore.dev/kind"] = kind
    assert job_class(made) == expected


def test_other_jobs_with_our_label_are_not_counted() -> None:
    foreign, unlabelled = job("a", "migrate"), job("b")
    unlabelled["metadata"]["labels"] = None
    deletion = job("c", "delete")

    async def main() -> None:
        slots, jobs = Slots(1, 1), Jobs()
        jobs.there = [foreign, unlabelled, deletion, job("d", "probe")]
        assert await ask(slots, jobs, new(1), 1)
        assert jobs.read == [], "a Job of another class is not read either"
        assert not await ask(slots, jobs, new(2), 2)

    asyncio.run(main())
    assert counted([foreign, unlabelled, deletion, job("d", "probe"), job("e")], "heavy") == 1


def test_a_job_that_was_deleted_in_the_meantime_takes_no_slot() -> None:
    class Gone(Jobs):
        async def get(self, _: Any, namespace: str, name: str) -> Object | None:
            return None

    async def main() -> None:
        slots, jobs = Slots(1, 1), Gone()
        jobs.there = [new(1)]
        assert await ask(slots, jobs, new(2), 1)

    asyncio.run(main())


def with_end(number: int) -> Object:
    made = new(number)
    made["metadata"]["uid"] = f"uid-{number}"
    made["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    return made


def test_jobs_that_run_are_found_behind_those_that_have_ended() -> None:
    async def main() -> None:
        slots, jobs = Slots(10, 3), Jobs()
        jobs.there = [with_end(1), new(2), new(3), new(4)]
        assert not await ask(slots, jobs, new(5), 1)
        assert jobs.read == ["snapshot-1", "snapshot-2", "snapshot-3", "snapshot-4"]

    asyncio.run(main())


def test_of_many_ended_jobs_the_first_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "ENDED", 2)

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(10, 1)
        jobs.there = [with_end(1), with_end(2), with_end(3)]
        assert await ask(slots, jobs, new(4), 1)
        jobs.there.pop()
        jobs.read.clear()
        jobs.time = COUNT
        assert await ask(slots, jobs, new(5), 2)
        assert jobs.read == ["snapshot-1"]

    asyncio.run(main())


async def refusal(slots: Slots, jobs: Jobs, wanted: Object) -> str:
    with pytest.raises(Waiting) as raised:
        async with slots.slot(context(jobs), wanted, at(9)):
            pass
    return str(raised.value)


def test_a_refusal_says_which_limit_is_reached() -> None:
    async def main() -> None:
        slots, jobs = Slots(2, MANY), Jobs()
        slots.set_store("shop", "small", 1)
        assert await ask(slots, jobs, new(1, store="small"), 1)
        assert "Store small has 1 running Jobs. Its limit is 1 (spec.maxConcurrentJobs)." in await refusal(
            slots, jobs, new(2, store="small")
        )
        assert await ask(slots, jobs, new(3), 3)
        assert not await ask(slots, jobs, new(4, namespace="other"), 4)
        for number in (5, 6):
            jobs.put(slots, new(number, "probe"))
        assert not await ask(slots, jobs, new(7, "probe"), 5)
        for number in (9, 10, 11):
            await ask(slots, jobs, new(number, "delete"), 5)
        assert "2 Jobs are running and 2 others wait." in await refusal(slots, jobs, new(8))

    asyncio.run(main())


@pytest.mark.parametrize("command", ["delete", "probe-store"])
def test_the_limit_of_a_store_is_for_what_reads_or_writes_much(command: str) -> None:
    async def main() -> None:
        slots, jobs = Slots(10, MANY), Jobs()
        slots.set_store("shop", "small", 1)
        for number in (1, 2):
            assert await ask(slots, jobs, new(number, command, store="small"), number)

    asyncio.run(main())


def test_a_limit_that_is_lowered_holds_for_what_runs_already() -> None:
    async def main() -> None:
        slots, jobs = Slots(10, MANY), Jobs()
        for number in (1, 2):
            assert await ask(slots, jobs, new(number, store="small"), number)
        slots.set_store("shop", "small", 1)
        assert not await ask(slots, jobs, new(3, store="small"), 3)
        assert await ask(slots, jobs, new(4), 4)

    asyncio.run(main())


def test_more_jobs_than_the_limit_leave_no_slot() -> None:
    """Tenants have named objects of their own as the owners of Jobs."""

    async def main() -> None:
        slots, jobs = Slots(3, 2), Jobs()
        jobs.there = [new(n, namespace=name) for n, name in enumerate(("shop", "shop", "other", "other"))]
        assert not await ask(slots, jobs, new(5, namespace="third"), 1)

    asyncio.run(main())


@pytest.mark.parametrize("command", ["probe", "delete"])
def test_one_that_waits_for_another_class_takes_no_slot(command: str) -> None:
    async def main() -> None:
        slots, jobs = Slots(1, 1), Jobs()
        assert await ask(slots, jobs, new(1, command), 1)
        assert not await ask(slots, jobs, new(2, command), 2)
        assert await ask(slots, jobs, new(3), 3)

    asyncio.run(main())


def test_two_free_slots_go_to_two_namespaces() -> None:
    """After a restart: no namespace has had a turn."""

    async def main() -> None:
        slots, jobs = Slots(2, 2), Jobs()
        jobs.there = [new(n, namespace="third") for n in (1, 2)]
        waiting = [new(3), new(4), new(5, namespace="other")]
        for number, wanted in enumerate(waiting):
            assert not await ask(slots, jobs, wanted, number)
        assert slots.waiters() == ()
        jobs.end(slots)
        assert slots.waiters() == (owner_of(waiting[0]), owner_of(waiting[2])), "only who is next is woken"
        assert not await ask(slots, jobs, waiting[1], 1)
        assert await ask(slots, jobs, waiting[2], 2)
        assert await ask(slots, jobs, waiting[0], 0)
        assert slots.waiters() == ()

    asyncio.run(main())


# --- what is remembered of running Jobs ----------------------------------------------------------------------------


def test_a_request_for_a_slot_lists_no_jobs_again() -> None:
    """Once a minute what neither the operator nor the watch has shown is looked for."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(3, MANY)
        for number in range(4):
            jobs.time = float(number)
            assert await ask(slots, jobs, new(number), number) == (number < 3)
        assert (jobs.listed, jobs.read) == (list(NAMESPACES), [])
        jobs.time = COUNT
        await ask(slots, jobs, new(9), 9)
        assert jobs.listed == [*NAMESPACES] * 2
        jobs.time = 3 * COUNT
        await ask(slots, jobs, new(9), 9)
        assert jobs.listed == [*NAMESPACES] * 3

    asyncio.run(main())


@pytest.mark.parametrize("command", ["snapshot", "probe", "delete"])
def test_jobs_of_the_process_before_take_slots(command: str) -> None:
    async def main() -> None:
        jobs = Jobs()
        jobs.there = [new(1, command), new(2, command)]
        slots = jobs.slots(2, MANY)
        assert not await ask(slots, jobs, new(3, command), 3)
        jobs.end(slots, jobs.there[0])
        assert await ask(slots, jobs, new(3, command), 3)

    asyncio.run(main())


@pytest.mark.parametrize("by", ["event", "list"])
def test_a_job_that_the_process_before_creates_late_takes_a_slot(by: str) -> None:
    """Its request was under way when it lost the Lease. The event may be lost, too."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(1, MANY)
        await slots._running.count(context(jobs), "shop")
        jobs.there.append(new(1))
        if by == "event":
            slots.changed(new(1), deleted=False)
        else:
            jobs.time = COUNT
        assert not await ask(slots, jobs, new(2), 2)

    asyncio.run(main())


def test_lost_events_never_let_more_jobs_run() -> None:
    """No event of a Job arrives at all."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(2, MANY)
        granted = 0
        for step in range(300):
            jobs.time = step / 3
            granted += await ask(slots, jobs, new(granted), granted)
            assert len(jobs.there) <= 2
            if step % 10 == 9 and jobs.there:
                jobs.there.pop(0)
        assert len(jobs.listed) == 2 * len(NAMESPACES)
        assert granted > 6, "those that have ended were found"

    asyncio.run(main())


def test_a_lost_end_costs_ten_seconds() -> None:
    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(1, MANY)
        assert await ask(slots, jobs, new(1), 1)
        jobs.there.clear()
        jobs.time = SEEN - 0.1
        assert not await ask(slots, jobs, new(2), 2)
        jobs.time = SEEN
        assert await ask(slots, jobs, new(2), 2)

    asyncio.run(main())


@pytest.mark.parametrize("command", ["probe", "delete"])
def test_jobs_of_another_class_hide_none_that_has_ended(command: str) -> None:
    """They have the namespace's whole share of their own class."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(1, 1)
        assert await ask(slots, jobs, new(1), 1)
        jobs.there.clear()
        jobs.time = SEEN
        assert await ask(slots, jobs, new(2, command), 2)
        assert await ask(slots, jobs, new(3), 3)
        assert jobs.read == ["snapshot-1"]

    asyncio.run(main())


@pytest.mark.parametrize("exists", [True, False])
def test_a_job_without_an_answer_takes_a_slot_until_it_is_known_not_to_exist(exists: bool) -> None:
    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(1, MANY)
        with suppress(Unavailable):
            async with slots.slot(context(jobs), new(1), at(1)):
                if exists:
                    jobs.there.append(new(1))
                raise Unavailable(0, "NoAnswer", "no answer in time")
        assert await ask(slots, jobs, new(2), 2) == (not exists)
        assert jobs.read == ["snapshot-1"]

    asyncio.run(main())


@pytest.mark.parametrize("old", ["a-uid", "old"])
def test_the_end_of_an_earlier_job_of_that_name_frees_nothing(old: str) -> None:
    """Its event comes late: the next one has the name already."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(1, MANY)
        async with slots.slot(context(jobs), with_uid("new"), at(1)) as started:
            slots.changed(with_uid(old), deleted=False)
            slots.changed(with_uid(old), deleted=True)
            jobs.there.append(with_uid("new"))
            started(with_uid("new"))
        slots.changed(with_uid(old), deleted=True)
        slots.changed(with_uid(old), deleted=False)
        assert not await ask(slots, jobs, new(2), 2)
        slots.changed(with_uid("new"), deleted=True)
        assert await ask(slots, jobs, new(2), 2)

    asyncio.run(main())


@pytest.mark.parametrize("old", ["a-uid", "old"])
def test_an_event_of_an_earlier_job_of_that_name_shows_nothing(old: str) -> None:
    """The present one has ended since it was seen, and must be read."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(1, MANY)
        assert await ask(slots, jobs, with_uid("new"), 1)
        jobs.time = SEEN
        slots.changed(with_uid(old), deleted=False)
        jobs.there.clear()
        assert await ask(slots, jobs, new(2), 2)

    asyncio.run(main())


def test_a_job_that_ends_before_its_creation_is_answered_takes_no_slot() -> None:
    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(1, MANY)
        async with slots.slot(context(jobs), new(1), at(1)) as started:
            slots.changed(with_end(1), deleted=False)
            started({**new(1), "metadata": with_end(1)["metadata"]})
        assert await ask(slots, jobs, new(2), 2)
        assert jobs.read == []

    asyncio.run(main())


@pytest.mark.parametrize("seconds", [0, 0.5])
def test_a_list_that_is_older_than_an_event_takes_nothing_away(seconds: float) -> None:
    class Late(Jobs):
        """While the list is read, the watch shows a Job that it does not have."""

        async def metadata(self, *args: Any, **options: Any) -> list[Object]:
            found = await super().metadata(*args, **options)
            if not self.there:
                self.time += seconds
                self.put(slots, new(1))
            return found

    async def main() -> None:
        assert not await ask(slots, jobs, new(2), 2)

    jobs = Late()
    slots = jobs.slots(1, MANY)
    asyncio.run(main())


def test_what_a_list_has_no_more_is_not_read() -> None:
    """Its end was seen by no event."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(1, MANY)
        assert await ask(slots, jobs, new(1), 1)
        jobs.there.clear()
        jobs.time = COUNT
        assert await ask(slots, jobs, new(2), 2)
        assert jobs.read == []

    asyncio.run(main())


def test_a_namespace_that_has_its_share_is_not_read() -> None:
    """More of its Jobs were just seen running, and there are others that were not."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(10, 2)
        jobs.there = [new(n) for n in (1, 2)]
        await slots._running.count(context(jobs), "shop")
        for number in (3, 4, 5):
            jobs.put(slots, new(number))
        jobs.unreadable["shop"] = Unavailable(0, "NoAnswer", "no answer in time")
        assert not await ask(slots, jobs, new(6), 6)

    asyncio.run(main())


def test_a_namespace_with_too_many_jobs_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant can name an object of its own as the owner of any number of Jobs."""
    monkeypatch.setattr(running, "MOST", 5)

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(4, 2)
        jobs.there = [new(n) for n in range(100)]
        assert not await ask(slots, jobs, new(200), 1)
        assert sum(len(found) for found in slots._running._jobs.values()) == 5
        assert await ask(slots, jobs, new(201, namespace="other"), 2)
        jobs.end(slots, *jobs.there[:100])
        assert not await ask(slots, jobs, new(200), 1)
        jobs.time = COUNT
        assert await ask(slots, jobs, new(200), 1)

    asyncio.run(main())


def test_a_namespace_stays_full_while_one_more_is_created(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "MOST", 1)
    found = RunningJobs(2, MANY, MANY)
    found.changed(new(1), deleted=False)
    with found.starting(new(2)):
        pass
    found.changed(new(3), deleted=False)
    assert set(found._jobs["shop"]) == {"snapshot-1", "snapshot-2"}
    assert found._full == {"shop"}


# --- pods that do not run --------------------------------------------------------------------------------------------


def of_operation(made: Object) -> Object:
    made["metadata"]["annotations"]["ocore.dev/of-operation"] = "true"
    return made


def run(slots: Slots, *made: Object, ready: int = 1) -> None:
    """Their pods run (or not any more), and the watch says so."""
    for each in made:
        each["status"]["ready"] = ready
        slots.changed(each, deleted=False)


async def fill(slots: Slots, jobs: Jobs, command: str, *namespaces: str) -> list[Object]:
    """Each namespace asks for twelve Jobs whose pods have no node, but for those that exist. What was created."""
    there = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in jobs.there}
    wanted = [new(100 + n, command, namespace=ns) for n in range(12) for ns in namespaces]
    asking = [x for x in wanted if (x["metadata"]["namespace"], x["metadata"]["name"]) not in there]
    return [each for n, each in enumerate(asking) if await ask(slots, jobs, each, n)]


@pytest.mark.parametrize(("command", "patience"), [("probe", 30), ("snapshot", 180), ("preview", 30), ("restore", 180)])
def test_row_124_pods_that_do_not_run_give_their_slots_back(command: str, patience: float) -> None:
    """Two namespaces, an impossible nodeSelector and a start deadline of an hour."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(10, 5)
        assert len(await fill(slots, jobs, command, "shop", "other")) == 10
        jobs.time = patience - 1
        assert not await ask(slots, jobs, new(99, command, namespace="third"), 99)
        jobs.time = patience
        assert await ask(slots, jobs, new(99, command, namespace="third"), 99)

    asyncio.run(main())


def test_row_124_the_pods_that_wait_have_a_limit_in_each_namespace() -> None:
    """Thousands of Environments in one namespace whose image cannot be pulled."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(10, 5)
        created = []
        for turn in range(20):
            jobs.time = turn * 31.0
            created += await fill(slots, jobs, "probe", "shop")
        assert len(created) == 10, "five at once, then five more"
        assert "has 10 Jobs whose pods do not run. Its limit is 10" in await refusal(slots, jobs, new(0, "probe"))
        assert await ask(slots, jobs, new(1, "probe", namespace="other"), 1)
        jobs.end(slots, created[0])
        assert await fill(slots, jobs, "probe", "shop")

    asyncio.run(main())


def test_row_124_pods_that_start_late_take_slots_again() -> None:
    """The limit may be exceeded then, by those that waited. Nothing else starts before fewer run."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(4, 2)
        late = await fill(slots, jobs, "probe", "shop", "other")
        assert len(late) == 4
        jobs.time = 30.0
        others = [new(n, "probe", namespace="third") for n in (1, 2)]
        for each in others:
            assert await ask(slots, jobs, each, 1)
        run(slots, *others, *late)
        jobs.end(slots, others[0], late[0])
        assert not await fill(slots, jobs, "probe", "shop", "third"), "four run, and that is the limit"
        jobs.end(slots, late[1])
        assert len(await fill(slots, jobs, "probe", "shop", "third")) == 1

    asyncio.run(main())


def test_row_124_what_runs_keeps_its_slot() -> None:
    """Also where its container is started again, for a short time."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(1, 1)
        made = new(1, "probe")
        assert await ask(slots, jobs, made, 1)
        run(slots, made)
        wanted = new(2, "probe", namespace="other")
        for jobs.time in (29.0, 31.0, 3600.0):
            assert not await ask(slots, jobs, wanted, 2)
        run(slots, made, ready=0)
        jobs.time += 29
        assert not await ask(slots, jobs, wanted, 2)
        jobs.time += 1
        assert await ask(slots, jobs, wanted, 2)

    asyncio.run(main())


def test_row_124_the_end_of_the_applications_container_gives_no_slot_back() -> None:
    """The pod of neutralize is not ready from then on, and its other container still works on the database."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(1, 1)
        made, wanted = new(1, "neutralize"), new(2, "neutralize", namespace="other")
        assert await ask(slots, jobs, made, 1)
        run(slots, made)
        run(slots, made, ready=0)
        jobs.time = 3600.0
        assert not await ask(slots, jobs, wanted, 2)
        jobs.end(slots, made)
        assert await ask(slots, jobs, wanted, 2)

    asyncio.run(main())


def test_row_124_jobs_of_the_process_before_are_read_before_they_lose_their_slots() -> None:
    """A list of metadata does not show whether their pods run."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(2, 2)
        jobs.there = [new(1, "probe"), new(2, "probe")]
        jobs.there[0]["status"]["ready"] = 1
        for jobs.time in (0.0, 29.0):
            assert not await ask(slots, jobs, new(3, "probe", namespace="other"), 3)
        jobs.time = 40.0
        assert await ask(slots, jobs, new(3, "probe", namespace="other"), 3)
        assert not await ask(slots, jobs, new(4, "probe", namespace="third"), 4)

    asyncio.run(main())


@pytest.mark.parametrize("others", ["probe", "snapshot", "verify", "delete"])
def test_row_124_what_a_rollback_needs_has_slots_of_its_own(others: str) -> None:
    """Whatever runs in other namespaces, or in its own one."""

    async def main() -> None:
        slots, jobs = Slots(2, 2), Jobs()
        for namespace in ("other", "third"):
            for number in (1, 2):
                await ask(slots, jobs, new(number, others, namespace=namespace), 1)
        for number, command in enumerate(("probe", "preview", "restore", "snapshot")):
            assert await ask(slots, jobs, of_operation(new(10 + number, command)), 2), command

    asyncio.run(main())


def test_row_124_of_many_hostile_namespaces_none_keeps_another_from_its_turn() -> None:
    """Each has the oldest waiters, and pods that never run. Who comes new is next when a slot is given back."""

    async def main() -> None:
        jobs = Jobs()
        slots = jobs.slots(10, 5)
        hostile = [f"hostile-{n}" for n in range(12)]
        turns = 0
        while not await ask(slots, jobs, new(1, "probe"), 1000):
            await fill(slots, jobs, "probe", *hostile)
            turns += 1
            jobs.time = turns * 30.0
        assert turns <= 2, "a turn of each, ten at a time"
        while await fill(slots, jobs, "probe", *hostile):
            turns += 1
            jobs.time = turns * 30.0
        assert turns <= 14, "ten pods of each wait, and no slot is taken any more"
        assert await ask(slots, jobs, new(2, "probe"), 1000)

    asyncio.run(main())


def test_row_124_thousands_that_wait_ask_seldom() -> None:
    """Each request is a reconcile with its reads."""

    async def main() -> None:
        slots, jobs = Slots(1, 1), Jobs()
        assert await ask(slots, jobs, new(0), 0)
        pauses = {}
        for number in range(1, 301):
            with pytest.raises(Waiting) as raised:
                async with slots.slot(context(jobs), new(number), at(number)):
                    pass
            pauses[number] = raised.value.after
        assert (pauses[1], pauses[300]) == (slots_module.PAUSE, 299 / slots_module.REQUESTS)
        assert slots.waiting() == 300

    asyncio.run(main())

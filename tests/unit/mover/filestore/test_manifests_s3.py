"""The tests of manifests in which the store decides, with S3. Apart from test_manifests.py, which needs no server."""

import pytest

from ocore_mover.store import Store

from .test_manifests import (  # noqa: F401 - they are collected here too
    limited,
    test_a_manifest_beyond_the_jobs_memory_is_refused_before_it_is_parsed,
    test_a_manifest_is_found_again,
    test_a_manifest_that_could_not_be_read_back_is_not_written,
    test_an_object_that_is_not_whole_is_named,
    test_deleting_takes_everything_of_one_snapshot,
    test_kill_9_in_the_middle_leaves_nothing_listed,
    test_left_overs_go_and_the_snapshot_stays,
    test_the_first_manifest_wins,
    test_two_writers_at_once,
)


@pytest.fixture
def store(s3_store: Store) -> Store:
    """As the folder of those tests."""
    return s3_store

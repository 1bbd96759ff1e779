"""The chain: what its hashes are made of, and that nothing changes unnoticed."""

import hashlib
from dataclasses import replace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from soma.audit.v1.resources_pb2 import AuditRecord

from services.audit.domain.chain import GENESIS, Head, Link, Verification, extend, link_hash


def record(number: int, tenant: str = "acme") -> AuditRecord:
    return AuditRecord(
        id=f"aud_{number:032x}",
        tenant=tenant,
        time=Timestamp(seconds=1_700_000_000 + number),
        action="turns.create",
        actor="usr_ana",
        resource=f"trn_{number}",
        outcome="allowed",
        details={"tokens": str(number), "model": "guide"},
    )


def chain(count: int = 5) -> list[Link]:
    return list(extend(Head(), map(record, range(1, count + 1))))


def verified(links: list[Link]) -> Verification:
    found = Verification()
    found.check("acme", links)
    return found


def test_a_hash_is_that_of_the_name_the_hash_before_and_the_record() -> None:
    first, second = chain(2)
    serialized = record(1).SerializeToString(deterministic=True)
    expected = hashlib.sha256(b"soma.audit.v1.ChainedRecord\x00" + bytes(32) + serialized).digest()
    assert (first.index, first.previous_hash, first.hash) == (1, GENESIS, expected)
    assert (second.index, second.previous_hash) == (2, first.hash)


def test_a_chain_goes_on_from_its_head() -> None:
    whole = chain(5)
    head = Head(whole[2].index, whole[2].hash)
    assert list(extend(head, [record(4), record(5)])) == whole[3:]


def test_a_whole_chain_is_valid_and_tells_its_head() -> None:
    links = chain()
    found = verified(links)
    assert (found.valid, found.record_count, found.head_hash) == (True, 5, links[-1].hash)


def test_an_empty_chain_is_valid() -> None:
    found = verified([])
    assert (found.valid, found.record_count, found.head_hash) == (True, 0, GENESIS)


def changed(link: Link) -> Link:
    message = AuditRecord.FromString(link.record)
    message.outcome = "denied"
    return replace(link, record=message.SerializeToString(deterministic=True))


def rehashed(link: Link) -> Link:
    return replace(changed(link), hash=link_hash(link.previous_hash, changed(link).record))


@pytest.mark.parametrize(
    ("harm", "first_invalid"),
    [
        (lambda links: [*links[:2], changed(links[2]), *links[3:]], 3),
        (lambda links: [*links[:2], rehashed(links[2]), *links[3:]], 4),
        (lambda links: [*links[:2], *links[3:]], 3),
        (lambda links: [links[0], links[2], links[1], *links[3:]], 2),
        (lambda links: [*links[:3], replace(links[3], resource="trn_other"), links[4]], 4),
        (lambda links: [*links[:3], replace(links[3], action="nothing"), links[4]], 4),
        (lambda links: [replace(links[0], index=2), *links[1:]], 1),
        (lambda links: [replace(links[0], record=b"\xff"), *links[1:]], 1),
        (lambda links: [replace(links[0], record=b"\xff", hash=link_hash(GENESIS, b"\xff"))], 1),
    ],
    ids=[
        "changed",
        "rehashed",
        "removed",
        "swapped",
        "hidden resource",
        "hidden action",
        "moved",
        "torn",
        "no record",
    ],
)
def test_the_first_link_that_does_not_fit_is_named(harm: object, first_invalid: int) -> None:
    found = verified(harm(chain()))  # type: ignore[operator]  # a function of the table
    assert (found.valid, found.first_invalid_index) == (False, first_invalid)


def test_a_record_of_another_tenant_does_not_fit() -> None:
    found = Verification()
    assert not found.check("acme", extend(Head(), [record(1, tenant="globex")]))


def test_the_order_of_details_does_not_matter() -> None:
    forwards, backwards = record(1), record(1)
    backwards.ClearField("details")
    backwards.details["model"] = "guide"
    backwards.details["tokens"] = "1"
    assert list(extend(Head(), [forwards])) == list(extend(Head(), [backwards]))

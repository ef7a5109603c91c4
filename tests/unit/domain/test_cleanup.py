from __future__ import annotations

from controlplane.domain.cleanup import CleanupReport, Retention, added, removable

HEAD, OLD = "a" * 40, "b" * 40
MINE = "refs/heads/swarm/TKT-001"


def test_only_branches_of_the_tickets_attempts_may_go() -> None:
    refs = {
        f"{MINE}/a1": OLD,
        f"{MINE}/a12": HEAD,
        f"{MINE}/pr": HEAD,
        f"{MINE}/base": OLD,
        f"{MINE}/a1/x": OLD,
        f"{MINE}/abc": OLD,
        "refs/heads/swarm/TKT-0012/a1": OLD,
        "refs/heads/swarm/TKT-001x/a1": OLD,
        "refs/heads/main": HEAD,
    }
    assert removable(refs, "TKT-001", HEAD) == {f"{MINE}/a1": OLD, f"{MINE}/a12": HEAD}


def test_an_accepted_head_stays_while_no_pull_request_branch_holds_it() -> None:
    refs = {f"{MINE}/a1": OLD, f"{MINE}/a2": HEAD}
    assert removable(refs, "TKT-001", HEAD) == {f"{MINE}/a1": OLD}
    assert removable(refs, "TKT-001", "") == refs


def test_nothing_is_old_without_a_retention() -> None:
    assert Retention(0, 0).rows_before(1e9) == Retention(0, 0).branches_before(1e9) == 0.0
    assert Retention(2, 1).rows_before(1e9) == 1e9 - 172_800
    assert Retention(2, 1).branches_before(1e9) == 1e9 - 86_400


def test_reports_add_up() -> None:
    one = CleanupReport(1, 2, 3, 4, 5, 6, 7, 8, 9, ("x",))
    assert added([one, one]) == CleanupReport(2, 4, 6, 8, 10, 12, 14, 16, 18, ("x", "x"))
    assert added([]).empty

"""What the policies of a namespace depend on is the same whether it is counted or looked up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sandyard.api import names
from sandyard.api.network import Network
from sandyard.engine.state.namespaces import Namespaces
from sandyard.podspec.network import Reach

REACHES = [Reach(Network(egress="None")), Reach(Network(egress="DNS")), Reach(Network(egress="Internet"))]
things = st.tuples(
    st.sampled_from(["one", "other"]),
    st.lists(st.sampled_from(range(len(REACHES))), max_size=2),
    st.none() | st.sampled_from(["aa", "bb"]),
)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.none() | things)))
def test_a_namespace_needs_what_lives_in_it_asks_for(
    changes: list[tuple[str, tuple[str, list[int], str] | None]],
) -> None:
    namespaces = Namespaces()
    known: dict[str, tuple[str, list[int], str]] = {}
    for uid, thing in changes:
        if thing is None:
            namespaces.drop(uid)
            known.pop(uid, None)
        else:
            namespace, asked, label = thing
            labels = {names.LABEL_ALLOW: label} if label else {}
            namespaces.put(namespace, uid, [REACHES[number] for number in asked], labels)
            known[uid] = thing
        for namespace in ("one", "other"):
            here = [thing for thing in known.values() if thing[0] == namespace]
            assert namespaces.lived_in(namespace) == bool(here)
            wanted = {REACHES[number].network.egress for _, asked, _ in here for number in asked}
            assert sorted(reach.network.egress for reach in namespaces.reaches(namespace)) == sorted(wanted)
            for label in ("aa", "bb"):
                selected = namespaces.selected(namespace, f"sandyard-allow-{label}")
                assert selected == any(thing[2] == label for thing in here)

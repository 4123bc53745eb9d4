"""What older Kubernetes lacks, and the tests of the API that need it: `make api-oldest` leaves them out."""

from __future__ import annotations

from typing import Final

__all__ = ["NEEDED"]

# Names begin so.
NEEDED: Final = {
    "a MutatingAdmissionPolicy puts the finalizer on, where no operator runs to do so": (
        "test_admission.py::test_the_finalizer_goes_by_the_operator_alone",
        "test_admission_objects.py::test_the_finalizer_is_taken_off_by_the_operator_alone",
        "test_admission_objects.py::test_an_administrator_frees_what_is_deleted_when_the_operator_is_gone",
        "test_attacks.py::test_the_api_server_answers_as_it_should[finalizers/",
        "test_operator.py::test_a_claim_costs_two_writes_and_no_read",
        "test_schema.py::test_the_finalizer_is_there_from_the_start_and_once",
        "test_sizes.py::test_what_could_not_work_is_refused_by_its_size_or_its_characters[made31",
        "test_telling.py::test_a_whole_life_takes_five_writes_and_no_read",
        "test_costs.py::test_a_life_is_five_writes",
        "test_untracked.py::",
    ),
    "containers that are restarted in place": (
        "test_admission_pods.py::test_pods_as_the_operator_makes_them_are_taken",
        "test_admission_pods.py::test_not_even_the_operator_makes_a_pod_that_others_can_restart",
        "test_faults.py::",
        "test_faults_around.py::",
        "test_faults_gone.py::",
        "test_phases.py::",
    ),
    "fields and subresources of pods that there were none of": (
        "test_admission.py::test_the_operator_may_do_what_it_does_and_nothing_else[patch-pods/resize]",
        "test_admission_access.py::test_a_pod_has_its_nodes_zone_once_it_is_bound",
        "test_admission_pods.py::test_not_even_the_operator_makes_a_pod_that_breaks_a_rule[",
        "test_admission_pods.py::test_nobody_but_the_operator_resizes_a_sandbox",
        "test_attacks.py::test_the_api_server_answers_as_it_should[entering/resize]",
        "test_attacks.py::test_the_api_server_answers_as_it_should[pods/apparmor]",
        "test_attacks.py::test_the_api_server_answers_as_it_should[pods/host-name-of-the-node]",
        "test_attacks.py::test_the_api_server_answers_as_it_should[pods/pod-resources]",
    ),
    "words and definitions of a newer API server": (
        "test_cluster_network_policy.py::test_the_cluster_takes_the_tier_as_it_is[",
        "test_sizes.py::test_what_could_not_work_is_refused_by_its_size_or_its_characters[made0-",
        "test_upgrade.py::test_an_upgrade_harms_no_sandbox_and_leaves_none_behind[",
    ),
}

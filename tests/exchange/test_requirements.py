"""What RFC 6043 demands in chapters 4 to 6 and appendix A, and which test holds it.

One row for each SHALL and MUST: the section, a few words of ours, and tests. Demands of RFC
text that say the same of two exchanges have a row each.
"""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.support import TESTS

V = "exchange/test_vectors.py::"
TR = "exchange/test_transfer.py::"
INI = "exchange/test_initiator.py::"
RE = "exchange/test_responder.py::"
CS = "exchange/test_crypto_sessions.py::"
UP = "exchange/test_update.py::"
ER = "exchange/test_error.py::"
RQ = "exchange/test_request.py::"
RS = "exchange/test_resolve.py::"
TI = "exchange/test_ticket.py::"
PO = "exchange/test_ticket_policy.py::"
PK = "exchange/test_public_key.py::"
IN = "exchange/test_incoming.py::"
CL = "client/test_initiate.py::"
IU = "independent/test_updates.py::"
CR = "client/test_respond.py::"
DE = "crypto/test_derive.py::"

REQUIREMENTS = [
    # --- Ticket Request
    ("4.2.1", "the request proves who sends it", V + "test_kms_verifies_the_request"),
    ("4.2.1", "or does so by a signature", PK + "test_kms_verifies_and_opens"),
    ("4.2.1", "the answer is under the key of the request",
     RQ + "test_an_answer_under_another_key_or_to_another_request"),
    ("4.2.1", "which may be the envelope key", PK + "test_an_answer_under_another_envelope_key"),
    ("4.2.1.1", "HDR, T and RANDRi are there", IN + "test_an_initial_message_without_its_rand"),
    ("4.2.1.1", "T is there", IN + "test_a_message_without_v_or_t"),
    ("4.2.1.1", "a CSB ID of its own", V + "test_request_is_made_again"),
    ("4.2.1.1", "V is 1, and ignored", TR + "test_the_v_flag_of_the_header"),
    ("4.2.1.1", "#CS is 0, the map Empty", IN + "test_there_are_no_crypto_sessions_with_a_kms"),
    ("4.2.1.2", "V comes last, under the pre-shared key", IN + "test_v_is_last"),
    ("4.2.1.2", "the MAC covers message and identities",
     V + "test_a_flipped_bit_is_never_accepted"),
    ("4.2.1.3", "own certificate first", PK + "test_chains_that_are_refused"),
    ("4.2.1.3", "each certifies the one before", PK + "test_chains_that_are_accepted"),
    ("4.2.1.4", "the KMS checks who may ask", "kms/test_kms_policy.py"),
    ("4.2.1.4", "and answers who may",
     "kms/test_service.py::test_a_ticket_is_granted_and_resolved"),
    ("4.2.1.5", "the answer echoes the header", RQ + "test_an_answer_to_something_else"),
    ("4.2.1.5", "V is 0, a fresh T", TR + "test_what_all_messages_have_in_common"),
    ("4.2.1.5", "KEMAC has a NULL MAC", RQ + "test_the_algorithms_of_a_kemac"),
    ("4.2.1.5", "its keys come from the key of the request", V + "test_initiator_takes_the_ticket"),
    ("4.2.1.5", "MPKi, with forking MPKr", RQ + "test_the_mpks_of_an_answer"),
    ("4.2.1.5", "MPKi for TRANSFER_INIT, MPKr for the answer",
     V + "test_initiator_has_the_media_keys"),
    ("4.2.1.5", "V comes last, and covers both messages",
     V + "test_ticket_and_answer_are_made_again"),
    ("4.2.1.6", "the ticket is stored",
     "client/test_ticket_files.py::test_an_answer_is_accepted_once"),
    ("4.2.1.6", "its policy is looked at first", RQ + "test_what_the_kms_changed_is_told"),
    ("4.2.1.6", "or it is thrown away",
     "cli/test_calls.py::test_accepting_what_the_kms_changed"),
    # --- Ticket Transfer
    ("4.2.2.1", "HDR, T and RANDRi are there", IN + "test_an_initial_message_without_its_rand"),
    ("4.2.2.1", "a CSB ID of its own", TR + "test_a_ticket_that_is_used_again"),
    ("4.2.2.1", "V is F, and ignored", TR + "test_the_v_flag_of_the_header"),
    ("4.2.2.1", "KEMAC only with L", RE + "test_keys_are_sent_only_with_leave_of_the_ticket"),
    ("4.2.2.1", "V comes last, under MPKi", V + "test_transfer_init_is_made_again"),
    ("4.2.2.1", "the MAC covers message and identities",
     V + "test_a_flipped_bit_in_a_forked_transfer_init_is_never_accepted"),
    ("4.2.2.2", "both policies are looked at", CS + "test_no_policy_offered_is_supported"),
    ("4.2.2.2", "and refused without the KMS", CR + "test_an_early_reject_asks_no_kms"),
    ("4.2.2.2", "an answer if F", TR + "test_the_v_flag_of_the_header"),
    ("4.2.2.3", "the answer echoes the header", INI + "test_an_answer_to_something_else"),
    ("4.2.2.3", "V is 0, a fresh T", TR + "test_what_all_messages_have_in_common"),
    ("4.2.2.3", "one policy for each crypto session", CS + "test_an_answer_is_complete"),
    ("4.2.2.3", "Session Data and SPI filled in", CS + "test_an_answer_is_complete"),
    ("4.2.2.3", "#CS counts what is added", CS + "test_crypto_sessions_that_the_responder_adds"),
    ("4.2.2.3", "RANDRr if G", INI + "test_randr_r_must_be_there"),
    ("4.2.2.3", "a COUNTER may be repeated", IU + "test_timestamps_of_every_type"),
    ("4.2.2.3", "IDRr may differ", "independent/test_groups.py::"
     "test_a_member_answers_as_themselves"),
    ("4.2.2.3", "an SP should not be sent again", IU + "test_a_policy_is_sent_again"),
    ("4.2.2.3", "IDRr of the KMS is passed on", RE + "test_the_identity_from_the_kms_is_echoed"),
    ("4.2.2.3", "RANDRkms of the KMS is passed on",
     V + "test_responder_answers_and_has_the_media_keys"),
    ("4.2.2.3", "KEMAC as in an update", RE + "test_an_mpk_is_no_session_key"),
    ("4.2.2.3", "KEMAC only with M", RE + "test_keys_are_sent_only_with_leave_of_the_ticket"),
    ("4.2.2.3", "V comes last, under MPKi or MPKr'",
     V + "test_responder_answers_and_has_the_media_keys"),
    ("4.2.2.3", "the MAC covers both messages", INI + "test_an_answer_covers_the_initiator_data"),
    ("4.2.2.4", "policies of the responder are looked at",
     INI + "test_a_suite_that_was_not_offered"),
    ("4.2.2.4", "or the answer is thrown away",
     ER + "test_the_responder_is_told_what_is_wrong_with_the_answer"),
    # --- Ticket Resolve
    ("4.2.3", "the request proves who sends it", V + "test_kms_verifies_resolve_and_forks"),
    ("4.2.3", "the answer is under the key of the request",
     RS + "test_an_answer_to_another_request_or_under_another_key"),
    ("4.2.3.1", "HDR, T and RANDRr are there", IN + "test_an_initial_message_without_its_rand"),
    ("4.2.3.1", "a CSB ID of its own", V + "test_resolve_is_made_again"),
    ("4.2.3.1", "V is 1, and ignored", TR + "test_the_v_flag_of_the_header"),
    ("4.2.3.1", "#CS is 0, the map Empty", IN + "test_there_are_no_crypto_sessions_with_a_kms"),
    ("4.2.3.2", "V comes last, under the pre-shared key", IN + "test_v_is_last"),
    ("4.2.3.2", "the MAC covers message and identities",
     V + "test_a_flipped_bit_is_never_accepted"),
    ("4.2.3.3", "own certificate first, each certifies the one before",
     PK + "test_chains_that_are_refused"),
    ("4.2.3.4", "who may is answered",
     "kms/test_service.py::test_a_ticket_is_granted_and_resolved"),
    ("4.2.3.4", "Initiator Data is verified", TI + "test_initiator_data_goes_with_forking"),
    ("4.2.3.5", "the answer echoes the header", RS + "test_an_answer_to_something_else"),
    ("4.2.3.5", "V is 0, a fresh T", TR + "test_what_all_messages_have_in_common"),
    ("4.2.3.5", "KEMAC has a NULL MAC", RS + "test_the_algorithm_of_a_kemac"),
    ("4.2.3.5", "its keys come from the key of the request", V + "test_responder_takes_the_keys"),
    ("4.2.3.5", "MPKi, with forking MPKr'", RS + "test_the_mpks_of_an_answer"),
    ("4.2.3.5", "MPKi verifies, MPKr' protects",
     V + "test_responder_answers_and_has_the_media_keys"),
    ("4.2.3.5", "MPKr and TGKs are forked", V + "test_kms_verifies_resolve_and_forks"),
    ("4.2.3.5", "the modifier is there, whole", RS + "test_half_a_modifier"),
    ("4.2.3.5", "RANDRkms is fresh", RS + "test_each_resolving_forks_anew"),
    ("4.2.3.5", "V comes last, and covers both messages", V + "test_resolve_answer_is_made_again"),
    ("4.2.3.6", "TRANSFER_INIT is verified with MPKi", CR + "test_a_forged_call_leaves_nothing"),
    ("4.2.3.6", "Vi is the V of the message", TR + "test_a_ticket_taken_from_another_call"),
    # --- Keys
    ("5.1", "KMS and initiator fork alike", V + "test_initiator_has_the_media_keys"),
    ("5.1", "labels hold RANDs, not payloads", DE + "test_message_keys"),
    ("5.1.1", "MPKr and TGKs are forked", DE + "test_forking"),
    ("5.1.1", "TEKs and GTGKs are not", TR + "test_what_forking_changes"),
    ("5.1.1", "forked keys are as long as before", DE + "test_forking"),
    ("5.1.2", "initial messages have label 1, answers 2", DE + "test_message_keys"),
    ("5.1.2", "RANDRi, RANDRr, or none of length 0", DE + "test_message_keys"),
    ("5.1.2", "RANDRr in the answer if G",
     INI + "test_a_randr_r_that_was_not_asked_for_is_ignored"),
    ("5.1.3", "TGK' is what is used", V + "test_responder_answers_and_has_the_media_keys"),
    ("5.1.3", "with the PRF of the header", TR + "test_header_and_ticket_of_different_strength"),
    ("5.1.3", "a salt that is there is used", TR + "test_what_forking_changes"),
    ("5.1.3", "RANDRi if H, RANDRr if G", DE + "test_session_keys"),
    ("5.1.3", "one of the two at least", PO + "test_each_rule_alone_is_held_by_every_role"),
    # --- Updates
    ("5.2", "the same CSB ID, a new T", UP + "test_nothing_static_comes_again"),
    ("5.2", "T is new", IU + "test_the_t_of_the_initial_exchange_is_not_new"),
    ("5.2", "crypto sessions as at first", IU + "test_a_peer_changes_its_own_stream"),
    ("5.2", "V says whether an answer is wanted", UP + "test_an_update_may_want_no_answer"),
    ("5.2", "no new RAND or ticket", IU + "test_what_is_not_repeated_but_new"),
    ("5.2", "the same ones again", IU + "test_an_update_repeats_what_is_static"),
    ("5.2", "under the keys of the last message",
     UP + "test_an_update_is_made_again_answered_and_finished"),
    ("5.2", "KEMAC only with L or M", UP + "test_keys_without_the_l_flag_are_refused"),
    ("5.2", "a key for each crypto session", UP + "test_keys_of_an_update"),
    ("5.2", "KEMAC has a NULL MAC", RE + "test_a_kemac_that_is_not_encrypted_or_has_a_mac"),
    ("5.2", "its keys come from the MPK",
     UP + "test_every_update_is_accepted_where_keys_are_allowed"),
    ("5.2", "a new TGK is not forked", UP + "test_keys_of_an_update"),
    # --- Reuse
    ("5.3", "new CSB ID, T and RANDs", TR + "test_a_ticket_that_is_used_again"),
    ("5.3", "the modifier of before", CR + "test_a_ticket_resolved_in_two_steps_is_at_hand"),
    ("5.3", "not without J", CL + "test_a_ticket_for_one_use_comes_once"),
    # --- Errors
    ("5.4", "no state for who is not authenticated", CR + "test_a_forged_call_leaves_nothing"),
    ("5.4", "the Error message echoes the header",
     ER + "test_an_error_message_has_a_map_that_goes_with_sp"),
    ("5.4", "V is 0, a fresh T", ER + "test_what_an_error_must_have_to_be_believed"),
    ("5.4", "of the type that it answers", IU + "test_errors_have_the_type_of_what_they_answer"),
    ("5.4", "under the keys of the message", V + "test_error_is_believed_and_made_again"),
    # --- Coverage
    ("5.5", "identities follow initial messages",
     RE + "test_identities_stand_in_for_those_left_out"),
    ("5.5", "not the Initiator Data of TRANSFER_INIT",
     V + "test_a_flipped_bit_in_a_forked_transfer_init_is_never_accepted"),
    ("5.5", "initial messages follow answers", INI + "test_an_answer_covers_the_initiator_data"),
    # --- Payloads
    ("6.1", "V only counts in updates", TR + "test_the_v_flag_of_the_header"),
    ("6.1", "the PRF on SHA-256", "crypto/test_prf.py::test_known_answers"),
    ("6.1", "no SRTP-ID map", CS + "test_an_srtp_id_map"),
    ("6.1.1", "one policy in answers", CS + "test_an_answer_is_complete"),
    ("6.1.1", "which the answer brings if need be",
     ER + "test_the_responder_is_told_what_is_wrong_with_the_answer"),
    ("6.1.1", "policies of the protocol", CS + "test_a_policy_for_another_protocol"),
    ("6.1.1", "Session Data in answers", CS + "test_an_answer_is_complete"),
    ("6.1.1", "the SSRC is that of the stream",
     CS + "test_an_ssrc_goes_to_the_stream_that_it_is_meant_for"),
    ("6.1.1", "SPI in answers", CS + "test_an_answer_is_complete"),
    ("6.1.1", "keys are of the bundle", RE + "test_a_crypto_session_that_names_no_key"),
    ("6.2", "AES-CM-256 has 256 bits", "crypto/test_kemac.py::test_openssl_encrypts_the_same"),
    ("6.2", "HMAC-SHA-256-256 has 256 bits", "crypto/test_mac.py::test_openssl_agrees"),
    ("6.2.1", "GTGKs are not forked", TR + "test_what_forking_changes"),
    ("6.2.1", "each key has an SPI", "kms/test_service.py::test_every_key_has_an_spi_of_its_own"),
    ("6.3", "NTP-UTC-32 in 64 bits", TI + "test_the_t_of_a_ticket_may_be_of_any_type"),
    ("6.3", "times until 2104", "wire/test_timestamp.py::test_known_dates_in_32_bits"),
    ("6.6", "IDR, not ID", TR + "test_what_all_messages_have_in_common"),
    ("6.10", "F with I and a TGK", PO + "test_forking_a_tgk_takes_an_answer"),
    ("6.10", "flags that hang together", PO + "test_every_combination_of_flags"),
    ("6.10", "the PRF of the ticket forks", TR + "test_header_and_ticket_of_different_strength"),
    ("6.10", "F: an answer or none", TR + "test_the_v_flag_of_the_header"),
    ("6.10", "G: RANDRr or none", INI + "test_a_randr_r_that_was_not_asked_for_is_ignored"),
    ("6.10", "H: RANDRi or not", DE + "test_session_keys"),
    ("6.10", "I: forking or none", INI + "test_a_modifier_without_forking"),
    ("6.10", "J: again, and cached", CR + "test_a_ticket_for_one_use_is_not_kept"),
    ("6.10", "K is 0 when asked", "kms/test_service.py::test_flags_are_repaired_and_k_says_so"),
    ("6.10", "L: keys of the initiator", RE + "test_keys_are_sent_only_with_leave_of_the_ticket"),
    ("6.10", "M: keys of the responder", RE + "test_keys_are_sent_only_with_leave_of_the_ticket"),
    ("6.10", "N and O: nothing beyond the RFC", PO + "test_processing_beyond_the_rfc"),
    ("6.10", "TRs and TRe are times until 2104",
     PO + "test_validity_begins_and_ends_with_its_moments"),
    ("6.10", "TRr holds between two rekeyings",
     "cli/test_rekeying.py::test_nothing_is_sent_after_it"),
    ("6.10", "TRr is NTP-UTC-32", PO + "test_a_rekeying_interval_of_another_type"),
    ("6.10", "KEMAC in TP is bare, and not granted", PO + "test_the_kemac_of_a_policy"),
    ("6.10", "each responder has an IDR", PO + "test_what_stands_in_a_policy_once"),
    ("6.10", "Initiator Data with I and only then", TR + "test_forking_without_initiator_data"),
    ("6.10", "and not without", TR + "test_initiator_data_without_forking"),
    ("6.10", "Vi is V", TR + "test_vi_is_the_v_of_the_message"),
    ("6.10", "Vr comes last, with the algorithm of Vi", TR + "test_vi_is_the_v_of_the_message"),
    ("6.10", "Vr is under the MPKr of before", DE + "test_initiator_data_key"),
    # --- The base ticket
    ("A", "Ticket Data has a MAC under the TPK", TI + "test_every_octet_of_a_ticket_is_protected"),
    ("A.1", "THDR first", TI + "test_ticket_data_misses_nothing_and_has_nothing_twice"),
    ("A.1", "KEMAC has a NULL MAC", TI + "test_a_ticket_that_mixes_algorithms"),
    ("A.1", "its keys come from the TPK", V + "test_ticket_opens_with_its_tpk"),
    ("A.1", "0xFFFFFFFF for the CSB ID", "crypto/test_kemac.py::test_the_ticket_of_a_known_run"),
    ("A.1", "V comes last", TI + "test_ticket_data_names_one_key_and_ends_with_v"),
    ("A.1", "the MAC covers the ticket up to it", TI + "test_every_octet_of_a_ticket_is_protected"),
    ("A.2", "labels hold the RAND, not the payload", DE + "test_ticket_keys"),
    ("A.2.1", "the PRF of the Ticket Policy", DE + "test_ticket_keys"),
    ("A.2.2", "MPKi and MPKr are as long as the MPK", DE + "test_mpk_split"),
]  # fmt: skip


@cache
def names_in(path: str) -> set[str]:
    """The tests that a file holds."""
    return set(re.findall(r"^def (test_\w+)", (TESTS / path).read_text(), re.MULTILINE))


@pytest.mark.parametrize("row", REQUIREMENTS, ids=lambda row: f"{row[0]} {row[1]}")
def test_the_test_that_holds_it_is_there(row: tuple[str, str, str]) -> None:
    path, _, name = row[2].partition("::")
    assert name in names_in(path) if name else names_in(path)


def test_every_section_with_demands_is_there() -> None:
    """Those with a SHALL or a MUST; 6.4 and 6.5, 6.7 to 6.9 and A.3 have none."""
    sections = {row[0] for row in REQUIREMENTS}
    chapter_4 = {f"4.2.{n}" for n in (1, 3)}
    chapter_4 |= {f"4.2.1.{n}" for n in range(1, 7)} | {f"4.2.2.{n}" for n in range(1, 5)}
    chapter_4 |= {f"4.2.3.{n}" for n in range(1, 7)}
    chapter_5 = {"5.1", "5.1.1", "5.1.2", "5.1.3", "5.2", "5.3", "5.4", "5.5"}
    chapter_6 = {"6.1", "6.1.1", "6.2", "6.2.1", "6.3", "6.6", "6.10"}
    assert chapter_4 | chapter_5 | chapter_6 | {"A", "A.1", "A.2", "A.2.1", "A.2.2"} == sections

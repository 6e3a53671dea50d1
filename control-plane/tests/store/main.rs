//! The use cases over real databases. Every scenario runs on SQLite (a test each) and on PostgreSQL (all in one test, so
//! that one cluster serves them even where each test is a process of its own), each in a fresh database.
//!
//! PostgreSQL's programs are looked for in `GRANTMESH_POSTGRES_BIN`, then where Debian puts them.

#[cfg(test)]
mod automatic;
#[cfg(test)]
mod bound;
#[cfg(test)]
mod break_glass;
#[cfg(test)]
mod db;
#[cfg(test)]
mod delegations;
#[cfg(test)]
mod extension;
#[cfg(test)]
mod holds;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod locks;
#[cfg(test)]
mod log;
#[cfg(test)]
mod model;
#[cfg(test)]
mod offline;
#[cfg(test)]
mod once;
#[cfg(test)]
mod outbox;
#[cfg(test)]
mod people;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod push;
#[cfg(test)]
mod races;
#[cfg(test)]
mod records;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod revoke_many;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod schedule;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod simulate;
#[cfg(test)]
mod stages;
#[cfg(test)]
mod time;
#[cfg(test)]
mod timeouts;
#[cfg(test)]
mod uses;
#[cfg(test)]
mod world;

#[cfg(test)]
use futures_util::{StreamExt as _, future::BoxFuture};

macro_rules! scenarios {
    ($($module:ident :: $name:ident),* $(,)?) => {
        #[cfg(test)]
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$module::$name(super::db::Db::sqlite()).await;
                }
            )*
        }

        /// All scenarios, each in a database of its own; tells of every one that failed.
        #[tokio::test(flavor = "multi_thread")]
        async fn postgres() {
            // Each on the heap, and made in a frame of its own: together they are more than a stack holds.
            let scenarios: &[(&str, fn(db::Db) -> BoxFuture<'static, ()>)] =
                &[$((stringify!($name), |db| Box::pin($module::$name(db)))),*];
            let cluster = db::Cluster::start().await;
            // A few at once: each waits for the disk most of its time.
            let played = futures_util::stream::iter(scenarios).map(async |(name, scenario)| {
                let db = cluster.database(name).await;
                tokio::spawn(scenario(db)).await.is_err().then_some(*name)
            });
            let failed: Vec<&str> = played.buffer_unordered(2).filter_map(async |failed| failed).collect().await;
            assert!(failed.is_empty(), "failed on PostgreSQL: {failed:?}");
        }
    };
}

scenarios! {
    lifecycle::a_request_becomes_a_grant_and_ends,
    lifecycle::a_denial_a_withdrawal_and_a_release,
    lifecycle::grants_expire_by_the_clock,
    lifecycle::requests_time_out_and_are_never_approved_late,
    lifecycle::an_idempotency_key_files_once,
    once::a_repeated_send_makes_nothing_new,
    once::a_key_is_for_one_send_of_one_person,
    once::many_sends_with_one_key_make_one,
    once::a_repeat_gives_what_is_there_by_then,
    once::what_is_refused_keeps_no_key_and_a_key_is_kept_for_a_day,
    once::a_key_that_cannot_be_kept_leaves_nothing_made,
    once::keys_of_the_release_before_still_count,
    lifecycle::lists_show_what_the_reader_may_see,
    rules::asks_that_break_the_rule_are_refused,
    rules::reviewers_narrow_and_never_widen,
    rules::two_approvals_are_two_people,
    rules::the_stricter_policy_applies,
    rules::a_grant_has_the_stricter_terms_of_both_policies,
    stages::stages_are_passed_in_order,
    stages::each_review_tells_how_far_the_request_has_come,
    stages::fifty_approvals_pass_two_stages_once,
    stages::a_change_of_stages_meanwhile_is_strict,
    stages::operators_decide_nothing,
    people::nobody_approves_their_own_request_under_any_account,
    people::one_person_has_one_vote_over_all_accounts,
    people::a_group_that_the_requester_can_edit_names_nobody,
    people::words_are_what_the_rule_wants,
    people::reviewers_leave_out_revealed_fields,
    delegations::somebody_reviews_in_anothers_place_and_both_names_are_kept,
    delegations::a_delegation_counts_for_its_time_and_its_rules,
    delegations::one_person_has_one_vote_over_delegations,
    delegations::nobody_approves_their_own_request_by_a_delegation,
    delegations::only_ones_own_right_is_delegated,
    delegations::a_delegation_is_ended_once_by_whom_it_concerns,
    delegations::one_of_delegator_and_delegate_votes,
    delegations::both_whom_a_delegation_concerns_hear_of_it,
    automatic::a_call_that_is_sent_again_is_told_no_again,
    automatic::what_a_rule_approves_by_itself_is_a_grant_at_once,
    automatic::what_is_not_known_never_approves,
    automatic::a_denial_wins_and_cools_down,
    automatic::more_is_required_and_others_are_asked,
    automatic::what_starts_later_is_asked_again_when_it_does,
    automatic::more_time_is_for_people_and_a_call_need_not_wait,
    automatic::what_is_said_of_one_is_not_said_of_others,
    automatic::limits_hold_for_what_is_approved_at_once,
    bound::a_bound_request_is_kept_as_it_was_shown,
    races::fifty_approvals_make_one_grant,
    races::one_of_approve_and_withdraw_wins,
    races::one_of_approve_and_time_out_wins,
    races::one_of_many_revocations_wins,
    races::what_is_revoked_is_extended_before_or_not_at_all,
    races::two_processes_share_one_history,
    policy::faults_are_all_told,
    policy::only_what_changed_is_pushed,
    policy::a_policy_is_applied_over_the_expected_one,
    policy::the_same_content_is_not_applied_again,
    policy::the_history_keeps_every_version,
    schedule::a_scheduled_grant_starts_at_its_time_and_not_before,
    schedule::a_start_has_bounds,
    schedule::who_lost_the_right_never_starts,
    schedule::who_has_left_the_group_meanwhile_starts_nothing,
    schedule::what_starts_has_the_stricter_terms_of_then,
    schedule::a_scheduled_grant_can_be_ended_like_any_other,
    schedule::one_of_many_starts_and_ends_wins,
    extension::a_grant_is_extended_at_once_up_to_what_its_rule_lets_it,
    extension::an_extension_is_reviewed_like_the_grant_was,
    extension::a_stricter_policy_extends_less,
    extension::what_is_asked_for_a_grant_ends_with_it,
    extension::one_of_extension_and_end_wins,
    extension::a_window_is_never_begun_again,
    extension::holders_are_warned_once_of_each_end,
    break_glass::a_post_review_is_given_in_anothers_place,
    break_glass::what_was_lent_is_reviewed_where_the_right_is_gone,
    break_glass::it_is_marked_until_it_has_ended,
    break_glass::whoever_has_the_right_has_a_grant_at_once,
    break_glass::somebody_else_says_whether_it_was_right,
    break_glass::one_word_on_a_post_review_counts,
    break_glass::what_is_overdue_is_told_once_and_shown_until_it_is_decided,
    break_glass::everyone_concerned_is_told,
    break_glass::post_reviews_are_listed_like_grants,
    break_glass::an_empty_list_lets_nobody_break_it,
    break_glass::the_alarm_is_raised_by_nothing_else,
    break_glass::nobody_makes_those_who_review_what_they_did,
    offline::tokens_are_listed_in_pages,
    offline::who_has_lost_the_right_has_nothing_more_by_a_token,
    offline::a_token_is_for_those_whom_the_policy_lets_have_one,
    offline::what_is_done_by_a_token_is_broken_glass_once_it_is_told,
    offline::who_stood_in_for_the_holder_since_a_token_was_signed_says_nothing_of_its_use,
    offline::what_a_filter_says_of_other_tokens_is_kept_and_makes_nothing,
    limits::so_many_of_one_person_are_pending,
    limits::so_many_are_filed_within_an_hour,
    limits::one_person_has_the_limits_once_by_whatever_account,
    limits::a_denial_cools_down,
    limits::the_same_is_asked_once,
    limits::limits_hold_whoever_asks_at_once,
    timeouts::nobody_decides_and_others_are_asked_until_it_times_out,
    timeouts::reviewers_are_told_and_then_others,
    timeouts::an_escalated_request_is_decided_by_either,
    routing::everybody_who_is_on_call_and_known_is_listed,
    routing::who_stands_in_for_a_reviewer_is_listed_with_them,
    routing::only_who_may_decide_by_it_is_listed_as_standing_in_and_once,
    routing::others_are_asked_only_if_others_are_needed,
    routing::people_are_known_however_much_was_decided_without_them,
    routing::the_next_stage_is_brought_to_those_whom_it_needs,
    routing::who_is_on_call_comes_first_then_who_has_least,
    routing::nobody_is_asked_about_what_they_may_not_review,
    revoke_many::all_of_a_principal_end_in_one_step,
    revoke_many::all_accounts_of_one_person_end_together,
    revoke_many::owners_of_a_service_see_and_end_what_they_do_not_review,
    revoke_many::more_than_one_transaction_ends_are_not_ended_at_all,
    revoke_many::what_is_to_end_is_named_and_is_the_revokers,
    ledger::a_grant_keeps_what_it_was_used_for,
    ledger::calls_that_share_a_record_are_counted,
    ledger::what_would_have_been_enough_is_proposed,
    ledger::what_nobody_used_is_a_list,
    ledger::what_was_enough_is_suggested_for_the_next_one,
    ledger::the_paths_that_were_approved_are_told,
    locks::a_lock_is_made_blocks_and_is_removed,
    locks::locks_are_for_operators_and_name_what_is_there,
    locks::locks_end_by_the_clock,
    locks::one_of_many_removals_wins,
    signals::a_signal_is_set_again_and_cleared,
    signals::signals_are_for_their_setters,
    signals::signals_end_by_the_clock,
    signals::a_policy_that_declares_a_signal_no_more_ends_it,
    signals::one_of_many_clears_wins,
    signals::a_signal_is_changed_only_as_it_was_seen,
    records::a_stream_has_no_holes_and_no_forks,
    records::a_secret_in_a_path_is_in_no_entry_and_the_stream_goes_on,
    records::a_stream_belongs_to_its_node,
    records::what_goes_with_a_filter_is_told_and_taken_back_when_it_comes_after_all,
    simulate::recorded_decisions_are_judged_again,
    uses::a_grant_is_good_for_as_many_calls_as_were_approved,
    uses::a_claim_is_one_callers_and_the_same_however_often_it_is_asked,
    uses::no_more_are_taken_whoever_asks_at_once,
    uses::what_came_of_a_use_is_told_once_by_who_took_it,
    uses::reviewers_narrow_the_number,
    time::a_replica_that_only_listens_follows_the_time_that_another_told,
    time::no_replica_tells_an_earlier_time_than_another,
    uses::an_exhausted_grant_stays_with_filters_until_its_time_or_its_revocation,
    holds::a_held_call_has_its_request_filed_and_learns_what_becomes_of_it,
    holds::the_same_call_waits_for_the_request_that_is_there,
    holds::a_filter_files_only_what_the_policy_lets_its_callers_wait_for,
    holds::a_call_that_waits_obeys_the_limits_of_its_rule,
    holds::as_many_calls_of_a_proxy_wait_as_it_holds,
    holds::many_filters_at_once_file_one_request_for_one_caller,
    push::tombstones_are_pruned_and_the_floor_rises,
    push::a_restart_forgets_nothing,
    push::filters_are_kept_at_first_contact,
    push::what_a_vm_has_reached_is_kept_and_never_more,
    push::many_vms_reach_a_point_at_once,
    push::waits_are_told_to_other_replicas_until_they_end,
    lists::lists_agree_with_a_naive_filter,
    outbox::what_happens_is_told_in_order,
    outbox::what_fails_is_tried_again_later_and_holds_back_its_own_request_only,
    outbox::what_nobody_takes_is_given_up_and_sent_again_by_hand,
    outbox::two_replicas_share_the_work_and_a_lost_attempt_is_made_again,
    outbox::events_are_forgotten_when_they_are_old_and_told,
    outbox::events_are_seen_by_whom_they_concern,
    log::the_root_is_that_of_another_implementation,
    log::a_changed_row_is_found_and_named,
    log::a_row_that_cannot_be_is_an_error_with_its_place,
    model::random_histories_agree_with_a_naive_model,
    replay::the_log_tells_the_whole_story,
}

/// How many requests a list is over, and how long a page of it may take.
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "`cargo dev prove` says by the environment that tests are to be in full size"
)]
fn size() -> (usize, Option<std::time::Duration>) {
    let full = std::env::var_os("GRANTMESH_PROVE").is_some();
    if full { (1_000_000, Some(std::time::Duration::from_millis(50))) } else { (5_000, None) }
}

#[tokio::test(flavor = "multi_thread")]
async fn proof_pages_of_a_million_on_sqlite() {
    let (most, bound) = size();
    lists::pages_of_many(db::Db::sqlite(), most, bound).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proof_pages_of_a_million_on_postgres() {
    let (most, bound) = size();
    let cluster = db::Cluster::start().await;
    lists::pages_of_many(cluster.database("lists").await, most, bound).await;
}

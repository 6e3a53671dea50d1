-- Whether a grant was ever used: a call was let through under it, or it was taken for one that was to be. So that those that
-- nobody used are a list. Only adds. Calls from before it was noted which grant they were under are in the log alone.

ALTER TABLE grants ADD COLUMN used BIGINT NOT NULL DEFAULT 0 CHECK (used IN (0, 1));

UPDATE grants SET used = 1 WHERE claimed > 0 OR EXISTS (
    SELECT 1 FROM grant_calls JOIN log_entries ON log_entries.seq = grant_calls.seq
    WHERE grant_calls.grant_id = grants.id
      AND convert_from(entry, 'UTF8')::json #>> '{data,record,event,decision}' = 'allow'
      AND convert_from(entry, 'UTF8')::json #>> '{data,record,event,service}' = grants.service
      AND convert_from(entry, 'UTF8')::json #>> '{data,record,event,ended}' IS NULL
);

-- One list for each state, and no others: a list of any state is made of those.
CREATE INDEX grants_used ON grants (used, state, id);
CREATE INDEX grants_by_holder_used ON grants (holder_issuer, holder_subject, used, state, id);
CREATE INDEX grants_by_rule_used ON grants (service, rule, used, state, id);
CREATE INDEX grants_by_rule_action_used ON grants (service, rule, action, used, state, id);
CREATE INDEX grants_by_service_used ON grants (service, used, state, id);
CREATE INDEX grants_by_action_used ON grants (service, action, used, state, id);
